//! `x-body-hash`: the SHA-256 of a request's body, computed inside Envoy.
//!
//! [`body_hash_core`] decides what becomes of a request and knows no host. [`vm`] adds what the streams of a wasm VM
//! share, still without an ABI. Only `host`, built for wasm alone, knows proxy-wasm. A module imports only from those
//! above it; `tests/rows.rs` holds that.

pub mod vm;

pub use body_hash_core::{config, decision, digest, policy, stats};

#[cfg(target_arch = "wasm32")]
mod host;
