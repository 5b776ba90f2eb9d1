//! What the filter asks of Envoy, and what it answers to a callback.

use body_hash_core::policy::RequestHead;
use body_hash_core::stats::Outcome;

use crate::watchdog::Watched;

/// Envoy, during one callback of one request.
pub(crate) trait Proxy: RequestHead {
    /// Removes every value of a header.
    fn remove_header(&mut self, name: &str);
    /// Removes every value of a trailer: a server may read trailers as if they were headers. False if the request has no
    /// trailers yet.
    fn remove_trailer(&mut self, name: &str) -> bool;
    /// Sets a header: one value in place of all that are there.
    fn set_header(&mut self, name: &str, value: &[u8]);
    /// How much of a body Envoy buffers for this request; 0 is no limit.
    fn buffer_limit(&self) -> u64;
    /// Sets that limit.
    fn set_buffer_limit(&mut self, bytes: u64);
    /// Shows `look` the bytes of the body callback that is running, slice by slice, as they lie in Envoy's memory.
    fn slices(&self, look: impl FnMut(&[u8]));
    /// Counts how the request ended.
    fn count(&mut self, outcome: Outcome);
    /// Counts the request as held.
    fn count_held(&mut self);
    /// Counts it as held no longer.
    fn count_let_go(&mut self);
    /// Has the request woken (`on_wake`) when it makes no progress.
    fn watch(&mut self) -> Watched;
}

/// What Envoy does with the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadersAnswer {
    /// It goes on with the next filter.
    Continue,
    /// It holds them, and shows the filter the body.
    Hold,
}

/// What Envoy does with the bytes that it has shown the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyAnswer {
    /// It goes on with all that it holds.
    Continue,
    /// It keeps them.
    Hold,
}
