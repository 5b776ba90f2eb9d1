//! What all contexts of one VM share. A VM has one thread, and each worker of Envoy its own VM.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};

use crate::vm::overtaking::Overtaking;
use crate::vm::rendezvous::{ContextId, Rendezvous};
use crate::vm::roots::Roots;

/// See the module.
pub(super) struct Worker {
    /// Tells this VM from all others.
    pub(super) vm: [u8; 16],
    pub(super) meeting: Rendezvous,
    pub(super) overtaking: Overtaking,
    pub(super) roots: Roots,
}

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::new(Worker {
        vm: random_bytes(),
        meeting: Rendezvous::default(),
        overtaking: Overtaking::default(),
        roots: Roots::default(),
    });
}

impl Worker {
    /// A name that no other root context, in no other VM of this Envoy, has for its queue.
    pub(super) fn queue_name(&self, root: ContextId) -> String {
        format!("body-hash {:032x} {root}", u128::from_le_bytes(self.vm))
    }
}

/// Runs `act` on the worker. No host call that `act` makes comes back into the filter, so the worker is always free.
/// Were it not, `None`: the request goes on untouched rather than panic.
pub(super) fn with_worker<T>(act: impl FnOnce(&mut Worker) -> T) -> Option<T> {
    let act = |worker: &RefCell<Worker>| {
        worker
            .try_borrow_mut()
            .ok()
            .map(|mut worker| act(&mut worker))
    };
    WORKER.try_with(act).ok()?
}

/// The standard library seeds its hash maps with random numbers of the host.
fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    for half in bytes.chunks_exact_mut(8) {
        half.copy_from_slice(&RandomState::new().hash_one(0_u8).to_le_bytes());
    }
    bytes
}
