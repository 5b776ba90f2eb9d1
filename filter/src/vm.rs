//! The streams of one wasm VM, which is one worker thread of Envoy, without the ABI.
//!
//! In a VM each request is one stream context for each configured instance, and callbacks name contexts by number.
//! - [`instance`] is what the operator configures: the core's fields and a role;
//! - [`tap`] and [`gate`] are the two filters of the pair: [`tap_ref`] tells one of the other, in [`rendezvous`] they
//!   meet, over a [`held`] request;
//! - [`single`] is the one filter for an Envoy that allows it;
//! - [`header_map`] reads the headers that the proxy hands over at once;
//! - [`overtaking`] watches over a request that goes on before its newest bytes;
//! - [`roots`] knows which root contexts can still be woken.

pub mod gate;
pub mod header_map;
pub mod held;
pub mod instance;
pub mod overtaking;
pub mod rendezvous;
pub mod roots;
pub mod single;
pub mod tap;
pub mod tap_ref;
