//! The first filter of the pair: it holds nothing, sees every byte of the body and hashes it.

use crate::config::Config;
use crate::decision::{GateDecision, HashedBody};
use crate::digest::Body;
use crate::policy::Head;
use crate::vm::rendezvous::{ContextId, Rendezvous, WakeRoot};

/// One request's tap.
#[derive(Debug)]
pub struct Tap {
    id: ContextId,
    body: HashedBody,
}

impl Tap {
    /// The headers of a request with a body have come. What the tap will not hash it says at once, so that its gate
    /// need not wait; the gate counts it.
    pub fn begin(
        id: ContextId,
        config: &Config,
        head: &impl Head,
        meeting: &mut Rendezvous,
    ) -> Self {
        let (body, decision) = HashedBody::begin(config, head, false);
        let outcome = match decision {
            GateDecision::Hold => None,
            GateDecision::Settled(outcome) => Some(outcome),
        };
        meeting.announce(id, outcome);
        Self { id, body }
    }

    /// `len` new bytes of the body, the last ones if `ends_here`.
    pub fn on_body(
        &mut self,
        body: &impl Body,
        len: usize,
        ends_here: bool,
        meeting: &mut Rendezvous,
    ) -> Option<WakeRoot> {
        let seen = self.body.seen()?.saturating_add(len as u64);
        match self.body.on_bytes(body, 0, len, ends_here)? {
            GateDecision::Hold => meeting.progress(self.id, seen),
            GateDecision::Settled(outcome) => meeting.finish(self.id, seen, outcome),
        }
    }

    /// The end of the body, by its last bytes or by trailers.
    pub fn on_end(&mut self, meeting: &mut Rendezvous) -> Option<WakeRoot> {
        let seen = self.body.seen()?;
        match self.body.on_end()? {
            GateDecision::Settled(outcome) => meeting.finish(self.id, seen, outcome),
            GateDecision::Hold => None,
        }
    }
}
