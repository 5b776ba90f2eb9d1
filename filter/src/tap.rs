//! The first filter of the pair: it is never held, sees every byte of the body and hashes it.

use crate::config::Config;
use crate::digest::{Body, BodyHasher};
use crate::policy::{self, Head};
use crate::rendezvous::{ContextId, Rendezvous, Wake};
use crate::stats::Outcome;

/// One request's tap.
#[derive(Debug)]
pub struct Tap {
    id: ContextId,
    hasher: Option<BodyHasher>,
}

impl Tap {
    /// The headers of a request with a body have come. What the tap will not hash it says at once,
    /// so that its gate need not wait; the gate counts it.
    pub fn begin(
        id: ContextId,
        config: &Config,
        head: &impl Head,
        meeting: &mut Rendezvous,
    ) -> Self {
        let reason = policy::reason_to_skip(config, head, false);
        meeting.announce(id, reason.map(Outcome::Skipped));
        let hasher = reason
            .is_none()
            .then(|| BodyHasher::new(config.max_body_bytes));
        Self { id, hasher }
    }

    /// `len` new bytes of the body, the last ones if `ends_here`.
    pub fn on_body(
        &mut self,
        body: &impl Body,
        len: usize,
        ends_here: bool,
        meeting: &mut Rendezvous,
    ) -> Option<Wake> {
        let hasher = self.hasher.as_mut()?;
        match hasher.absorb(body, 0, len) {
            Ok(()) if ends_here => self.on_end(meeting),
            Ok(()) => meeting.progress(self.id, hasher.seen()),
            Err(reason) => {
                let seen = hasher.seen();
                self.hasher = None;
                meeting.finish(self.id, seen, Outcome::Skipped(reason))
            }
        }
    }

    /// The end of the body, by its last bytes or by trailers.
    pub fn on_end(&mut self, meeting: &mut Rendezvous) -> Option<Wake> {
        let hasher = self.hasher.take()?;
        let seen = hasher.seen();
        meeting.finish(self.id, seen, hasher.finish())
    }
}
