//! Envoy in small: the other side of the ABI, for tests that a sanitizer can look at.
//!
//! It is as unfriendly as Envoy may be: each slice of a body is an allocation of its own that ends with the callback, and
//! a request ends within the very call that lets it go on or answers it.

mod tests;

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, Mutex};

use crate::envoy::{
    Buffer, envoy_dynamic_module_on_http_filter_config_destroy as config_destroy,
    envoy_dynamic_module_on_http_filter_config_new as config_new,
    envoy_dynamic_module_on_http_filter_destroy as filter_destroy,
    envoy_dynamic_module_on_http_filter_new as filter_new,
    envoy_dynamic_module_on_http_filter_request_body as request_body,
    envoy_dynamic_module_on_http_filter_request_headers as request_headers,
    envoy_dynamic_module_on_http_filter_request_trailers as request_trailers,
    envoy_dynamic_module_on_http_filter_stream_complete as stream_complete,
};

const HEADER: &str = "x-body-hash";

/// One request, as Envoy knows it.
struct Request {
    module: *const c_void,
    /// By kind, 0 for headers and 1 for trailers, and name.
    headers: BTreeMap<(u32, String), Vec<u8>>,
    has_trailers: bool,
    received: Vec<Box<[u8]>>,
    limit: u64,
    went_on: bool,
    /// By number and label.
    counted: BTreeMap<(usize, String), i64>,
    /// How often the watchdog has called.
    wakes: Arc<Mutex<u64>>,
}

impl Request {
    /// A POST with a hash that its client made up, at a filter that has just seen the headers.
    fn begin(config: *const c_void, limit: u64) -> (*mut Self, u32) {
        let forged = [0, 1].map(|kind| ((kind, HEADER.to_owned()), b"forged".to_vec()));
        let request = Box::into_raw(Box::new(Self {
            module: ptr::null(),
            headers: forged.into(),
            has_trailers: false,
            received: Vec::new(),
            limit,
            went_on: false,
            counted: BTreeMap::new(),
            wakes: Arc::default(),
        }));
        // SAFETY: as Envoy: the configuration is valid, and so is the request until `finish`.
        unsafe {
            (*request).module = filter_new(config, request.cast());
            (
                request,
                request_headers(request.cast(), (*request).module, false),
            )
        }
    }

    /// Shows the filter bytes of the body.
    fn body(request: *mut Self, pieces: &[&str], ends: bool) -> u32 {
        // SAFETY: the request is valid until `finish`.
        unsafe {
            (*request).received = pieces.iter().map(|piece| piece.as_bytes().into()).collect();
            let status = request_body(request.cast(), (*request).module, ends);
            (*request).received.clear();
            status
        }
    }

    /// Its trailers are there; the filter has not seen them yet.
    fn add_trailers(request: *mut Self) {
        // SAFETY: the request is valid until `finish`.
        unsafe { (*request).has_trailers = true };
    }

    /// Shows the filter the trailers.
    fn trailers(request: *mut Self) -> u32 {
        Self::add_trailers(request);
        // SAFETY: as Envoy calls it; the request is valid until `finish`.
        unsafe { request_trailers(request.cast(), (*request).module) }
    }

    /// Its stream ends, if it has not yet.
    fn end(request: *mut Self) {
        // SAFETY: the request is valid until `finish`; nothing uses `module` afterwards.
        unsafe {
            let module = std::mem::replace(&mut (*request).module, ptr::null());
            if !module.is_null() {
                stream_complete(request.cast(), module);
                filter_destroy(module);
            }
        }
    }

    /// What is left of it.
    fn finish(request: *mut Self) -> Box<Self> {
        Self::end(request);
        // SAFETY: `begin` made it, and it is used no more.
        unsafe { Box::from_raw(request) }
    }

    fn value(&self, kind: u32) -> Option<&str> {
        let value = self.headers.get(&(kind, HEADER.to_owned()))?;
        std::str::from_utf8(value).ok()
    }

    /// The counters that are not 0.
    fn counts(&self) -> Vec<(usize, &str)> {
        let counted = self.counted.iter().filter(|(_, value)| **value != 0);
        counted
            .map(|((id, label), value)| {
                (id + 10 * usize::try_from(*value).unwrap(), label.as_str())
            })
            .collect()
    }
}

/// A filter with this configuration; null if it is refused.
fn configure(json: &str) -> *const c_void {
    // SAFETY: as Envoy: the text is valid during the call.
    unsafe {
        config_new(
            ptr::null_mut(),
            Buffer::of(b"any"),
            Buffer::of(json.as_bytes()),
        )
    }
}

fn destroy(config: *const c_void) {
    // SAFETY: as Envoy: it comes from `configure`, and none of its requests is left.
    unsafe { config_destroy(config) }
}

/// The request behind a pointer of the module's.
///
/// # Safety
/// The pointer is one that the module got, and it is used for one call.
unsafe fn request<'a>(pointer: *mut c_void) -> &'a mut Request {
    // SAFETY: the caller vouches for it.
    unsafe { pointer.cast::<Request>().as_mut() }.unwrap()
}

/// # Safety
/// The buffer is one that the module lends for a call.
unsafe fn text(buffer: Buffer) -> String {
    // SAFETY: the caller vouches for it.
    String::from_utf8(unsafe { buffer.bytes() }.to_vec()).unwrap()
}

macro_rules! callbacks {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty $body:block)*) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($argument: $kind),*) -> $answer {
                // SAFETY: the module calls it as the ABI says.
                #[allow(unused_unsafe, reason = "not every callback needs it")]
                unsafe { $body }
            }
        )*
    };
}

callbacks! {
    envoy_dynamic_module_callback_log(_level: u32, line: Buffer) -> () {
        assert!(text(line).starts_with("body-hash: "));
    }
    envoy_dynamic_module_callback_http_filter_config_define_counter(
        _config: *mut c_void, name: Buffer, labels: *mut Buffer, length: usize, id: *mut usize
    ) -> u32 {
        let skipped = text(name) == "skipped";
        assert_eq!(length, usize::from(skipped));
        assert!(!skipped || text(*labels) == "reason");
        *id = 1 + usize::from(skipped);
        0
    }
    envoy_dynamic_module_callback_http_filter_config_define_gauge(
        _config: *mut c_void, name: Buffer, _labels: *mut Buffer, length: usize, id: *mut usize
    ) -> u32 {
        assert_eq!((text(name).as_str(), length), ("held", 0));
        *id = 3;
        0
    }
    envoy_dynamic_module_callback_http_filter_increment_counter(
        envoy: *mut c_void, id: usize, labels: *mut Buffer, length: usize, by: u64
    ) -> u32 {
        let label = if length == 1 { text(*labels) } else { String::new() };
        *request(envoy).counted.entry((id, label)).or_default() += i64::try_from(by).unwrap();
        0
    }
    envoy_dynamic_module_callback_http_filter_increment_gauge(
        envoy: *mut c_void, id: usize, _labels: *mut Buffer, _length: usize, _by: u64
    ) -> u32 {
        *request(envoy).counted.entry((id, String::new())).or_default() += 1;
        0
    }
    envoy_dynamic_module_callback_http_filter_decrement_gauge(
        envoy: *mut c_void, id: usize, _labels: *mut Buffer, _length: usize, _by: u64
    ) -> u32 {
        *request(envoy).counted.entry((id, String::new())).or_default() -= 1;
        0
    }
    envoy_dynamic_module_callback_http_get_header(
        envoy: *mut c_void, kind: u32, name: Buffer, value: *mut Buffer, _index: usize, _count: *mut usize
    ) -> bool {
        let found = request(envoy).headers.get(&(kind, text(name)));
        *value = found.map_or(Buffer::NONE, |found| Buffer::of(found));
        found.is_some()
    }
    envoy_dynamic_module_callback_http_set_header(
        envoy: *mut c_void, kind: u32, name: Buffer, value: Buffer
    ) -> bool {
        let (headers, key) = (&mut request(envoy).headers, (kind, text(name)));
        if value.start.is_null() {
            headers.remove(&key);
        } else {
            headers.insert(key, value.bytes().to_vec());
        }
        kind == 0 || request(envoy).has_trailers
    }
    envoy_dynamic_module_callback_http_clear_route_cache(_envoy: *mut c_void) -> () {}
    envoy_dynamic_module_callback_http_get_body_chunks_size(envoy: *mut c_void, _body: u32) -> usize {
        request(envoy).received.len()
    }
    envoy_dynamic_module_callback_http_get_body_chunks(
        envoy: *mut c_void, _body: u32, chunks: *mut Buffer
    ) -> bool {
        for (place, piece) in request(envoy).received.iter().enumerate() {
            *chunks.add(place) = Buffer::of(piece);
        }
        true
    }
    envoy_dynamic_module_callback_http_get_buffer_limit(envoy: *mut c_void) -> u64 {
        request(envoy).limit
    }
    envoy_dynamic_module_callback_http_set_buffer_limit(envoy: *mut c_void, limit: u64) -> () {
        request(envoy).limit = limit;
    }
    envoy_dynamic_module_callback_http_send_response(
        envoy: *mut c_void, _status: u32, _headers: *mut c_void, _length: usize, _body: Buffer, _details: Buffer
    ) -> () {
        Request::end(envoy.cast());
    }
    envoy_dynamic_module_callback_http_filter_continue_decoding(envoy: *mut c_void) -> () {
        request(envoy).went_on = true;
        Request::end(envoy.cast());
    }
    envoy_dynamic_module_callback_http_filter_scheduler_new(envoy: *mut c_void) -> *mut c_void {
        Box::into_raw(Box::new(Arc::clone(&request(envoy).wakes))).cast()
    }
    envoy_dynamic_module_callback_http_filter_scheduler_commit(scheduler: *mut c_void, _event: u64) -> () {
        *(*scheduler.cast::<Arc<Mutex<u64>>>()).lock().unwrap() += 1;
    }
    envoy_dynamic_module_callback_http_filter_scheduler_delete(scheduler: *mut c_void) -> () {
        drop(Box::from_raw(scheduler.cast::<Arc<Mutex<u64>>>()));
    }
}
