//! One filter alone: it holds the headers and reads the body that Envoy buffers behind them.
//!
//! Needs an Envoy that still runs body callbacks while the headers are held
//! (`allow_on_headers_stop_iteration`). Without that the body never arrives here, and the request
//! goes on after `stallTimeout`.

use crate::digest::{Body, BodyHasher};
use crate::policy::{self, Head};
use crate::rendezvous::{ContextId, Join, Place, Rendezvous};
use crate::stats::Outcome;

/// One request's filter.
#[derive(Debug)]
pub struct Single {
    id: ContextId,
    hasher: Option<BodyHasher>,
}

impl Single {
    /// The request's headers have come.
    pub fn begin(
        place: Place<'_>,
        head: &impl Head,
        ends_here: bool,
        meeting: &mut Rendezvous,
    ) -> (Self, Join) {
        let id = place.stream;
        if let Some(reason) = policy::reason_to_skip(place.config, head, ends_here) {
            return (
                Self { id, hasher: None },
                Join::Settled(Outcome::Skipped(reason)),
            );
        }
        meeting.hold(place);
        (
            Self {
                id,
                hasher: Some(BodyHasher::new(place.config.max_body_bytes)),
            },
            Join::Hold,
        )
    }

    /// Envoy has `len` bytes of the body in all, the whole of it if `ends_here`. `None` when the
    /// request is not, or no longer, held.
    pub fn on_body(
        &mut self,
        body: &impl Body,
        len: usize,
        ends_here: bool,
        meeting: &mut Rendezvous,
    ) -> Option<Join> {
        if !meeting.touch(self.id) {
            self.hasher = None;
        }
        let hasher = self.hasher.as_mut()?;
        let read = usize::try_from(hasher.seen()).unwrap_or(usize::MAX);
        match hasher.absorb(body, read, len.saturating_sub(read)) {
            Ok(()) if ends_here => self.on_end(meeting),
            Ok(()) => Some(Join::Hold),
            Err(reason) => {
                self.hasher = None;
                meeting.leave(self.id);
                Some(Join::Settled(Outcome::Skipped(reason)))
            }
        }
    }

    /// The end of the body, by its last bytes or by trailers.
    pub fn on_end(&mut self, meeting: &mut Rendezvous) -> Option<Join> {
        let hasher = self.hasher.take()?;
        meeting
            .leave(self.id)
            .then(|| Join::Settled(hasher.finish()))
    }
}
