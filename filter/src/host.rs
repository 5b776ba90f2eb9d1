//! The proxy-wasm host adapter, built for wasm alone: root contexts, and what they share.
//!
//! Envoy makes one root context for each configured instance in a VM, and one stream context for
//! each request in each instance. [`envoy`] is the only file that makes host calls.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::config::{Config, Role};
use crate::rendezvous::{ContextId, Release, Wake};

mod envoy;
mod meters;
mod stream;
mod worker;

use stream::Stream;
use worker::with_worker;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|id| Box::new(Root { id, config: None }));
}}

struct Root {
    id: ContextId,
    config: Option<Rc<Config>>,
}

impl Root {
    /// False when this root could not be woken: it must then hold nothing.
    fn start(&self, role: Role) -> bool {
        meters::define();
        if role == Role::Tap || with_worker(|worker| worker.roots.knows(self.id)) == Some(true) {
            return true;
        }
        // Envoy keeps one queue per name in the whole process: the name has our VM in it.
        let name = with_worker(|worker| worker.queue_name(self.id));
        let queue = name.and_then(|name| envoy::register_queue(&name));
        let added = queue.and_then(|queue| with_worker(|worker| worker.roots.add(self.id, queue)));
        added.is_some()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let ready = with_worker(|worker| {
            worker.roots.remove(self.id);
            worker.meeting.abandon(self.id)
        });
        // Our own queue is dead with us: another root's rings for them.
        for _ in 0..ready.unwrap_or_default() {
            wake(Some(Wake(self.id)));
        }
    }
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        match Config::parse(&envoy::plugin_configuration(size)) {
            Ok(config) => {
                let started = self.start(config.role);
                self.config = started.then(|| Rc::new(config));
                started
            }
            Err(wrong) => {
                envoy::log_error(&format!("body-hash: configuration refused: {wrong}"));
                false
            }
        }
    }

    fn on_tick(&mut self) {
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
        for _ in 0..ready {
            wake(Some(Wake(self.id)));
        }
        if idle {
            envoy::stop_ticks();
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        envoy::dequeue(queue);
        // One request a turn: resuming it may end other streams.
        if let Some(Some(ready)) = with_worker(|worker| worker.meeting.next_ready()) {
            release(&ready);
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(id, self.id, self.config.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Has a ready request resumed in a turn of its own: now the last bytes of its body are not yet
/// behind it, and resuming would run other filters inside this callback.
fn wake(wake: Option<Wake>) {
    let queue = wake.and_then(|Wake(root)| with_worker(|worker| worker.roots.queue_of(root))?);
    if let Some(queue) = queue {
        envoy::enqueue(queue);
    }
}

/// Lets a held request go on, from a callback of its root context.
fn release(
    Release {
        stream,
        config,
        outcome,
    }: &Release,
) {
    meters::count_held(-1);
    if envoy::act_for(*stream) {
        stream::settle(config, *outcome);
        envoy::resume_request();
    }
}
