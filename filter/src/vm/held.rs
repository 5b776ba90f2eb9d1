//! What a VM knows of a request that one of its filters holds, or lets go.

use std::rc::Rc;

use crate::config::Config;
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
    /// The tap before it that has stopped its body: it must go on first.
    pub stopped_tap: Option<ContextId>,
    /// That filter's configuration.
    pub config: Rc<Config>,
    /// With the header or without.
    pub outcome: Outcome,
}

/// What the gate behind a tap does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtGate {
    /// No gate has asked for this tap yet.
    Absent,
    /// The gate holds the request.
    Held,
    /// The gate held the request and has let it go.
    Gone,
}

/// A request that a tap watches.
#[derive(Debug)]
pub(super) struct Tapped {
    pub(super) config: Rc<Config>,
    /// So many bytes of its body.
    pub(super) seen: u64,
    pub(super) outcome: Option<Outcome>,
    pub(super) gate: Option<ContextId>,
    /// Whether the tap has stopped bytes.
    pub(super) stopped: bool,
    pub(super) trailers: Trailers,
}

/// Where the trailers of a tapped request have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trailers {
    None,
    AtGateFirst,
    PastTap,
}

impl Tapped {
    pub(super) fn new(config: &Rc<Config>, outcome: Option<Outcome>) -> Self {
        Self {
            config: Rc::clone(config),
            seen: 0,
            outcome,
            gate: None,
            stopped: false,
            trailers: Trailers::None,
        }
    }

    /// The trailers have come to the gate. Whether the tap has seen them.
    pub(super) fn trailers_at_gate(&mut self) -> bool {
        if self.trailers == Trailers::None {
            self.trailers = Trailers::AtGateFirst;
        }
        self.trailers == Trailers::PastTap
    }
}

/// A request that a filter holds, by itself or for a tap.
#[derive(Debug)]
pub(super) struct HoldingGate {
    pub(super) root: ContextId,
    pub(super) tap: Option<ContextId>,
    pub(super) config: Rc<Config>,
    pub(super) idle_ticks: u32,
    pub(super) outcome: Option<Outcome>,
}

/// The gate's own cap counts too, whatever the tap's is.
pub(super) fn within_cap(outcome: Outcome, seen: u64, config: &Config) -> Outcome {
    match outcome {
        Outcome::Hashed(_) if seen > config.max_body_bytes => Outcome::Skipped(Reason::TooLarge),
        outcome => outcome,
    }
}
