//! The proxy-wasm host adapter, built for wasm alone.
//!
//! Envoy makes one [`root`] context for each configured instance in a VM, and one [`stream`] context for each request
//! in each instance; [`contexts`] keeps them by their numbers. All contexts of a VM share one [`worker`] and its
//! [`metrics`]; [`steps`] and [`resume`] let requests go. [`envoy`] is the only file that makes host calls.

mod contexts;
mod envoy;
mod metrics;
mod resume;
mod root;
mod steps;
mod stream;
mod worker;

body_hash_filter_abi::serve!(contexts::Contexts);
