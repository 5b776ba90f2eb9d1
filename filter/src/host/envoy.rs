//! Every host call that the filter makes.
//!
//! The SDK turns a status that it does not expect into a panic, and a panic takes the VM down with all its streams. So
//! each call says why Envoy cannot give such a status there. An error that the SDK does return means no value, or
//! nothing done.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, Status};

use crate::digest::Body;
use crate::policy::Head;
use crate::vm::rendezvous::ContextId;

/// The key in the stream's filter state (Envoy puts `wasm.` before it).
const TAP_REF: &str = "body_hash_tap";

/// The headers of the request whose headers callback is running. Envoy lends them for just that long, or for as long as
/// the filter holds them. Bytes, since a client may send any.
pub(super) struct RequestHeaders;

impl Head for RequestHeaders {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name)
            .ok()
            .flatten()
    }
}

/// The body bytes of the body callback that is running. Envoy cuts a range beyond them and does not refuse it.
pub(super) struct RequestBody;

impl Body for RequestBody {
    fn read(&self, start: usize, len: usize) -> Option<Vec<u8>> {
        hostcalls::get_buffer(BufferType::HttpRequestBody, start, len)
            .ok()
            .flatten()
    }
}

/// Removes every value of a header, in the headers callback.
pub(super) fn remove_header(name: &str) {
    // Only if it is there: a removal makes Envoy choose the route anew.
    if RequestHeaders.get(name).is_some() {
        unheeded(hostcalls::remove_map_value(
            MapType::HttpRequestHeaders,
            name,
        ));
    }
}

/// Removes every value of a trailer, in the trailers callback: a server may read trailers as if they were headers.
pub(super) fn remove_trailer(name: &str) {
    unheeded(hostcalls::remove_map_value(
        MapType::HttpRequestTrailers,
        name,
    ));
}

/// Sets a header, in the headers callback or while the filter holds the request.
pub(super) fn set_header(name: &str, value: &str) {
    unheeded(hostcalls::set_map_value(
        MapType::HttpRequestHeaders,
        name,
        Some(value),
    ));
}

/// Leaves the reference to a tap in the filter state. Envoy refuses it only if another filter declared the same key for
/// itself.
pub(super) fn leave_tap_ref(bytes: &[u8]) {
    unheeded(hostcalls::set_property(vec![TAP_REF], Some(bytes)));
}

/// The reference to a tap in the filter state.
pub(super) fn tap_ref() -> Option<Vec<u8>> {
    hostcalls::get_property(vec![TAP_REF]).ok().flatten()
}

/// Makes the calls that follow in this callback act for `stream`. False if it is gone.
pub(super) fn act_for(stream: ContextId) -> bool {
    hostcalls::set_effective_context(stream).is_ok()
}

/// Lets the request of the stream acted for go on, as soon as this callback returns. Envoy no longer lends its headers
/// afterwards.
pub(super) fn resume_request() {
    unheeded(hostcalls::resume_http_request());
}

/// The configuration, in `on_configure`.
pub(super) fn plugin_configuration(size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size)
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// Registers a queue on which the current root context listens.
pub(super) fn register_queue(name: &str) -> Option<u32> {
    hostcalls::register_shared_queue(name).ok()
}

/// Puts a byte into a queue: its root context gets `on_queue_ready` in the next turn of this worker's loop. It is lost
/// only with the VM, and the next tick would do it again.
pub(super) fn enqueue(queue: u32) {
    unheeded(hostcalls::enqueue_shared_queue(queue, Some(b"1")));
}

/// Takes the byte out again.
pub(super) fn dequeue(queue: u32) {
    unheeded(hostcalls::dequeue_shared_queue(queue));
}

/// Starts the timer of the current context's root.
pub(super) fn start_ticks(period: Duration) {
    unheeded(hostcalls::set_tick_period(period));
}

/// Stops it.
pub(super) fn stop_ticks() {
    unheeded(hostcalls::set_tick_period(Duration::ZERO));
}

/// Defines a counter.
pub(super) fn counter(name: &str) -> Option<u32> {
    hostcalls::define_metric(MetricType::Counter, name).ok()
}

/// Defines a gauge.
pub(super) fn gauge(name: &str) -> Option<u32> {
    hostcalls::define_metric(MetricType::Gauge, name).ok()
}

/// Adds to a metric. A counter only grows.
pub(super) fn add(metric: u32, offset: i64) {
    unheeded(hostcalls::increment_metric(metric, offset));
}

/// One line in Envoy's log.
pub(super) fn log_error(line: &str) {
    unheeded(hostcalls::log(LogLevel::Error, line));
}

/// For a call after which there is nothing else to do, whether it worked or not.
fn unheeded<T>(_: Result<T, Status>) {}
