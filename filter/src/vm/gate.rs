//! The second filter of the pair: it holds a request until its tap has seen the whole body.
//!
//! Where Envoy has a request's trailers already, because a filter before the tap has kept them back with bytes, it passes
//! them on with whatever a filter lets go, and once more when the other filter goes on. An HTTP/1 upstream takes the
//! second end for a request. So the gate keeps trailers until its tap has seen them, too.

use crate::decision::GateDecision;
use crate::policy::{self, RequestHead};
use crate::stats::{Outcome, Reason};
use crate::vm::rendezvous::{ContextId, HeldRequest, Rendezvous};

/// One request's gate.
#[derive(Debug)]
pub struct Gate {
    /// The tap before it, if the gate has held the request.
    tap: Option<ContextId>,
}

impl Gate {
    /// The request's headers have come. `tap` looks up its twin, which must live in this very VM: only a tap of this VM
    /// could let the request go, so without one the gate does not hold it. A tap with the same configuration has looked
    /// at the headers already; else the gate fetches them by `head`.
    pub fn begin<H: RequestHead>(
        request: HeldRequest<'_>,
        head: impl FnOnce() -> H,
        ends_here: bool,
        tap: impl FnOnce() -> Option<ContextId>,
        meeting: &mut Rendezvous,
    ) -> (Self, GateDecision) {
        // A tap leaves no reference when there is no body.
        let tap = if ends_here { None } else { tap() };
        let decision = decide(request, head, ends_here, tap, meeting);
        let gate = Self {
            tap: tap.filter(|_| decision == GateDecision::Hold),
        };
        (gate, decision)
    }

    /// The request's trailers have come. Whether they go on.
    pub fn on_trailers(&self, meeting: &mut Rendezvous) -> bool {
        self.tap.is_none_or(|tap| meeting.trailers_at_gate(tap))
    }
}

fn decide<H: RequestHead>(
    request: HeldRequest<'_>,
    head: impl FnOnce() -> H,
    ends_here: bool,
    tap: Option<ContextId>,
    meeting: &mut Rendezvous,
) -> GateDecision {
    let agreed = tap.is_some_and(|tap| meeting.agrees(tap, request.config));
    let skip = if agreed {
        None
    } else {
        policy::reason_to_skip(request.config, &head(), ends_here)
    };
    match (skip, tap) {
        (Some(reason), _) => GateDecision::Settled(Outcome::Skipped(reason)),
        (None, Some(tap)) => meeting.join(request, tap),
        (None, None) => GateDecision::Settled(Outcome::Skipped(Reason::TwinAbsent)),
    }
}
