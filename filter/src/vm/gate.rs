//! The second filter of the pair: it holds a request until its tap has seen the whole body.

use crate::decision::GateDecision;
use crate::policy::{self, RequestHead};
use crate::stats::{Outcome, Reason};
use crate::vm::rendezvous::{ContextId, HeldRequest, Rendezvous};

/// The gate's decision on a request's headers. `tap` looks up its twin, which must live in this very VM: only a tap of
/// this VM could let the request go, so without one the gate does not hold it. A tap with the same configuration has
/// looked at the headers already; else the gate fetches them by `head`.
pub fn on_headers<H: RequestHead>(
    request: HeldRequest<'_>,
    head: impl FnOnce() -> H,
    ends_here: bool,
    tap: impl FnOnce() -> Option<ContextId>,
    meeting: &mut Rendezvous,
) -> GateDecision {
    // A tap leaves no reference when there is no body.
    let tap = if ends_here { None } else { tap() };
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
