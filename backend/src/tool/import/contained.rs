//! Calls code of a library that panics on damaged input. The operator sees neither the panic nor
//! its message: the caller says what is wrong with the input.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread runs such code.
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };
}

static QUIET_HOOK: Once = Once::new();

/// What `act` returns; `None` if it panics. What it had borrowed must not be used then.
pub(super) fn contained<T>(act: impl FnOnce() -> T) -> Option<T> {
    QUIET_HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_CONTAINED.get() {
                usual(panic);
            }
        }));
    });
    IS_CONTAINED.set(true);
    let returned = catch_unwind(AssertUnwindSafe(act));
    IS_CONTAINED.set(false);
    returned.ok()
}
