//! `x-body-hash`: the SHA-256 of a request's body, computed inside Envoy.
//!
//! The core knows no host:
//! - [`config`] reads the filter's configuration and refuses what it cannot mean;
//! - [`digest`] hashes a body piece by piece, up to a cap;
//! - [`stats`] names every way a request can end;
//! - [`policy`] names the requests that must never be held;
//! - [`decision`] leads one request from its headers to the end of its body.
//!
//! [`vm`] adds what the streams of a wasm VM share, still without an ABI. Only `host`, built for wasm alone, knows
//! proxy-wasm. A module imports only from those above it; `tests/rows.rs` holds that.

pub mod config;
pub mod decision;
pub mod digest;
pub mod policy;
pub mod stats;
pub mod vm;

#[cfg(target_arch = "wasm32")]
mod host;
