//! One request in one instance of the filter: callbacks in, decisions of the core out.

use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::Config;
use crate::decision::GateDecision;
use crate::host::envoy::{self, RequestBody, RequestHeaders};
use crate::host::meters::{count, count_held};
use crate::host::resume::{settle, wake};
use crate::host::worker::with_worker;
use crate::stats::{Outcome, Reason};
use crate::vm::gate;
use crate::vm::instance::{Instance, Role};
use crate::vm::rendezvous::{ContextId, HeldRequest, TICKS_PER_STALL_TIMEOUT};
use crate::vm::single::Single;
use crate::vm::tap::Tap;
use crate::vm::tap_ref::TapRef;

/// See the module.
pub(super) struct Stream {
    id: ContextId,
    root: ContextId,
    instance: Option<Instance>,
    phase: Phase,
}

enum Phase {
    /// No headers have come: a filter before us may end a stream that never began here.
    Idle,
    Tap(Tap),
    Gate,
    Single(Single),
}

impl Stream {
    pub(super) const fn new(id: ContextId, root: ContextId, instance: Option<Instance>) -> Self {
        Self {
            id,
            root,
            instance,
            phase: Phase::Idle,
        }
    }

    const fn request<'a>(&self, config: &'a Rc<Config>) -> HeldRequest<'a> {
        HeldRequest {
            stream: self.id,
            root: self.root,
            config,
        }
    }

    fn tap(&mut self, config: &Config, ends_here: bool) -> Action {
        // Without a body there is nothing to tell, and the gate sees that for itself.
        if !ends_here {
            let begun = with_worker(|worker| {
                let (vm, tap) = (worker.vm, self.id);
                let begun = Tap::begin(tap, config, &RequestHeaders, &mut worker.meeting);
                (begun, TapRef { vm, tap })
            });
            if let Some((tap, tap_ref)) = begun {
                self.phase = Phase::Tap(tap);
                envoy::leave_tap_ref(&tap_ref.to_bytes());
            }
        }
        Action::Continue
    }

    fn gate(&mut self, config: &Rc<Config>, ends_here: bool) -> Action {
        self.phase = Phase::Gate;
        let request = self.request(config);
        let decision = with_worker(|worker| {
            let tap = || TapRef::from_bytes(&envoy::tap_ref()?)?.resolve_in_vm(worker.vm);
            gate::on_headers(
                request,
                &RequestHeaders,
                ends_here,
                tap,
                &mut worker.meeting,
            )
        });
        self.after_headers(config, decision)
    }

    fn single(&mut self, config: &Rc<Config>, ends_here: bool) -> Action {
        let request = self.request(config);
        let begun = with_worker(|worker| {
            Single::begin(request, &RequestHeaders, ends_here, &mut worker.meeting)
        });
        let (single, decision) = begun.unzip();
        self.phase = single.map_or(Phase::Idle, Phase::Single);
        self.after_headers(config, decision)
    }

    fn after_headers(&self, config: &Config, decision: Option<GateDecision>) -> Action {
        match decision {
            Some(GateDecision::Hold) => {
                count_held(1);
                self.watch(config);
                Action::Pause
            }
            Some(GateDecision::Settled(outcome)) => {
                settle(config, outcome);
                Action::Continue
            }
            None => Action::Continue,
        }
    }

    /// Envoy shows a gate nothing of the request that it holds, unless the operator gave the gate the flag of `single`.
    /// To go on here would then let the request leave without its header.
    fn while_held(&self) -> Action {
        match with_worker(|worker| worker.meeting.holds(self.id)) {
            Some(true) => Action::Pause,
            _ => Action::Continue,
        }
    }

    /// Starts the timer of our root, which stops it when it holds nothing any more.
    fn watch(&self, config: &Config) {
        if with_worker(|worker| worker.roots.start_ticking(self.root)) == Some(true) {
            let tick = config.stall_timeout / TICKS_PER_STALL_TIMEOUT;
            // A period of 0 would stop it.
            envoy::start_ticks(tick.max(Duration::from_millis(1)));
        }
    }
}

/// What a single filter does with a held request after more of its body.
fn after_body(config: &Config, decision: Option<GateDecision>) -> Action {
    match decision {
        Some(GateDecision::Hold) => Action::Pause,
        Some(GateDecision::Settled(outcome)) => {
            count_held(-1);
            settle(config, outcome);
            Action::Continue
        }
        None => Action::Continue,
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, ends_here: bool) -> Action {
        let Some(Instance { role, config }) = self.instance.clone() else {
            return Action::Continue;
        };
        envoy::remove_header(&config.header);
        match role {
            Role::Tap => self.tap(&config, ends_here),
            Role::Gate => self.gate(&config, ends_here),
            Role::Single => self.single(&config, ends_here),
        }
    }

    fn on_http_request_body(&mut self, len: usize, ends_here: bool) -> Action {
        match (&mut self.phase, &self.instance) {
            (Phase::Tap(tap), _) => {
                let woken = with_worker(|worker| {
                    tap.on_body(&RequestBody, len, ends_here, &mut worker.meeting)
                });
                wake(woken.flatten());
                Action::Continue
            }
            (Phase::Single(single), Some(instance)) => {
                let decision = with_worker(|worker| {
                    single.on_body(&RequestBody, len, ends_here, &mut worker.meeting)
                });
                after_body(&instance.config, decision.flatten())
            }
            (Phase::Gate, _) => self.while_held(),
            _ => Action::Continue,
        }
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        if let Some(instance) = &self.instance {
            envoy::remove_trailer(&instance.config.header);
        }
        match (&mut self.phase, &self.instance) {
            (Phase::Tap(tap), _) => {
                wake(with_worker(|worker| tap.on_end(&mut worker.meeting)).flatten());
                Action::Continue
            }
            (Phase::Single(single), Some(instance)) => {
                let decision = with_worker(|worker| single.on_end(&mut worker.meeting));
                after_body(&instance.config, decision.flatten())
            }
            (Phase::Gate, _) => self.while_held(),
            _ => Action::Continue,
        }
    }
}

/// However a stream ends, nothing of it stays.
impl Drop for Stream {
    fn drop(&mut self) {
        match self.phase {
            Phase::Idle => {}
            Phase::Tap(_) => {
                wake(with_worker(|worker| worker.meeting.leave_tap(self.id)).flatten());
            }
            Phase::Gate | Phase::Single(_) => {
                if with_worker(|worker| worker.meeting.leave(self.id)) == Some(true) {
                    count_held(-1);
                    count(Outcome::Skipped(Reason::Aborted));
                }
            }
        }
    }
}
