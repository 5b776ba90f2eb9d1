//! `x-body-hash`: the SHA-256 of a request's body, computed inside Envoy.
//!
//! The rooms of this crate:
//! - [`config`] reads the plugin's configuration and refuses what it cannot mean;
//! - [`policy`] names the requests that must never be held;
//! - [`digest`] hashes a body piece by piece, up to a cap;
//! - [`tap`] and [`gate`] are the two filters of the pair: [`ticket`] tells one of the other,
//!   [`rendezvous`] is where they meet;
//! - [`single`] is the one filter for an Envoy that allows it;
//! - [`roots`] knows which root contexts of this VM can still be woken;
//! - [`stats`] names every way a request can end.
//!
//! None of these knows proxy-wasm. Only `host`, built for wasm alone, calls the SDK.

pub mod config;
pub mod digest;
pub mod gate;
pub mod policy;
pub mod rendezvous;
pub mod roots;
pub mod single;
pub mod stats;
pub mod tap;
pub mod ticket;

#[cfg(target_arch = "wasm32")]
mod host;
