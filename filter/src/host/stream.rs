//! One request in one instance of the filter: callbacks in, decisions of the core out.

use std::rc::Rc;

use body_hash_filter_abi::{DataStatus, HeadersStatus, TrailersStatus};

use crate::config::Config;
use crate::decision::{Bytes, GateDecision};
use crate::host::envoy::{self, RequestBody};
use crate::host::metrics::{count, count_held};
use crate::host::resume::{settle, wake};
use crate::host::steps::{after_single, after_tap, settle_held};
use crate::host::worker::with_worker;
use crate::policy::RequestHead;
use crate::stats::{Outcome, Reason};
use crate::vm::gate::Gate;
use crate::vm::header_map::HeaderMap;
use crate::vm::instance::{Instance, Role};
use crate::vm::rendezvous::{ContextId, HeldRequest, TICKS_PER_STALL_TIMEOUT};
use crate::vm::single::Single;
use crate::vm::tap::Tap;
use crate::vm::tap_ref::TapRef;

/// See the module.
pub(super) struct StreamContext {
    id: ContextId,
    root: ContextId,
    instance: Option<Instance>,
    phase: Phase,
}

enum Phase {
    /// No headers have come: a filter before us may end a stream that never began here.
    Idle,
    Tap(Tap),
    Gate(Gate),
    Single(Single),
}

impl StreamContext {
    pub(super) const fn new(id: ContextId, root: ContextId, instance: Option<Instance>) -> Self {
        let phase = Phase::Idle;
        Self {
            id,
            root,
            instance,
            phase,
        }
    }

    pub(super) fn on_headers(&mut self, ends_here: bool) -> HeadersStatus {
        let Some(Instance { role, config }) = self.instance.clone() else {
            return HeadersStatus::Continue;
        };
        match role {
            Role::Tap => self.tap(&config, ends_here),
            Role::Gate => self.gate(&config, ends_here),
            Role::Single => self.single(&config, ends_here),
        }
    }

    pub(super) fn on_body(&mut self, len: usize, ends_here: bool) -> DataStatus {
        let bytes = Bytes {
            body: &RequestBody,
            len,
            ends_here,
        };
        match (&mut self.phase, &self.instance) {
            (Phase::Tap(tap), _) => {
                let as_sent = envoy::client_has_sent;
                let step = with_worker(|worker| tap.on_body(&bytes, as_sent, &mut worker.meeting));
                step.map_or(DataStatus::Continue, after_tap)
            }
            (Phase::Single(single), Some(instance)) => {
                let as_sent = envoy::client_has_sent;
                let step =
                    with_worker(|worker| single.on_body(&bytes, as_sent, &mut worker.meeting));
                step.map_or(DataStatus::Continue, |step| {
                    after_single(&instance.config, step)
                })
            }
            // Envoy shows a gate the body only when it no longer holds the request.
            (Phase::Gate(_), _) => {
                with_worker(|worker| worker.overtaking.bytes_came(self.id));
                DataStatus::Continue
            }
            _ => DataStatus::Continue,
        }
    }

    pub(super) fn on_trailers(&mut self) -> TrailersStatus {
        let Some(instance) = &self.instance else {
            return TrailersStatus::Continue;
        };
        envoy::remove_trailer(&instance.config.header);
        match &mut self.phase {
            Phase::Tap(tap) => {
                wake(with_worker(|worker| tap.on_trailers(&mut worker.meeting)).flatten());
            }
            Phase::Single(single) => {
                let outcome = with_worker(|worker| single.on_trailers(&mut worker.meeting));
                settle_held(&instance.config, outcome.flatten());
            }
            Phase::Gate(gate) => {
                if with_worker(|worker| worker.overtaking.is_of(self.id)) == Some(true) {
                    envoy::refuse_half_a_body();
                    return TrailersStatus::Stop;
                }
                if with_worker(|worker| gate.on_trailers(&mut worker.meeting)) == Some(false) {
                    return TrailersStatus::Stop;
                }
            }
            Phase::Idle => {}
        }
        TrailersStatus::Continue
    }

    fn tap(&mut self, config: &Rc<Config>, ends_here: bool) -> HeadersStatus {
        let headers = headers_without(&config.header);
        // Without a body there is nothing to tell, and the gate sees that for itself.
        if !ends_here {
            let begun = with_worker(|worker| {
                let (vm, tap) = (worker.vm, self.id);
                let begun = Tap::begin(tap, config, &headers, &mut worker.meeting);
                (begun, TapRef { vm, tap })
            });
            if let Some((tap, tap_ref)) = begun {
                self.phase = Phase::Tap(tap);
                envoy::leave_tap_ref(&tap_ref.to_bytes());
            }
        }
        HeadersStatus::Continue
    }

    fn gate(&mut self, config: &Rc<Config>, ends_here: bool) -> HeadersStatus {
        let request = self.request(config);
        let begun = with_worker(|worker| {
            let tap = || TapRef::from_bytes(&envoy::tap_ref()?)?.resolve_in_vm(worker.vm);
            let headers = || headers_without(&config.header);
            Gate::begin(request, headers, ends_here, tap, &mut worker.meeting)
        });
        let (gate, decision) = begun.unzip();
        self.phase = gate.map_or(Phase::Idle, Phase::Gate);
        // Not under the watermark: over a limit that a filter behind sets, that filter's 413 is due, and no wait.
        self.after_headers(config, decision, HeadersStatus::StopAllAndBuffer)
    }

    fn single(&mut self, config: &Rc<Config>, ends_here: bool) -> HeadersStatus {
        let headers = headers_without(&config.header);
        let request = self.request(config);
        let as_sent = envoy::client_has_sent;
        let begun = with_worker(|worker| {
            Single::begin(request, &headers, ends_here, as_sent, &mut worker.meeting)
        });
        let (single, decision) = begun.unzip();
        self.phase = single.map_or(Phase::Idle, Phase::Single);
        self.after_headers(config, decision, HeadersStatus::Stop)
    }

    const fn request<'a>(&self, config: &'a Rc<Config>) -> HeldRequest<'a> {
        HeldRequest {
            stream: self.id,
            root: self.root,
            config,
        }
    }

    fn after_headers(
        &self,
        config: &Config,
        decision: Option<GateDecision>,
        hold: HeadersStatus,
    ) -> HeadersStatus {
        match decision {
            Some(GateDecision::Hold) => {
                count_held(1);
                self.watch(config);
                hold
            }
            Some(GateDecision::Settled(outcome)) => {
                settle(config, outcome);
                HeadersStatus::Continue
            }
            None => HeadersStatus::Continue,
        }
    }

    /// Starts the timer of our root, which stops it when it holds nothing any more.
    fn watch(&self, config: &Config) {
        if with_worker(|worker| worker.roots.start_ticking(self.root)) == Some(true) {
            envoy::start_ticks(config.stall_timeout / TICKS_PER_STALL_TIMEOUT);
        }
    }
}

/// The request's headers without a client's own `name`. Removed only if it is there: a removal makes Envoy choose the
/// route anew.
fn headers_without(name: &str) -> HeaderMap {
    let headers = envoy::request_headers();
    if headers.get(name).is_some() {
        envoy::remove_header(name);
    }
    headers
}

/// However a stream ends, nothing of it stays.
impl Drop for StreamContext {
    fn drop(&mut self) {
        match self.phase {
            Phase::Idle => {}
            Phase::Tap(_) => {
                wake(with_worker(|worker| worker.meeting.leave_tap(self.id)).flatten());
            }
            Phase::Gate(_) | Phase::Single(_) => {
                if with_worker(|worker| worker.meeting.leave(self.id)) == Some(true) {
                    count_held(-1);
                    count(Outcome::Skipped(Reason::Aborted));
                }
            }
        }
    }
}
