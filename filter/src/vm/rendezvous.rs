//! Where a tap and its gate find each other, and where every held request waits.
//!
//! One [`Rendezvous`] serves all streams of one VM, which is one worker thread. It owns what must outlive a single
//! callback: what each tap has seen, which requests are held, and which of them are ready to go. Nothing here outlives
//! its stream: the host calls [`Rendezvous::leave_tap`] or [`Rendezvous::leave`] for every stream that ends, however it
//! ends.
//!
//! Time is counted in ticks of the root context that holds a request, so the filter reads no clock.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use crate::config::Config;
use crate::decision::GateDecision;
use crate::stats::{Outcome, Reason};
pub use crate::vm::held::{
    AtGate, ContextId, HeldRequest, Release, TICKS_PER_STALL_TIMEOUT, WakeRoot,
};
use crate::vm::held::{HoldingGate, Tapped, Trailers, within_cap};

/// The streams of one VM. See the module.
#[derive(Debug, Default)]
pub struct Rendezvous {
    taps: HashMap<ContextId, Tapped>,
    held: HashMap<ContextId, HoldingGate>,
    ready: VecDeque<ContextId>,
}

impl Rendezvous {
    /// A tap begins. `outcome` is known at once when it will not hash this request.
    pub fn announce(&mut self, tap: ContextId, config: &Rc<Config>, outcome: Option<Outcome>) {
        self.taps.insert(tap, Tapped::new(config, outcome));
    }

    /// Whether `tap` has looked at its request with the eyes of `config`, so that a gate need not look again.
    #[must_use]
    pub fn agrees(&self, tap: ContextId, config: &Config) -> bool {
        self.taps
            .get(&tap)
            .is_some_and(|tapped| *tapped.config == *config)
    }

    /// Where the request of `tap` is.
    pub fn at_gate(&self, tap: ContextId) -> AtGate {
        match self.taps.get(&tap).and_then(|tapped| tapped.gate) {
            None => AtGate::Absent,
            Some(gate) if self.held.contains_key(&gate) => AtGate::Held,
            Some(_) => AtGate::Gone,
        }
    }

    /// A tap has seen `seen` bytes in all, and the body goes on. False when that is more than its gate's own cap.
    pub fn progress(&mut self, tap: ContextId, seen: u64) -> bool {
        let Some(tapped) = self.taps.get_mut(&tap) else {
            return true;
        };
        tapped.seen = seen;
        let Some(held) = tapped.gate.and_then(|gate| self.held.get_mut(&gate)) else {
            return true;
        };
        held.idle_ticks = 0;
        seen <= held.config.max_body_bytes
    }

    /// A tap stops the bytes of its request, or lets them go on. Says whether it had stopped some before.
    pub fn stop(&mut self, tap: ContextId, stops: bool) -> bool {
        self.taps
            .get_mut(&tap)
            .is_some_and(|tapped| std::mem::replace(&mut tapped.stopped, stops))
    }

    /// The request's trailers have come to a tap.
    pub fn trailers_at_tap(&mut self, tap: ContextId) {
        if let Some(tapped) = self.taps.get_mut(&tap) {
            tapped.trailers = Trailers::PastTap;
        }
    }

    /// The request's trailers have come to the gate of a tap. Whether the tap has seen them.
    pub fn trailers_at_gate(&mut self, tap: ContextId) -> bool {
        let tapped = self.taps.get_mut(&tap);
        tapped.is_none_or(Tapped::trailers_at_gate)
    }

    /// Whether the request's trailers have come to the gate of a tap, and not to the tap itself.
    #[must_use]
    pub fn is_overtaken(&self, tap: ContextId) -> bool {
        self.taps
            .get(&tap)
            .is_some_and(|tapped| tapped.trailers == Trailers::AtGateFirst)
    }

    /// Lets the request of `tap` go before the bytes that the tap is looking at. `None` when its gate holds nothing.
    pub fn let_go_first(&mut self, tap: ContextId, outcome: Outcome) -> Option<Release> {
        let gate = self.taps.get(&tap)?.gate?;
        self.let_go(gate, outcome)
    }

    /// Lets the request of `stream` go in this turn. `None` when it is not held.
    pub fn let_go(&mut self, stream: ContextId, outcome: Outcome) -> Option<Release> {
        let _in_this_turn = self.settle(stream, outcome);
        self.ready.retain(|ready| *ready != stream);
        self.release(stream)
    }

    /// A tap has seen the end after `seen` bytes, or gives up. Its gate may not be there yet.
    pub fn finish(&mut self, tap: ContextId, seen: u64, outcome: Outcome) -> Option<WakeRoot> {
        let tapped = self.taps.get_mut(&tap)?;
        tapped.seen = seen;
        let outcome = *tapped.outcome.get_or_insert(outcome);
        let gate = tapped.gate?;
        let outcome = within_cap(outcome, seen, &self.held.get(&gate)?.config);
        self.settle(gate, outcome)
    }

    /// A gate asks for what `tap` knows, and holds its request if that is not all yet.
    pub fn join(&mut self, gate: HeldRequest<'_>, tap: ContextId) -> GateDecision {
        let Some(tapped) = self.taps.get_mut(&tap) else {
            return GateDecision::Settled(Outcome::Skipped(Reason::TwinAbsent));
        };
        if let Some(outcome) = tapped.outcome {
            return GateDecision::Settled(within_cap(outcome, tapped.seen, gate.config));
        }
        if tapped.seen > gate.config.max_body_bytes {
            return GateDecision::Settled(Outcome::Skipped(Reason::TooLarge));
        }
        tapped.gate = Some(gate.stream);
        self.take(gate, Some(tap));
        GateDecision::Hold
    }

    /// Holds a request without a tap: its filter watches its body by itself.
    pub fn hold(&mut self, request: HeldRequest<'_>) {
        self.take(request, None);
    }

    /// More of a held request's own body has come. False when it is not, or no longer, held.
    pub fn touch(&mut self, stream: ContextId) -> bool {
        self.held
            .get_mut(&stream)
            .map(|held| held.idle_ticks = 0)
            .is_some()
    }

    /// The next request to resume. It is no longer held when this returns.
    pub fn next_ready(&mut self) -> Option<Release> {
        let stream = self.ready.pop_front()?;
        self.release(stream)
    }

    /// The request of `stream` is ready to go, with `outcome` unless it was ready before.
    pub fn settle(&mut self, stream: ContextId, outcome: Outcome) -> Option<WakeRoot> {
        let held = self.held.get_mut(&stream)?;
        if held.outcome.is_some() {
            return None;
        }
        held.outcome = Some(outcome);
        self.ready.push_back(stream);
        Some(WakeRoot(held.root))
    }

    /// A tick of `root`: what has waited too long becomes ready. Says how many requests of all roots are ready now, of
    /// which each wants a wake: an earlier one may have been lost.
    pub fn tick(&mut self, root: ContextId) -> usize {
        for held in self.held.values_mut().filter(|held| held.root == root) {
            held.idle_ticks = held.idle_ticks.saturating_add(1);
        }
        self.settle_all(Reason::Stalled, |held| {
            held.root == root && held.idle_ticks > TICKS_PER_STALL_TIMEOUT
        })
    }

    /// Whether `root` still has a request to watch.
    #[must_use]
    pub fn watches(&self, root: ContextId) -> bool {
        self.held.values().any(|held| held.root == root)
    }

    /// `root` is gone, and no timer would notice if its requests stalled: they become ready. Says how many are, as
    /// [`Rendezvous::tick`] does. Envoy keeps a root for as long as it has streams; this is for an Envoy that does not.
    pub fn abandon(&mut self, root: ContextId) -> usize {
        self.settle_all(Reason::Aborted, |held| held.root == root)
    }

    /// A tap is gone. A gate that still waits for it has nothing left to wait for.
    pub fn leave_tap(&mut self, tap: ContextId) -> Option<WakeRoot> {
        let gate = self.taps.remove(&tap)?.gate?;
        self.settle(gate, Outcome::Skipped(Reason::TwinAbsent))
    }

    /// A held request is gone: resumed by its own filter, or cut off. True if it was held until now.
    pub fn leave(&mut self, stream: ContextId) -> bool {
        let held = self.held.remove(&stream).is_some();
        if held {
            self.ready.retain(|ready| *ready != stream);
        }
        held
    }

    /// Whether no stream is here. What the tests of every ending ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taps.is_empty() && self.held.is_empty() && self.ready.is_empty()
    }

    fn take(&mut self, request: HeldRequest<'_>, tap: Option<ContextId>) {
        let held = HoldingGate {
            root: request.root,
            tap,
            config: Rc::clone(request.config),
            idle_ticks: 0,
            outcome: None,
        };
        self.held.insert(request.stream, held);
    }

    fn release(&mut self, stream: ContextId) -> Option<Release> {
        let held = self.held.remove(&stream)?;
        let stopped_tap = held.tap.filter(|tap| self.stop(*tap, false));
        Some(Release {
            stream,
            stopped_tap,
            config: held.config,
            outcome: held.outcome?,
        })
    }

    fn settle_all(&mut self, reason: Reason, which: impl Fn(&HoldingGate) -> bool) -> usize {
        let waiting = self
            .held
            .iter_mut()
            .filter(|(_, held)| held.outcome.is_none() && which(held));
        for (stream, held) in waiting {
            held.outcome = Some(Outcome::Skipped(reason));
            self.ready.push_back(*stream);
        }
        self.ready.len()
    }
}
