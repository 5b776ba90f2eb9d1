//! One filter alone: it holds the headers, and stops the body until it has ended.
//!
//! Needs an Envoy that still runs body callbacks while the filter holds the headers
//! (`allow_on_headers_stop_iteration`). Without that the body never arrives here, and the request goes on after
//! `stallTimeout`.
//!
//! Envoy keeps the stopped bytes under its watermark. Were it to buffer them for the filter, it would do so with the
//! next bytes, too, even if a time-out had let the request go meanwhile; some Envoys then lose them (envoy#46841).
//!
//! A filter before it that has kept body and trailers back hands on both at once. Envoy would pass the trailers on with
//! whatever the filter lets go, and once more for the other filter: `gate` says what comes of that. So what comes from
//! such a filter goes on in a later turn, when the trailers have come here, too.

use crate::decision::{Bytes, GateDecision, HashedBody};
use crate::digest::HeldBody;
use crate::policy::RequestHead;
use crate::stats::Outcome;
use crate::vm::rendezvous::{ContextId, HeldRequest, Release, Rendezvous, WakeRoot};

/// One request's filter.
#[derive(Debug)]
pub struct Single {
    id: ContextId,
    body: HashedBody,
    /// The headers have come before the body.
    is_streamed: bool,
}

/// What the proxy does with the bytes that it has shown the filter.
#[derive(Debug)]
#[must_use]
pub enum SingleStep {
    /// It goes on with all of them; with an outcome if they settle the request.
    Continue(Option<Outcome>),
    /// It keeps them.
    Stop(Option<WakeRoot>),
    /// It lets the request go without them, and then goes on with them: see [`TapStep::LetGoFirst`].
    ///
    /// [`TapStep::LetGoFirst`]: crate::vm::tap::TapStep::LetGoFirst
    LetGoFirst(Release),
}

impl Single {
    /// The request's headers have come. `as_sent` asks whether the client has sent so many bytes of the body.
    pub fn begin(
        request: HeldRequest<'_>,
        head: &impl RequestHead,
        ends_here: bool,
        as_sent: impl FnOnce(u64) -> bool,
        meeting: &mut Rendezvous,
    ) -> (Self, GateDecision) {
        let (body, decision) = HashedBody::begin(request.config, head, ends_here);
        if decision == GateDecision::Hold {
            meeting.hold(request);
        }
        let single = Self {
            id: request.stream,
            body,
            // A body of a known length does not go over the cap, unless a filter has changed it.
            is_streamed: decision == GateDecision::Hold
                && head.get("content-length").is_none()
                && as_sent(0),
        };
        (single, decision)
    }

    /// More of the body has come. `as_sent` asks whether the client has sent as many bytes as the filter has seen.
    pub fn on_body(
        &mut self,
        bytes: &Bytes<'_, impl HeldBody>,
        as_sent: impl FnOnce(u64) -> bool,
        meeting: &mut Rendezvous,
    ) -> SingleStep {
        if !meeting.touch(self.id) {
            self.body.give_up();
            return SingleStep::Continue(None);
        }
        let seen = self
            .body
            .seen()
            .unwrap_or(0)
            .saturating_add(bytes.len as u64);
        let decision = self.body.on_bytes(bytes);
        match decision {
            Some(GateDecision::Hold) => SingleStep::Stop(None),
            Some(GateDecision::Settled(Outcome::TOO_LARGE)) if !bytes.ends_here => {
                self.over_cap(self.is_streamed && as_sent(seen), meeting)
            }
            Some(GateDecision::Settled(outcome)) => self.settle(outcome, meeting),
            // Ready to go, and its turn has not come.
            None if bytes.ends_here => self.settle(Outcome::TOO_LARGE, meeting),
            None => SingleStep::Stop(None),
        }
    }

    /// The request's trailers, which end it. `None` when the request has been settled before.
    pub fn on_trailers(&mut self, meeting: &mut Rendezvous) -> Option<Outcome> {
        let outcome = match self.body.on_end() {
            Some(GateDecision::Settled(outcome)) => outcome,
            _ => Outcome::TOO_LARGE,
        };
        meeting.leave(self.id).then_some(outcome)
    }

    fn over_cap(&self, as_sent: bool, meeting: &mut Rendezvous) -> SingleStep {
        // Trailers that a filter has added to these bytes would overtake them.
        match as_sent.then(|| meeting.let_go(self.id, Outcome::TOO_LARGE)) {
            Some(Some(release)) => SingleStep::LetGoFirst(release),
            _ => SingleStep::Stop(meeting.settle(self.id, Outcome::TOO_LARGE)),
        }
    }

    /// A request that a time-out has let go meanwhile is not settled a second time.
    fn settle(&self, outcome: Outcome, meeting: &mut Rendezvous) -> SingleStep {
        SingleStep::Continue(meeting.leave(self.id).then_some(outcome))
    }
}
