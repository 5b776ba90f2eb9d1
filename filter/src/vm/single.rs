//! One filter alone: it holds the headers and reads the body that Envoy buffers behind them.
//!
//! Needs an Envoy that still runs body callbacks while the filter holds the headers
//! (`allow_on_headers_stop_iteration`). Without that the body never arrives here, and the request goes on after
//! `stallTimeout`.

use crate::decision::{GateDecision, HashedBody};
use crate::digest::Body;
use crate::policy::Head;
use crate::vm::rendezvous::{ContextId, HeldRequest, Rendezvous};

/// One request's filter.
#[derive(Debug)]
pub struct Single {
    id: ContextId,
    body: HashedBody,
}

impl Single {
    /// The request's headers have come.
    pub fn begin(
        request: HeldRequest<'_>,
        head: &impl Head,
        ends_here: bool,
        meeting: &mut Rendezvous,
    ) -> (Self, GateDecision) {
        let (body, decision) = HashedBody::begin(request.config, head, ends_here);
        if decision == GateDecision::Hold {
            meeting.hold(request);
        }
        let id = request.stream;
        (Self { id, body }, decision)
    }

    /// Envoy has `len` bytes of the body in all, the whole of it if `ends_here`. `None` when the filter does not, or no
    /// longer, hold the request.
    pub fn on_body(
        &mut self,
        body: &impl Body,
        len: usize,
        ends_here: bool,
        meeting: &mut Rendezvous,
    ) -> Option<GateDecision> {
        if !meeting.touch(self.id) {
            self.body.give_up();
        }
        let read = usize::try_from(self.body.seen()?).unwrap_or(usize::MAX);
        let decision = self
            .body
            .on_bytes(body, read, len.saturating_sub(read), ends_here)?;
        self.after(decision, meeting)
    }

    /// The end of the body, by its last bytes or by trailers.
    pub fn on_end(&mut self, meeting: &mut Rendezvous) -> Option<GateDecision> {
        let decision = self.body.on_end()?;
        self.after(decision, meeting)
    }

    /// A request that a time-out has let go meanwhile is not settled a second time.
    fn after(&self, decision: GateDecision, meeting: &mut Rendezvous) -> Option<GateDecision> {
        let still = decision == GateDecision::Hold || meeting.leave(self.id);
        still.then_some(decision)
    }
}
