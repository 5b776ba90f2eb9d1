//! The second filter of the pair: it holds a request until its tap has seen the whole body.

use crate::decision::GateDecision;
use crate::policy::{self, Head};
use crate::stats::{Outcome, Reason};
use crate::vm::rendezvous::{ContextId, HeldRequest, Rendezvous};

/// The gate's decision on a request's headers. `tap` looks up its twin, which must live in this very VM: only a tap of
/// this VM could let the request go, so without one the gate does not hold it.
pub fn on_headers(
    request: HeldRequest<'_>,
    head: &impl Head,
    ends_here: bool,
    tap: impl FnOnce() -> Option<ContextId>,
    meeting: &mut Rendezvous,
) -> GateDecision {
    if let Some(reason) = policy::reason_to_skip(request.config, head, ends_here) {
        return GateDecision::Settled(Outcome::Skipped(reason));
    }
    match tap() {
        Some(tap) => meeting.join(request, tap),
        None => GateDecision::Settled(Outcome::Skipped(Reason::TwinAbsent)),
    }
}
