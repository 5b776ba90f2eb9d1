//! `x-body-hash` as an Envoy dynamic module: native code in the same process, one filter that holds the headers.
//!
//! - [`settings`] reads the core's configuration and the fields of this host;
//! - [`proxy`] names what the filter asks of Envoy;
//! - [`stream`] leads one request from its headers to the end of its body;
//! - [`watchdog`] wakes the requests whose bodies do not grow;
//! - [`filter`] is one configured instance: settings, statistics' names and a watchdog;
//! - [`envoy`] is the ABI: every `unsafe` of the crate, and what becomes of a panic.
//!
//! Envoy's ABI has no timer for a filter, hence the watchdog's thread. The filter uses no thread-local value with a
//! destructor: such a value would outlive the module, which Envoy unmaps with the last configuration that names it.

#[forbid(unsafe_code)]
mod filter;
#[forbid(unsafe_code)]
mod proxy;
#[forbid(unsafe_code)]
mod settings;
#[forbid(unsafe_code)]
mod stream;
#[forbid(unsafe_code)]
mod watchdog;

#[allow(
    unsafe_code,
    reason = "this is where calls cross between Envoy and the filter"
)]
mod envoy;

#[cfg(test)]
#[allow(unsafe_code, reason = "it stands at the other side of the ABI")]
mod fake_envoy;
