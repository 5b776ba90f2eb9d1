//! The functions that Envoy offers. None of them panics: a status that is not OK is `false` or `None`.

use std::ptr;

use crate::ContextId;

/// `HttpRequestHeaders` of `proxy_map_type_t`.
const REQUEST_HEADERS: u32 = 0;
/// `HttpRequestTrailers` of `proxy_map_type_t`.
const REQUEST_TRAILERS: u32 = 1;
/// `HttpRequest` of `proxy_stream_type_t`.
const REQUEST: u32 = 0;
/// `PROXY_RESULT_OK`.
const OK: u32 = 0;
/// No gRPC status.
const NO_GRPC_STATUS: i32 = -1;

/// A buffer that Envoy lends during a callback.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LentBuffer {
    /// The bytes of the body callback that is running.
    RequestBody = 0,
    /// The configuration, in `on_configure`.
    Configuration = 7,
}

/// A kind of statistic.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Only grows.
    Counter = 0,
    /// Grows and shrinks.
    Gauge = 1,
}

/// A line's level in Envoy's log.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A warning.
    Warn = 3,
    /// An error.
    Error = 4,
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        len: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_set_effective_context(id: ContextId) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_register_shared_queue(name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_enqueue_shared_queue(queue: u32, value: *const u8, value_size: usize) -> u32;
    fn proxy_dequeue_shared_queue(queue: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
}

/// Writes one line into Envoy's log.
pub fn log(level: Level, line: &str) {
    // SAFETY: Envoy reads `line.len()` bytes from the pointer and keeps none.
    let _done = unsafe { proxy_log(level as u32, line.as_ptr(), line.len()) };
}

/// A copy of `len` bytes of `buffer` from `start` on; Envoy cuts a range that goes beyond its end.
#[must_use]
pub fn buffer(buffer: LentBuffer, start: usize, len: usize) -> Option<Vec<u8>> {
    // SAFETY: `returned` hands over two places to write to, which live until the call returns.
    returned(|data, size| unsafe { proxy_get_buffer_bytes(buffer as u32, start, len, data, size) })
}

/// All headers of the request whose headers callback is running, in the ABI's encoding: see [`find`].
#[must_use]
pub fn request_headers() -> Option<Vec<u8>> {
    // SAFETY: `returned` hands over two places to write to, which live until the call returns.
    returned(|data, size| unsafe { proxy_get_header_map_pairs(REQUEST_HEADERS, data, size) })
}

/// Sets a header: one value in place of all that are there.
pub fn set_request_header(name: &str, value: &[u8]) {
    let (value, size) = (value.as_ptr(), value.len());
    // SAFETY: Envoy reads the bytes of name and value during the call and keeps none.
    let _done = unsafe {
        proxy_replace_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len(), value, size)
    };
}

/// Removes every value of a header.
pub fn remove_request_header(name: &str) {
    // SAFETY: Envoy reads the bytes of the name during the call and keeps none.
    let _done =
        unsafe { proxy_remove_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len()) };
}

/// Removes every value of a trailer, in the trailers callback.
pub fn remove_request_trailer(name: &str) {
    // SAFETY: Envoy reads the bytes of the name during the call and keeps none.
    let _done =
        unsafe { proxy_remove_header_map_value(REQUEST_TRAILERS, name.as_ptr(), name.len()) };
}

/// A property of the stream, the parts of its path separated by NUL.
#[must_use]
pub fn property(path: &str) -> Option<Vec<u8>> {
    // SAFETY: Envoy reads the bytes of the path; `returned` hands over two places to write to. Both live long enough.
    returned(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Sets a property in the filter state of the stream.
pub fn set_property(path: &str, value: &[u8]) {
    let (value, size) = (value.as_ptr(), value.len());
    // SAFETY: Envoy reads the bytes of path and value during the call and copies them.
    let _done = unsafe { proxy_set_property(path.as_ptr(), path.len(), value, size) };
}

/// Makes the calls that follow in this callback act for `id`. False if it is gone.
#[must_use]
pub fn act_for(id: ContextId) -> bool {
    // SAFETY: no memory is shared.
    unsafe { proxy_set_effective_context(id) == OK }
}

/// Lets the request of the context acted for go on, right after this callback.
pub fn continue_request() {
    // SAFETY: no memory is shared.
    let _done = unsafe { proxy_continue_stream(REQUEST) };
}

/// Answers the request of the context acted for, right after this callback.
pub fn answer(status: u32, details: &str) {
    let none = ptr::null();
    // SAFETY: Envoy reads the bytes of `details` during the call; the other sizes are 0, so it reads nothing there.
    let _done = unsafe {
        proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            none,
            0,
            none,
            0,
            NO_GRPC_STATUS,
        )
    };
}

/// Registers a queue on which the current root context listens.
#[must_use]
pub fn register_queue(name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: Envoy reads the bytes of the name and writes a number to `id`, which lives until the call returns.
    let status = unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut id) };
    (status == OK).then_some(id)
}

/// Puts an entry into a queue.
pub fn enqueue(queue: u32, value: &[u8]) {
    // SAFETY: Envoy reads the bytes of the value during the call and copies them.
    let _done = unsafe { proxy_enqueue_shared_queue(queue, value.as_ptr(), value.len()) };
}

/// Takes an entry out of a queue.
pub fn dequeue(queue: u32) -> Option<Vec<u8>> {
    // SAFETY: `returned` hands over two places to write to, which live until the call returns.
    returned(|data, size| unsafe { proxy_dequeue_shared_queue(queue, data, size) })
}

/// Starts the timer of the current root context, or stops it if `milliseconds` is 0.
pub fn set_tick_period(milliseconds: u32) {
    // SAFETY: no memory is shared.
    let _done = unsafe { proxy_set_tick_period_milliseconds(milliseconds) };
}

/// Defines a statistic.
#[must_use]
pub fn define_metric(kind: Metric, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: Envoy reads the bytes of the name and writes a number to `id`, which lives until the call returns.
    let status =
        unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) };
    (status == OK).then_some(id)
}

/// Adds to a statistic.
pub fn increment_metric(id: u32, offset: i64) {
    // SAFETY: no memory is shared.
    let _done = unsafe { proxy_increment_metric(id, offset) };
}

/// The value that a host call returns in memory of the VM.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let (mut data, mut size) = (ptr::null_mut(), 0_usize);
    if call(&raw mut data, &raw mut size) != OK || data.is_null() {
        return None;
    }
    // SAFETY: Envoy got this memory from `proxy_on_memory_allocate`, which lends a boxed slice of exactly `size` bytes,
    // all of them initialised, and gives up its pointer with the return of the call.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}
