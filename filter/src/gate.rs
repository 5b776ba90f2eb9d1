//! The second filter of the pair: it holds a request until its tap has seen the whole body.

use crate::policy::{self, Head};
use crate::rendezvous::{ContextId, Join, Place, Rendezvous};
use crate::stats::{Outcome, Reason};

/// The gate's decision on a request's headers. `tap` looks up its twin, which must live in this
/// very VM: nobody else could let the request go, so without one it is not held.
pub fn on_headers(
    place: Place<'_>,
    head: &impl Head,
    ends_here: bool,
    tap: impl FnOnce() -> Option<ContextId>,
    meeting: &mut Rendezvous,
) -> Join {
    if let Some(reason) = policy::reason_to_skip(place.config, head, ends_here) {
        return Join::Settled(Outcome::Skipped(reason));
    }
    match tap() {
        Some(tap) => meeting.join(place, tap),
        None => Join::Settled(Outcome::Skipped(Reason::TwinAbsent)),
    }
}
