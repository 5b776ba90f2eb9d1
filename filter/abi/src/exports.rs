//! The functions that Envoy calls, and what they may answer.

use crate::ContextId;

/// What Envoy does after a headers callback.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadersStatus {
    /// Goes on with the next filter.
    Continue = 0,
    /// Holds the headers and shows the filter the body, if the plugin has `allow_on_headers_stop_iteration`. Else Envoy
    /// holds the body, too, and stops reading over its buffer limit.
    Stop = 1,
    /// Holds headers and body. Over its buffer limit Envoy answers 413.
    StopAllAndBuffer = 3,
}

/// What Envoy does after a body callback.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataStatus {
    /// Goes on with the next filter, with the bytes that it has kept first.
    Continue = 0,
    /// Keeps the bytes. Over its buffer limit Envoy stops reading.
    StopAndWatermark = 2,
}

/// What Envoy does after a trailers callback.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailersStatus {
    /// Goes on with the next filter, with the headers and bytes that it has kept first.
    Continue = 0,
    /// Keeps the trailers. Envoy shows the filter no more bytes of this request.
    Stop = 1,
}

/// What the filter does when Envoy calls. Envoy enters a VM once at a time, so no callback runs within another.
pub trait Callbacks {
    /// A context begins: a stream of the root context `root`, or a root context itself if `root` is 0.
    fn on_context_create(id: ContextId, root: ContextId);
    /// A root context has a configuration of `size` bytes. False refuses it.
    fn on_configure(root: ContextId, size: usize) -> bool;
    /// The timer of a root context.
    fn on_tick(root: ContextId);
    /// A queue of a root context has an entry.
    fn on_queue_ready(root: ContextId, queue: u32);
    /// A request's headers have come; `ends` if they are all of it.
    fn on_request_headers(id: ContextId, ends: bool) -> HeadersStatus;
    /// `len` bytes of a request's body have come; `ends` if they are its last.
    fn on_request_body(id: ContextId, len: usize, ends: bool) -> DataStatus;
    /// A request's trailers have come, which end it.
    fn on_request_trailers(id: ContextId) -> TrailersStatus;
    /// A context is gone.
    fn on_delete(id: ContextId);
}

/// Runs the constructors of the C library, which a reactor must run before anything else. For [`serve`](crate::serve).
pub fn run_constructors() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    // SAFETY: the linker defines this function without arguments, and `_initialize`, its only caller, runs once.
    unsafe { __wasm_call_ctors() }
}

/// Lends Envoy memory of the VM for a value that it returns; [`crate::host`] takes it back as a `Vec`.
#[must_use]
pub fn lend_memory(size: usize) -> *mut u8 {
    // Envoy writes every byte before it returns the value.
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
}

/// Exports the callbacks of `$filter`, which implements [`Callbacks`]. Envoy does not call what is not exported.
#[macro_export]
macro_rules! serve {
    ($filter:ty) => {
        const _: () = {
            use $crate::{Callbacks, ContextId, DataStatus, HeadersStatus, TrailersStatus};

            #[unsafe(no_mangle)]
            extern "C" fn _initialize() {
                $crate::run_constructors();
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_abi_version_0_2_1() {}

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
                $crate::lend_memory(size)
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_context_create(id: ContextId, root: ContextId) {
                <$filter as Callbacks>::on_context_create(id, root);
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_configure(root: ContextId, size: usize) -> u32 {
                u32::from(<$filter as Callbacks>::on_configure(root, size))
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_tick(root: ContextId) {
                <$filter as Callbacks>::on_tick(root);
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_queue_ready(root: ContextId, queue: u32) {
                <$filter as Callbacks>::on_queue_ready(root, queue);
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_request_headers(
                id: ContextId,
                _: u32,
                ends: u32,
            ) -> HeadersStatus {
                <$filter as Callbacks>::on_request_headers(id, ends != 0)
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_request_body(
                id: ContextId,
                len: usize,
                ends: u32,
            ) -> DataStatus {
                <$filter as Callbacks>::on_request_body(id, len, ends != 0)
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_request_trailers(id: ContextId, _: u32) -> TrailersStatus {
                <$filter as Callbacks>::on_request_trailers(id)
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_delete(id: ContextId) {
                <$filter as Callbacks>::on_delete(id);
            }
        };
    };
}
