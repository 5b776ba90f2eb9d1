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

/// A stream or root context of this VM. Envoy does not give the same number twice while it is in use.
pub type ContextId = u32;

/// Ticks in one `stallTimeout`. The first tick after that many lets a request go, hence not before the time-out and at
/// most a quarter of it later.
pub const TICKS_PER_STALL_TIMEOUT: u32 = 4;

/// The root context to wake so that a ready request is resumed in a turn of its own.
#[must_use = "a ready request without a wake waits for the next tick"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeRoot(pub ContextId);

/// A request that a filter wants to hold.
#[derive(Clone, Copy, Debug)]
pub struct HeldRequest<'a> {
    /// The filter's own context.
    pub stream: ContextId,
    /// Its root context, whose timer watches over it.
    pub root: ContextId,
    /// Its configuration.
    pub config: &'a Rc<Config>,
}

/// A request that may go on now.
#[derive(Clone, Debug)]
pub struct Release {
    /// The filter that held it.
    pub stream: ContextId,
    /// That filter's configuration.
    pub config: Rc<Config>,
    /// With the header or without.
    pub outcome: Outcome,
}

#[derive(Debug, Default)]
struct Tapped {
    seen: u64,
    outcome: Option<Outcome>,
    gate: Option<ContextId>,
}

#[derive(Debug)]
struct Held {
    root: ContextId,
    config: Rc<Config>,
    idle_ticks: u32,
    outcome: Option<Outcome>,
}

/// The streams of one VM. See the module.
#[derive(Debug, Default)]
pub struct Rendezvous {
    taps: HashMap<ContextId, Tapped>,
    held: HashMap<ContextId, Held>,
    ready: VecDeque<ContextId>,
}

impl Rendezvous {
    /// A tap begins. `outcome` is known at once when it will not hash this request.
    pub fn announce(&mut self, tap: ContextId, outcome: Option<Outcome>) {
        self.taps.entry(tap).or_default().outcome = outcome;
    }

    /// A tap has seen `seen` bytes in all, and the body goes on.
    pub fn progress(&mut self, tap: ContextId, seen: u64) -> Option<WakeRoot> {
        let tapped = self.taps.get_mut(&tap)?;
        tapped.seen = seen;
        let gate = tapped.gate?;
        let held = self.held.get_mut(&gate)?;
        held.idle_ticks = 0;
        if seen > held.config.max_body_bytes {
            self.settle(gate, Outcome::Skipped(Reason::TooLarge))
        } else {
            None
        }
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
        self.hold(gate);
        GateDecision::Hold
    }

    /// Holds a request without a tap: its filter watches its body by itself.
    pub fn hold(&mut self, request: HeldRequest<'_>) {
        let held = Held {
            root: request.root,
            config: Rc::clone(request.config),
            idle_ticks: 0,
            outcome: None,
        };
        self.held.insert(request.stream, held);
    }

    /// Whether `stream` is held.
    #[must_use]
    pub fn holds(&self, stream: ContextId) -> bool {
        self.held.contains_key(&stream)
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
        let Held {
            config, outcome, ..
        } = self.held.remove(&stream)?;
        Some(Release {
            stream,
            config,
            outcome: outcome?,
        })
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

    fn settle_all(&mut self, reason: Reason, which: impl Fn(&Held) -> bool) -> usize {
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

    fn settle(&mut self, stream: ContextId, outcome: Outcome) -> Option<WakeRoot> {
        let held = self.held.get_mut(&stream)?;
        if held.outcome.is_some() {
            return None;
        }
        held.outcome = Some(outcome);
        self.ready.push_back(stream);
        Some(WakeRoot(held.root))
    }
}

/// The gate's own cap counts too, whatever the tap's is.
fn within_cap(outcome: Outcome, seen: u64, config: &Config) -> Outcome {
    match outcome {
        Outcome::Hashed(_) if seen > config.max_body_bytes => Outcome::Skipped(Reason::TooLarge),
        outcome => outcome,
    }
}
