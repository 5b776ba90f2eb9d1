//! What a VM knows of a request that one of its filters holds, or lets go.

use std::rc::Rc;

use crate::config::Config;
use crate::stats::Outcome;

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
