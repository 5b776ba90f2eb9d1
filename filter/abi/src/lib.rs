//! The part of the proxy-wasm ABI (0.2.1) that the body-hash filter uses.
//!
//! The SDK of this ABI has two answers to a body callback, and the filter needs a third: "stop, and keep the bytes
//! under the watermark", without which some Envoys lose bytes or answer 413. The SDK also exports every callback, so that
//! Envoy enters the VM for responses that the filter does not look at. Hence these few functions; a filter that
//! implements [`Callbacks`] needs no `unsafe` of its own.
//!
//! - [`serve`] makes the functions that Envoy calls from an implementation of [`Callbacks`];
//! - [`host`] has the functions that Envoy offers.
//!
//! Source: the specification `abi-versions/v0.2.1` of proxy-wasm.
#![cfg(target_arch = "wasm32")]

mod exports;
pub mod host;

pub use exports::{
    Callbacks, DataStatus, HeadersStatus, TrailersStatus, lend_memory, run_constructors,
};

/// The number that Envoy gives a root context or a stream context of one VM.
pub type ContextId = u32;
