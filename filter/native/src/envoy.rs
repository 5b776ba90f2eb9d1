//! Envoy's ABI for dynamic modules: what Envoy calls, and what it offers. Only what Envoy 1.38 has, so that one module
//! runs on every Envoy from 1.38 on.
//!
//! Source: `source/extensions/dynamic_modules/abi/abi.h` of Envoy. What its contract says, once for all of this file:
//! - Envoy calls the hooks of a request one at a time, on the worker thread of that request. Its own pointer to the
//!   request is valid from `filter_new` to the return of `filter_destroy`, that to a configuration from `config_new` to
//!   the return of `config_destroy`, which comes after the last `filter_destroy` of that configuration.
//! - A buffer that Envoy lends is valid until the hook returns or a setter changes it; one that Envoy is lent it reads
//!   during the call and does not keep. Envoy reads and writes nothing through a pointer whose length is 0.
//! - A call that lets the request go on, or answers it, may end it: Envoy then calls `stream_complete` and
//!   `filter_destroy` before that call returns. So no reference to a stream lives across such a call.
//!
//! No unwind leaves a hook. A request in whose hook the filter panics is answered with 500: what the client says about
//! its own body must not pass.

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::{io, mem, ptr, slice};

use body_hash_core::policy::RequestHead;
use body_hash_core::stats::{HASHED, HELD, Outcome, SKIPPED};

use crate::filter::{Filter, StatIds};
use crate::proxy::{BodyAnswer, HeadersAnswer, Proxy};
use crate::settings::Settings;
use crate::stream::HttpStream;
use crate::watchdog::{Wake, Watchdog, Watched};

/// Envoy's side of a configuration.
type EnvoyConfig = *mut c_void;
/// Envoy's side of a request.
type EnvoyRequest = *mut c_void;
/// Ours of a configuration: a boxed [`Configured`].
type ModuleConfig = *const c_void;
/// Ours of a request: a boxed [`Session`].
type ModuleRequest = *const c_void;

/// The version of 1.38. Another one makes Envoy warn, and no more.
const ABI_VERSION: &std::ffi::CStr = c"v0.1.0";
/// `RequestHeader` and `RequestTrailer` of `envoy_dynamic_module_type_http_header_type`.
const HEADER: u32 = 0;
const TRAILER: u32 = 1;
/// `ReceivedRequestBody` of `envoy_dynamic_module_type_http_body_type`.
const RECEIVED_BODY: u32 = 0;
/// `Success` of `envoy_dynamic_module_type_metrics_result`.
const SUCCESS: u32 = 0;
/// `Error` of `envoy_dynamic_module_type_log_level`.
const ERROR: u32 = 4;
/// What a hook answers: the numbers of `envoy_dynamic_module_type_on_http_filter_request_*_status`.
const CONTINUE: u32 = 0;
const STOP: u32 = 1;
const STOP_AND_BUFFER: u32 = 1;
const STOP_NO_BUFFER: u32 = 3;
/// The label of [`SKIPPED`].
const REASON: &str = "reason";
const SERVER_ERROR: u32 = 500;
const PANICKED: &str = "body_hash_panicked";

/// `envoy_dynamic_module_type_envoy_buffer` and `…_module_buffer`: the same in memory.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    pub(crate) start: *const u8,
    pub(crate) length: usize,
}

/// What Envoy offers.
mod ffi {
    use super::{Buffer, EnvoyConfig, EnvoyRequest, c_void};

    unsafe extern "C" {
        #[link_name = "envoy_dynamic_module_callback_log"]
        pub(super) fn log(level: u32, message: Buffer);
        #[link_name = "envoy_dynamic_module_callback_http_filter_config_define_counter"]
        pub(super) fn define_counter(
            config: EnvoyConfig,
            name: Buffer,
            labels: *mut Buffer,
            labels_length: usize,
            id: *mut usize,
        ) -> u32;
        #[link_name = "envoy_dynamic_module_callback_http_filter_config_define_gauge"]
        pub(super) fn define_gauge(
            config: EnvoyConfig,
            name: Buffer,
            labels: *mut Buffer,
            labels_length: usize,
            id: *mut usize,
        ) -> u32;
        #[link_name = "envoy_dynamic_module_callback_http_filter_increment_counter"]
        pub(super) fn increment_counter(
            request: EnvoyRequest,
            id: usize,
            labels: *mut Buffer,
            labels_length: usize,
            by: u64,
        ) -> u32;
        #[link_name = "envoy_dynamic_module_callback_http_filter_increment_gauge"]
        pub(super) fn increment_gauge(
            request: EnvoyRequest,
            id: usize,
            labels: *mut Buffer,
            labels_length: usize,
            by: u64,
        ) -> u32;
        #[link_name = "envoy_dynamic_module_callback_http_filter_decrement_gauge"]
        pub(super) fn decrement_gauge(
            request: EnvoyRequest,
            id: usize,
            labels: *mut Buffer,
            labels_length: usize,
            by: u64,
        ) -> u32;
        #[link_name = "envoy_dynamic_module_callback_http_get_header"]
        pub(super) fn get_header(
            request: EnvoyRequest,
            kind: u32,
            name: Buffer,
            value: *mut Buffer,
            index: usize,
            count: *mut usize,
        ) -> bool;
        #[link_name = "envoy_dynamic_module_callback_http_set_header"]
        pub(super) fn set_header(
            request: EnvoyRequest,
            kind: u32,
            name: Buffer,
            value: Buffer,
        ) -> bool;
        #[link_name = "envoy_dynamic_module_callback_http_clear_route_cache"]
        pub(super) fn clear_route_cache(request: EnvoyRequest);
        #[link_name = "envoy_dynamic_module_callback_http_get_body_chunks_size"]
        pub(super) fn get_body_chunks_size(request: EnvoyRequest, body: u32) -> usize;
        #[link_name = "envoy_dynamic_module_callback_http_get_body_chunks"]
        pub(super) fn get_body_chunks(
            request: EnvoyRequest,
            body: u32,
            chunks: *mut Buffer,
        ) -> bool;
        #[link_name = "envoy_dynamic_module_callback_http_get_buffer_limit"]
        pub(super) fn get_buffer_limit(request: EnvoyRequest) -> u64;
        #[link_name = "envoy_dynamic_module_callback_http_set_buffer_limit"]
        pub(super) fn set_buffer_limit(request: EnvoyRequest, limit: u64);
        #[link_name = "envoy_dynamic_module_callback_http_send_response"]
        pub(super) fn send_response(
            request: EnvoyRequest,
            status: u32,
            headers: *mut c_void,
            headers_length: usize,
            body: Buffer,
            details: Buffer,
        );
        #[link_name = "envoy_dynamic_module_callback_http_filter_continue_decoding"]
        pub(super) fn continue_decoding(request: EnvoyRequest);
        #[link_name = "envoy_dynamic_module_callback_http_filter_scheduler_new"]
        pub(super) fn scheduler_new(request: EnvoyRequest) -> *mut c_void;
        #[link_name = "envoy_dynamic_module_callback_http_filter_scheduler_commit"]
        pub(super) fn scheduler_commit(scheduler: *mut c_void, event: u64);
        #[link_name = "envoy_dynamic_module_callback_http_filter_scheduler_delete"]
        pub(super) fn scheduler_delete(scheduler: *mut c_void);
    }
}

impl Buffer {
    pub(crate) const NONE: Self = Self {
        start: ptr::null(),
        length: 0,
    };

    /// Lends the module's bytes to Envoy.
    pub(crate) const fn of(bytes: &[u8]) -> Self {
        Self {
            start: bytes.as_ptr(),
            length: bytes.len(),
        }
    }

    /// The bytes that Envoy lends.
    ///
    /// # Safety
    /// Envoy has written this buffer, and nothing ends the loan within `'a`.
    pub(crate) const unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.start.is_null() || self.length == 0 {
            return &[];
        }
        // SAFETY: not null; the caller vouches that Envoy lends so many bytes for so long. Bytes need no alignment.
        unsafe { slice::from_raw_parts(self.start, self.length) }
    }
}

/// One line in Envoy's log, at error level.
fn log_error(line: &str) {
    // SAFETY: Envoy reads the line during the call.
    unsafe { ffi::log(ERROR, Buffer::of(line.as_bytes())) }
}

/// Runs `act`; `None` if it panicked.
fn guarded<T>(act: impl FnOnce() -> T) -> Option<T> {
    let caught = catch_unwind(AssertUnwindSafe(act));
    // The payload might panic again when it is dropped.
    caught.map_err(mem::forget).ok()
}

/// A request during one of its hooks.
struct Request<'a> {
    envoy: EnvoyRequest,
    filter: &'a Filter,
}

impl RequestHead for Request<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        let (name, mut value) = (Buffer::of(name.as_bytes()), Buffer::NONE);
        // SAFETY: the request is valid during its hook; `value` is a place to write to, and Envoy takes a null `count`.
        let found = unsafe {
            ffi::get_header(self.envoy, HEADER, name, &raw mut value, 0, ptr::null_mut())
        };
        // SAFETY: Envoy has written `value`. What could end the loan, a setter, needs `&mut self`.
        found.then(|| unsafe { value.bytes() })
    }
}

impl Request<'_> {
    /// False if the request has no headers of this kind.
    fn set(&mut self, kind: u32, name: &str, value: Buffer) -> bool {
        // SAFETY: the request is valid during its hook; Envoy reads name and value during the call.
        unsafe { ffi::set_header(self.envoy, kind, Buffer::of(name.as_bytes()), value) }
    }

    /// Makes Envoy choose the route anew: one may match on the header.
    fn choose_route_anew(&mut self) {
        // SAFETY: the request is valid during its hook.
        unsafe { ffi::clear_route_cache(self.envoy) }
    }
}

impl Proxy for Request<'_> {
    fn remove_header(&mut self, name: &str) {
        // A null value removes the header.
        self.set(HEADER, name, Buffer::NONE);
        self.choose_route_anew();
    }

    fn remove_trailer(&mut self, name: &str) -> bool {
        self.set(TRAILER, name, Buffer::NONE)
    }

    fn set_header(&mut self, name: &str, value: &[u8]) {
        self.set(HEADER, name, Buffer::of(value));
        self.choose_route_anew();
    }

    fn buffer_limit(&self) -> u64 {
        // SAFETY: the request is valid during its hook.
        unsafe { ffi::get_buffer_limit(self.envoy) }
    }

    fn set_buffer_limit(&mut self, bytes: u64) {
        // SAFETY: the request is valid during its hook.
        unsafe { ffi::set_buffer_limit(self.envoy, bytes) }
    }

    fn slices(&self, look: impl FnMut(&[u8])) {
        // SAFETY: the request is valid during its hook.
        let count = unsafe { ffi::get_body_chunks_size(self.envoy, RECEIVED_BODY) };
        let mut chunks = vec![Buffer::NONE; count];
        // SAFETY: Envoy writes as many buffers as it has just said, and as `chunks` has room for.
        let shown = count > 0
            && unsafe { ffi::get_body_chunks(self.envoy, RECEIVED_BODY, chunks.as_mut_ptr()) };
        if shown {
            // SAFETY: Envoy has written them, and lends the body until the hook returns; nothing here changes it.
            chunks
                .into_iter()
                .map(|chunk| unsafe { chunk.bytes() })
                .for_each(look);
        }
    }

    fn count(&mut self, outcome: Outcome) {
        let (id, mut labels) = match outcome {
            Outcome::Hashed(_) => (self.filter.stats.hashed, Vec::new()),
            Outcome::Skipped(reason) => {
                let label = Buffer::of(reason.name().as_bytes());
                (self.filter.stats.skipped, vec![label])
            }
        };
        let (values, length) = (labels.as_mut_ptr(), labels.len());
        // SAFETY: the request is valid during its hook; Envoy reads `length` labels during the call.
        unsafe {
            ffi::increment_counter(self.envoy, id, values, length, 1);
        }
    }

    fn count_held(&mut self) {
        let (id, none) = (self.filter.stats.held, ptr::null_mut());
        // SAFETY: the request is valid during its hook; Envoy reads no label.
        unsafe {
            ffi::increment_gauge(self.envoy, id, none, 0, 1);
        }
    }

    fn count_let_go(&mut self) {
        let (id, none) = (self.filter.stats.held, ptr::null_mut());
        // SAFETY: the request is valid during its hook; Envoy reads no label.
        unsafe {
            ffi::decrement_gauge(self.envoy, id, none, 0, 1);
        }
    }

    fn watch(&mut self) -> Watched {
        // SAFETY: the request is valid during its hook.
        let scheduler = unsafe { ffi::scheduler_new(self.envoy) };
        self.filter.watchdog.watch(Box::new(Scheduler(scheduler)))
    }
}

/// Envoy's way to call `scheduled` of one request from any thread. It does nothing once the request has ended.
struct Scheduler(*mut c_void);

// SAFETY: Envoy made it for this: it locks the queue of the worker thread, and knows the request by a weak pointer.
unsafe impl Send for Scheduler {}

impl Wake for Scheduler {
    fn wake(&self) {
        // SAFETY: it is valid until `drop`. The worker thread still runs: its request holds this value's `Watched`.
        unsafe { ffi::scheduler_commit(self.0, 0) }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: it is ours to delete, and nothing uses it afterwards.
        unsafe { ffi::scheduler_delete(self.0) }
    }
}

/// What the module keeps of one configuration.
struct Configured {
    filter: Filter,
    thread: libc::pthread_t,
}

impl Configured {
    /// Starts the watchdog's thread. Without it a stalled request would hang, so there is no filter without it.
    ///
    /// Not by Rust's own means: they leave the starting thread, which is Envoy's main thread, a thread-local value with
    /// a destructor of this module, and Envoy could never unmap it.
    fn start(filter: Filter) -> io::Result<Self> {
        let mut thread = 0;
        let watchdog = Arc::into_raw(Arc::clone(&filter.watchdog));
        // SAFETY: `thread` is a place to write to; `watch` takes what the pointer owns.
        let failed = unsafe {
            libc::pthread_create(
                &raw mut thread,
                ptr::null(),
                watch,
                watchdog.cast_mut().cast(),
            )
        };
        if failed != 0 {
            // SAFETY: it came from `into_raw`, and no thread has taken it.
            drop(unsafe { Arc::from_raw(watchdog) });
            return Err(io::Error::from_raw_os_error(failed));
        }
        Ok(Self { filter, thread })
    }
}

/// Waits for the thread: its code may be unmapped right after this.
impl Drop for Configured {
    fn drop(&mut self) {
        self.filter.watchdog.end();
        // SAFETY: `start` made the thread, and it is joined once.
        unsafe { libc::pthread_join(self.thread, ptr::null_mut()) };
    }
}

/// The watchdog's thread.
extern "C" fn watch(watchdog: *mut c_void) -> *mut c_void {
    // SAFETY: `start` has given it up for this thread.
    let watchdog = unsafe { Arc::from_raw(watchdog.cast_const().cast::<Watchdog>()) };
    // SAFETY: the name ends in NUL and is short enough. Without it the thread works as well.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), c"body-hash".as_ptr()) };
    guarded(|| watchdog.run());
    ptr::null_mut()
}

/// What the module keeps of one request.
struct Session {
    configured: *const Configured,
    stream: HttpStream,
}

/// Runs `act` on a request's stream; `None` if it panicked, or if there is no stream.
///
/// # Safety
/// For a hook of this request. `act` makes no call that lets the request go on or answers it.
unsafe fn with_stream<T>(
    envoy: EnvoyRequest,
    module: ModuleRequest,
    act: impl FnOnce(&mut HttpStream, &Settings, &mut Request<'_>) -> T,
) -> Option<T> {
    // SAFETY: `filter_new` made it, `filter_destroy` has not been called, and Envoy runs one hook at a time.
    let session = unsafe { module.cast::<Session>().cast_mut().as_mut() }?;
    // SAFETY: a configuration outlives its requests, and nothing changes it.
    let filter = &unsafe { session.configured.as_ref() }?.filter;
    let mut request = Request { envoy, filter };
    guarded(|| act(&mut session.stream, &filter.settings, &mut request))
}

/// Answers a request in whose hook the filter has panicked.
///
/// # Safety
/// For the end of a hook of this request, when no reference to its stream lives any more.
unsafe fn refuse(envoy: EnvoyRequest) {
    log_error("body-hash: a panic; the request is answered with 500");
    let details = Buffer::of(PANICKED.as_bytes());
    // SAFETY: the request is valid during its hook. Envoy reads the details during the call, and nothing of length 0.
    unsafe {
        ffi::send_response(
            envoy,
            SERVER_ERROR,
            ptr::null_mut(),
            0,
            Buffer::NONE,
            details,
        );
    }
}

/// The statistics of a configuration, in `config_new`.
fn define_stats(config: EnvoyConfig) -> Option<StatIds> {
    let (mut hashed, mut skipped, mut held) = (0, 0, 0);
    let mut reason = Buffer::of(REASON.as_bytes());
    let none = ptr::null_mut();
    let name = |name: &str| Buffer::of(name.as_bytes());
    // SAFETY: the configuration is valid; Envoy reads names and labels during the call and writes one number.
    let results = unsafe {
        [
            ffi::define_counter(config, name(HASHED), none, 0, &raw mut hashed),
            ffi::define_counter(config, name(SKIPPED), &raw mut reason, 1, &raw mut skipped),
            ffi::define_gauge(config, name(HELD), none, 0, &raw mut held),
        ]
    };
    (results == [SUCCESS; 3]).then_some(StatIds {
        hashed,
        skipped,
        held,
    })
}

/// A configured filter, or the reason why there is none.
fn configure(config: EnvoyConfig, json: &[u8]) -> Result<Configured, String> {
    let settings = Settings::parse(json).map_err(|wrong| wrong.to_string())?;
    let stats = define_stats(config).ok_or("Envoy takes no statistics")?;
    Configured::start(Filter::new(settings, stats))
        .map_err(|wrong| format!("no thread for the watchdog: {wrong}"))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    ABI_VERSION.as_ptr()
}

/// Null refuses the configuration.
///
/// # Safety
/// As Envoy calls it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    config: EnvoyConfig,
    _name: Buffer,
    json: Buffer,
) -> ModuleConfig {
    // SAFETY: Envoy lends it for this hook.
    let json = unsafe { json.bytes() };
    let configured =
        guarded(|| configure(config, json)).unwrap_or_else(|| Err("a panic".to_owned()));
    match configured {
        Ok(configured) => Box::into_raw(Box::new(configured)).cast_const().cast(),
        Err(wrong) => {
            log_error(&format!("body-hash: configuration refused: {wrong}"));
            ptr::null()
        }
    }
}

/// # Safety
/// As Envoy calls it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(
    module: ModuleConfig,
) {
    let configured = module.cast::<Configured>().cast_mut();
    if !configured.is_null() {
        // SAFETY: `config_new` made it, and this is the last hook of the configuration.
        guarded(|| drop(unsafe { Box::from_raw(configured) }));
    }
}

/// # Safety
/// As Envoy calls it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_new(
    module: ModuleConfig,
    _envoy: EnvoyRequest,
) -> ModuleRequest {
    let session = Session {
        configured: module.cast(),
        stream: HttpStream::default(),
    };
    Box::into_raw(Box::new(session)).cast_const().cast()
}

/// # Safety
/// As Envoy calls it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_destroy(module: ModuleRequest) {
    let session = module.cast::<Session>().cast_mut();
    if !session.is_null() {
        // SAFETY: `filter_new` made it, and this is the last hook of the request.
        guarded(|| drop(unsafe { Box::from_raw(session) }));
    }
}

/// # Safety
/// As Envoy calls it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    envoy: EnvoyRequest,
    module: ModuleRequest,
    ends_here: bool,
) -> u32 {
    // SAFETY: a hook of this request; `act` decides and lets nothing go.
    let decided = unsafe {
        with_stream(envoy, module, |stream, settings, request| {
            panic_if_asked(request, "headers");
            stream.on_headers(settings, request, ends_here)
        })
    };
    match decided {
        Some(HeadersAnswer::Continue) => CONTINUE,
        Some(HeadersAnswer::Hold) => STOP,
        None => {
            // SAFETY: the end of the hook.
            unsafe { refuse(envoy) };
            STOP
        }
    }
}

/// # Safety
/// As Envoy calls it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    envoy: EnvoyRequest,
    module: ModuleRequest,
    ends_here: bool,
) -> u32 {
    // SAFETY: a hook of this request; `act` decides and lets nothing go.
    let decided = unsafe {
        with_stream(envoy, module, |stream, settings, request| {
            panic_if_asked(request, "body");
            stream.on_body(settings, request, ends_here)
        })
    };
    match decided {
        Some(BodyAnswer::Continue) => CONTINUE,
        Some(BodyAnswer::Hold) => STOP_AND_BUFFER,
        None => {
            // SAFETY: the end of the hook.
            unsafe { refuse(envoy) };
            STOP_NO_BUFFER
        }
    }
}

/// # Safety
/// As Envoy calls it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    envoy: EnvoyRequest,
    module: ModuleRequest,
) -> u32 {
    // SAFETY: a hook of this request; `act` decides and lets nothing go.
    let decided = unsafe {
        with_stream(envoy, module, |stream, settings, request| {
            panic_if_asked(request, "trailers");
            stream.on_trailers(settings, request);
        })
    };
    if decided.is_some() {
        return CONTINUE;
    }
    // SAFETY: the end of the hook.
    unsafe { refuse(envoy) };
    STOP
}

/// The watchdog has woken the request.
///
/// # Safety
/// As Envoy calls it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_scheduled(
    envoy: EnvoyRequest,
    module: ModuleRequest,
    _event: u64,
) {
    // SAFETY: a hook of this request; `act` decides and lets nothing go.
    let decided = unsafe {
        with_stream(envoy, module, |stream, settings, request| {
            panic_if_asked(request, "wake");
            stream.on_wake(settings, request)
        })
    };
    match decided {
        // SAFETY: the request is valid, and no reference to its stream lives any more.
        Some(true) => unsafe {
            ffi::continue_decoding(envoy);
        },
        Some(false) => {}
        // SAFETY: the end of the hook.
        None => unsafe { refuse(envoy) },
    }
}

/// # Safety
/// As Envoy calls it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(
    envoy: EnvoyRequest,
    module: ModuleRequest,
) {
    // SAFETY: a hook of this request; `act` counts and lets nothing go.
    let _counted = unsafe {
        with_stream(envoy, module, |stream, _, request| {
            stream.on_complete(request)
        })
    };
}

/// For a test alone: panics in the hook that the client names.
#[cfg(feature = "panics")]
#[expect(
    clippy::panic,
    reason = "what happens after a panic is what the test asks"
)]
fn panic_if_asked(request: &Request<'_>, hook: &str) {
    if request.get("x-panic") == Some(hook.as_bytes()) {
        panic!("asked to");
    }
}

#[cfg(not(feature = "panics"))]
const fn panic_if_asked(_: &Request<'_>, _: &str) {}

/// Envoy looks for these hooks, too. Answers pass, and the filter calls no one.
macro_rules! unused_hooks {
    ($($name:ident($($kind:ty),*) -> $answer:ty = $value:expr;)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name($(_: $kind),*) -> $answer {
                $value
            }
        )*
    };
}

unused_hooks! {
    envoy_dynamic_module_on_http_filter_response_headers(EnvoyRequest, ModuleRequest, bool) -> u32 = CONTINUE;
    envoy_dynamic_module_on_http_filter_response_body(EnvoyRequest, ModuleRequest, bool) -> u32 = CONTINUE;
    envoy_dynamic_module_on_http_filter_response_trailers(EnvoyRequest, ModuleRequest) -> u32 = CONTINUE;
    envoy_dynamic_module_on_http_filter_http_callout_done(
        EnvoyRequest, ModuleRequest, u64, u32, *mut c_void, usize, *mut Buffer, usize
    ) -> () = ();
    envoy_dynamic_module_on_http_filter_http_stream_headers(
        EnvoyRequest, ModuleRequest, u64, *mut c_void, usize, bool
    ) -> () = ();
    envoy_dynamic_module_on_http_filter_http_stream_data(
        EnvoyRequest, ModuleRequest, u64, *const Buffer, usize, bool
    ) -> () = ();
    envoy_dynamic_module_on_http_filter_http_stream_trailers(
        EnvoyRequest, ModuleRequest, u64, *mut c_void, usize
    ) -> () = ();
    envoy_dynamic_module_on_http_filter_http_stream_complete(EnvoyRequest, ModuleRequest, u64) -> () = ();
    envoy_dynamic_module_on_http_filter_http_stream_reset(EnvoyRequest, ModuleRequest, u64, u32) -> () = ();
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(
        EnvoyRequest, ModuleRequest
    ) -> () = ();
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(
        EnvoyRequest, ModuleRequest
    ) -> () = ();
}
