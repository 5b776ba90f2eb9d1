//! The proxy-wasm host adapter, built for wasm alone.
//!
//! Envoy makes one [`root`] context for each configured instance in a VM, and one [`stream`] context for each request
//! in each instance. All contexts of a VM share one [`worker`] and its [`meters`]; [`resume`] lets held requests go.
//! [`envoy`] is the only file that makes host calls.

mod envoy;
mod meters;
mod resume;
mod root;
mod stream;
mod worker;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|id| Box::new(root::Root::new(id)));
}}
