//! One configured instance of the filter: its configuration, its queue and its timer.

use crate::host::resume::{release, wake};
use crate::host::worker::with_worker;
use crate::host::{envoy, metrics};
use crate::vm::instance::{Instance, Role};
use crate::vm::rendezvous::{ContextId, WakeRoot};

/// See the module.
pub(super) struct RootContext {
    id: ContextId,
    instance: Option<Instance>,
}

impl RootContext {
    pub(super) const fn new(id: ContextId) -> Self {
        Self { id, instance: None }
    }

    /// What its streams are configured to be.
    pub(super) fn instance(&self) -> Option<Instance> {
        self.instance.clone()
    }

    /// False refuses the configuration.
    pub(super) fn on_configure(&mut self, size: usize) -> bool {
        match Instance::parse(&envoy::configuration(size)) {
            Ok(instance) => {
                let started = self.start(instance.role);
                self.instance = started.then_some(instance);
                started
            }
            Err(wrong) => {
                envoy::log_error(&format!("body-hash: configuration refused: {wrong}"));
                false
            }
        }
    }

    pub(super) fn on_tick(&self) {
        let (ready, idle) = with_worker(|worker| {
            let ready = worker.meeting.tick(self.id);
            let idle = !worker.meeting.watches(self.id);
            if idle {
                worker.roots.stop_ticking(self.id);
            }
            (ready, idle)
        })
        .unwrap_or_default();
        // Never resumed from here: Envoy's timer must find its own tables as it left them.
        self.wake_for_each(ready);
        if idle {
            envoy::stop_ticks();
        }
    }

    /// One request a turn: resuming it may end other streams.
    pub(super) fn on_queue_ready(&self, queue: u32) {
        envoy::dequeue(queue);
        if let Some(Some(ready)) = with_worker(|worker| worker.meeting.next_ready()) {
            release(&ready);
        }
    }

    /// False when Envoy gives this root no queue to wake it by: it must then hold nothing.
    fn start(&self, role: Role) -> bool {
        metrics::define();
        if role == Role::Tap || with_worker(|worker| worker.roots.knows(self.id)) == Some(true) {
            return true;
        }
        // Envoy keeps one queue per name in the whole process: the name has our VM in it.
        let name = with_worker(|worker| worker.queue_name(self.id));
        let queue = name.and_then(|name| envoy::register_queue(&name));
        let added = queue.and_then(|queue| with_worker(|worker| worker.roots.add(self.id, queue)));
        added.is_some()
    }

    fn wake_for_each(&self, ready: usize) {
        for _ in 0..ready {
            wake(Some(WakeRoot(self.id)));
        }
    }
}

impl Drop for RootContext {
    fn drop(&mut self) {
        let ready = with_worker(|worker| {
            worker.roots.remove(self.id);
            worker.meeting.abandon(self.id)
        });
        // Our own queue is dead with us: another root's wakes them.
        self.wake_for_each(ready.unwrap_or_default());
    }
}
