//! Every host call that the filter makes, by what it is for.

use std::time::Duration;

use body_hash_filter_abi::host::{self, LentBuffer, Level, Metric};

use crate::digest::HeldBody;
use crate::vm::header_map::HeaderMap;
use crate::vm::rendezvous::ContextId;

/// The key in the stream's filter state (Envoy puts `wasm.` before it).
const TAP_REF: &str = "body_hash_tap";
/// The body bytes that Envoy has got from the client, where no `content-length` says how many to expect: an attribute
/// of CEL, an `int64` in the byte order of the machine.
const REQUEST_SIZE: &str = "request\0size";
/// 500: the response to a request whose body cannot be passed on whole.
const SERVER_ERROR: u32 = 500;

/// The body bytes of the body callback that is running. Envoy cuts a range beyond them and does not refuse it.
pub(super) struct RequestBody;

impl HeldBody for RequestBody {
    fn read(&self, start: usize, len: usize) -> Option<Vec<u8>> {
        host::buffer(LentBuffer::RequestBody, start, len)
    }
}

/// The headers of the request whose headers callback is running. Envoy lends them for just that long, or for as long as
/// the filter holds them. Bytes, since a client may send any.
pub(super) fn request_headers() -> HeaderMap {
    host::request_headers()
        .map(HeaderMap::new)
        .unwrap_or_default()
}

/// Removes every value of a header, in the headers callback.
pub(super) fn remove_header(name: &str) {
    host::remove_request_header(name);
}

/// Removes every value of a trailer, in the trailers callback: a server may read trailers as if they were headers.
pub(super) fn remove_trailer(name: &str) {
    host::remove_request_trailer(name);
}

/// Sets a header, in the headers callback or while the filter holds the request.
pub(super) fn set_header(name: &str, value: &[u8]) {
    host::set_request_header(name, value);
}

/// Leaves the reference to a tap in the filter state. Envoy refuses it only if another filter declared the same key for
/// itself.
pub(super) fn leave_tap_ref(bytes: &[u8]) {
    host::set_property(TAP_REF, bytes);
}

/// The reference to a tap in the filter state.
pub(super) fn tap_ref() -> Option<Vec<u8>> {
    host::property(TAP_REF)
}

/// Whether the client has sent just `seen` bytes of the body: no filter before this one has changed it or kept some.
pub(super) fn client_has_sent(seen: u64) -> bool {
    let size = host::property(REQUEST_SIZE);
    size.and_then(|size| <[u8; 8]>::try_from(size).ok())
        .is_some_and(|size| i64::from_le_bytes(size) == i64::try_from(seen).unwrap_or(-1))
}

/// Makes the calls that follow in this callback act for `stream`. False if it is gone.
pub(super) fn act_for(stream: ContextId) -> bool {
    host::act_for(stream)
}

/// Lets the request of the stream acted for go on, as soon as this callback returns. Envoy no longer lends its headers
/// afterwards.
pub(super) fn resume_acted_for() {
    host::continue_request();
}

/// Lets `stream` go on, as soon as this callback returns.
pub(super) fn resume(stream: ContextId) {
    if act_for(stream) {
        host::continue_request();
    }
}

/// Answers the request of the running callback instead of passing on half of it.
pub(super) fn refuse_half_a_body() {
    host::answer(SERVER_ERROR, "body_hash_trailers_before_body");
}

/// The configuration, in `on_configure`.
pub(super) fn configuration(size: usize) -> Vec<u8> {
    host::buffer(LentBuffer::Configuration, 0, size).unwrap_or_default()
}

/// Registers a queue on which the current root context listens.
pub(super) fn register_queue(name: &str) -> Option<u32> {
    host::register_queue(name)
}

/// Puts a byte into a queue: its root context gets `on_queue_ready` in the next turn of this worker's loop. It is lost
/// only with the VM, and the next tick would do it again.
pub(super) fn enqueue(queue: u32) {
    host::enqueue(queue, b"1");
}

/// Takes the byte out again.
pub(super) fn dequeue(queue: u32) {
    drop(host::dequeue(queue));
}

/// Starts the timer of the current context's root.
pub(super) fn start_ticks(period: Duration) {
    // A period of 0 would stop it.
    let milliseconds = period.as_millis().max(1);
    host::set_tick_period(u32::try_from(milliseconds).unwrap_or(u32::MAX));
}

/// Stops it.
pub(super) fn stop_ticks() {
    host::set_tick_period(0);
}

/// Defines a counter.
pub(super) fn counter(name: &str) -> Option<u32> {
    host::define_metric(Metric::Counter, name)
}

/// Defines a gauge.
pub(super) fn gauge(name: &str) -> Option<u32> {
    host::define_metric(Metric::Gauge, name)
}

/// Adds to a metric. A counter only grows.
pub(super) fn add(metric: u32, offset: i64) {
    host::increment_metric(metric, offset);
}

/// One line in Envoy's log.
pub(super) fn log_error(line: &str) {
    host::log(Level::Error, line);
}
