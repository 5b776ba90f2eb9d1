//! The contexts of this VM by their numbers: what Envoy calls finds its root or its stream here.

use std::cell::RefCell;
use std::collections::HashMap;

use body_hash_filter_abi::{Callbacks, DataStatus, HeadersStatus, TrailersStatus};

use crate::host::root::RootContext;
use crate::host::stream::StreamContext;
use crate::vm::rendezvous::ContextId;

/// See the module.
pub(super) struct Contexts;

thread_local! {
    static ROOTS: RefCell<HashMap<ContextId, RootContext>> = RefCell::default();
    static STREAMS: RefCell<HashMap<ContextId, StreamContext>> = RefCell::default();
}

impl Callbacks for Contexts {
    fn on_context_create(id: ContextId, root: ContextId) {
        if root == 0 {
            with_all(&ROOTS, |roots| roots.insert(id, RootContext::new(id)));
        } else {
            let instance = with(&ROOTS, root, |root| root.instance()).flatten();
            let stream = StreamContext::new(id, root, instance);
            with_all(&STREAMS, |streams| streams.insert(id, stream));
        }
    }

    fn on_configure(root: ContextId, size: usize) -> bool {
        with(&ROOTS, root, |root| root.on_configure(size)).unwrap_or(false)
    }

    fn on_tick(root: ContextId) {
        with(&ROOTS, root, |root| root.on_tick());
    }

    fn on_queue_ready(root: ContextId, queue: u32) {
        with(&ROOTS, root, |root| root.on_queue_ready(queue));
    }

    fn on_request_headers(id: ContextId, ends: bool) -> HeadersStatus {
        with(&STREAMS, id, |stream| stream.on_headers(ends)).unwrap_or(HeadersStatus::Continue)
    }

    fn on_request_body(id: ContextId, len: usize, ends: bool) -> DataStatus {
        with(&STREAMS, id, |stream| stream.on_body(len, ends)).unwrap_or(DataStatus::Continue)
    }

    fn on_request_trailers(id: ContextId) -> TrailersStatus {
        with(&STREAMS, id, |stream| stream.on_trailers()).unwrap_or(TrailersStatus::Continue)
    }

    fn on_delete(id: ContextId) {
        // Dropped outside of the tables: what ends may wake others.
        drop(with_all(&STREAMS, |streams| streams.remove(&id)));
        drop(with_all(&ROOTS, |roots| roots.remove(&id)));
    }
}

type Table<T> = std::thread::LocalKey<RefCell<HashMap<ContextId, T>>>;

/// Runs `act` on one context. `None` when there is none of that number: the request goes on untouched.
fn with<T, R>(table: &'static Table<T>, id: ContextId, act: impl FnOnce(&mut T) -> R) -> Option<R> {
    with_all(table, |all| all.get_mut(&id).map(act)).flatten()
}

/// Envoy enters the VM once at a time, so a table is always free. Were it not, `None` rather than a panic.
fn with_all<T, R>(
    table: &'static Table<T>,
    act: impl FnOnce(&mut HashMap<ContextId, T>) -> R,
) -> Option<R> {
    let act = |all: &RefCell<HashMap<ContextId, T>>| {
        all.try_borrow_mut().ok().map(|mut all| act(&mut all))
    };
    table.try_with(act).ok()?
}
