//! `x-body-hash`: the SHA-256 of a request's body, computed inside Envoy. This is the part that knows no host.
//!
//! - [`config`] reads the filter's configuration and refuses what it cannot mean;
//! - [`digest`] hashes a body piece by piece, up to a cap;
//! - [`stats`] names every way a request can end;
//! - [`policy`] names the requests that must never be held;
//! - [`decision`] leads one request from its headers to the end of its body.
//!
//! Its hosts are the wasm module (`filter/src`) and the native one (`filter/native`). A module imports only from those
//! above it; `filter/tests/rows.rs` holds that.

pub mod config;
pub mod decision;
pub mod digest;
pub mod policy;
pub mod stats;
