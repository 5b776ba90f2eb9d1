//! One request in one instance of the filter: callbacks in, decisions of the core out.

use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::envoy::{self, RequestBody, RequestHeaders};
use super::meters::{count, count_held};
use super::wake;
use super::worker::with_worker;
use crate::config::{Config, Role};
use crate::gate;
use crate::rendezvous::{ContextId, Join, Place, TICKS_PER_STALL_TIMEOUT};
use crate::single::Single;
use crate::stats::{Outcome, Reason};
use crate::tap::Tap;
use crate::ticket::Ticket;

/// See the module.
pub(super) struct Stream {
    id: ContextId,
    root: ContextId,
    config: Option<Rc<Config>>,
    phase: Phase,
}

enum Phase {
    /// No headers have come: a filter before us may end a stream that never began here.
    Idle,
    Tap(Tap),
    Gate,
    Single(Single),
}

/// Writes the header, if there is one, and counts. Only while the headers are lent to the stream
/// acted for: in its own callback, or while it is held.
pub(super) fn settle(config: &Config, outcome: Outcome) {
    if let Outcome::Hashed(digest) = outcome {
        envoy::set_header(&config.header, &digest.to_hex());
    }
    count(outcome);
}

impl Stream {
    pub(super) fn new(id: ContextId, root: ContextId, config: Option<Rc<Config>>) -> Self {
        Self {
            id,
            root,
            config,
            phase: Phase::Idle,
        }
    }

    fn tap(&mut self, config: &Config, ends_here: bool) -> Action {
        // Without a body there is nothing to tell, and the gate sees that for itself.
        if !ends_here {
            let begun = with_worker(|worker| {
                let ticket = Ticket {
                    vm: worker.vm,
                    tap: self.id,
                };
                (
                    Tap::begin(self.id, config, &RequestHeaders, &mut worker.meeting),
                    ticket,
                )
            });
            if let Some((tap, ticket)) = begun {
                self.phase = Phase::Tap(tap);
                envoy::leave_ticket(&ticket.to_bytes());
            }
        }
        Action::Continue
    }

    fn gate(&mut self, config: &Rc<Config>, ends_here: bool) -> Action {
        self.phase = Phase::Gate;
        let join = with_worker(|worker| {
            let twin = || Ticket::from_bytes(&envoy::ticket()?)?.redeem(worker.vm);
            let place = Place {
                stream: self.id,
                root: self.root,
                config,
            };
            gate::on_headers(place, &RequestHeaders, ends_here, twin, &mut worker.meeting)
        });
        self.after_headers(config, join)
    }

    fn single(&mut self, config: &Rc<Config>, ends_here: bool) -> Action {
        let begun = with_worker(|worker| {
            let place = Place {
                stream: self.id,
                root: self.root,
                config,
            };
            Single::begin(place, &RequestHeaders, ends_here, &mut worker.meeting)
        });
        let (single, join) = begun.unzip();
        self.phase = single.map_or(Phase::Idle, Phase::Single);
        self.after_headers(config, join)
    }

    fn after_headers(&self, config: &Config, join: Option<Join>) -> Action {
        match join {
            Some(Join::Hold) => {
                count_held(1);
                self.watch(config);
                Action::Pause
            }
            Some(Join::Settled(outcome)) => {
                settle(config, outcome);
                Action::Continue
            }
            None => Action::Continue,
        }
    }

    /// Envoy shows a gate nothing of the request that it holds, unless the gate was given the flag
    /// of `single`. To go on here would then let the request leave before its header is written.
    fn while_held(&self) -> Action {
        match with_worker(|worker| worker.meeting.holds(self.id)) {
            Some(true) => Action::Pause,
            _ => Action::Continue,
        }
    }

    /// Starts the timer of our root, which stops it when nothing is held any more.
    fn watch(&self, config: &Config) {
        if with_worker(|worker| worker.roots.start_ticking(self.root)) == Some(true) {
            let tick = config.stall_timeout / TICKS_PER_STALL_TIMEOUT;
            // A period of 0 would stop it.
            envoy::start_ticks(tick.max(Duration::from_millis(1)));
        }
    }
}

/// What a single filter does with a held request after more of its body.
fn after_body(config: &Config, join: Option<Join>) -> Action {
    match join {
        Some(Join::Hold) => Action::Pause,
        Some(Join::Settled(outcome)) => {
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
        let Some(config) = self.config.clone() else {
            return Action::Continue;
        };
        envoy::remove_header(&config.header);
        match config.role {
            Role::Tap => self.tap(&config, ends_here),
            Role::Gate => self.gate(&config, ends_here),
            Role::Single => self.single(&config, ends_here),
        }
    }

    fn on_http_request_body(&mut self, len: usize, ends_here: bool) -> Action {
        match (&mut self.phase, &self.config) {
            (Phase::Tap(tap), _) => {
                let woken = with_worker(|worker| {
                    tap.on_body(&RequestBody, len, ends_here, &mut worker.meeting)
                });
                wake(woken.flatten());
                Action::Continue
            }
            (Phase::Single(single), Some(config)) => {
                let join = with_worker(|worker| {
                    single.on_body(&RequestBody, len, ends_here, &mut worker.meeting)
                });
                after_body(config, join.flatten())
            }
            (Phase::Gate, _) => self.while_held(),
            _ => Action::Continue,
        }
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        if let Some(config) = &self.config {
            envoy::remove_trailer(&config.header);
        }
        match (&mut self.phase, &self.config) {
            (Phase::Tap(tap), _) => {
                wake(with_worker(|worker| tap.on_end(&mut worker.meeting)).flatten());
                Action::Continue
            }
            (Phase::Single(single), Some(config)) => {
                let join = with_worker(|worker| single.on_end(&mut worker.meeting));
                after_body(config, join.flatten())
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
