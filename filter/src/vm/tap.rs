//! The first filter of the pair: it sees every byte of the body and hashes it.
//!
//! While the gate behind it holds the request, the tap stops the body, too. Envoy keeps the bytes in one buffer in
//! either case. But once it has met a filter that stops all, it shows no filter the trailers that one before the tap (a
//! decompressor) has added to the last bytes: only a tap that stops the bytes itself learns that the body has ended.

use std::rc::Rc;

use crate::config::Config;
use crate::decision::{Bytes, GateDecision, HashedBody};
use crate::digest::HeldBody;
use crate::policy::RequestHead;
use crate::stats::Outcome;
use crate::vm::rendezvous::{AtGate, ContextId, Release, Rendezvous, WakeRoot};

/// One request's tap.
#[derive(Debug)]
pub struct Tap {
    id: ContextId,
    body: HashedBody,
}

/// What the proxy does with the bytes that it has shown a tap.
#[derive(Debug)]
#[must_use]
pub enum TapStep {
    /// It goes on with them, after those that the tap had stopped.
    Continue(Option<WakeRoot>),
    /// It keeps them, until the tap goes on.
    Stop(Option<WakeRoot>),
    /// It lets the request go without them, and then goes on with them. So no filter behind the gate gets more than the
    /// cap at once: one that buffers would find its buffer above the limit already, and wait for ever.
    LetGoFirst(Release),
    /// They would be lost: the trailers have passed them, and Envoy shows no filter bytes behind those.
    Refuse,
}

impl Tap {
    /// The headers of a request with a body have come. What the tap will not hash it says at once, so that its gate
    /// need not wait; the gate counts it.
    pub fn begin(
        id: ContextId,
        config: &Rc<Config>,
        head: &impl RequestHead,
        meeting: &mut Rendezvous,
    ) -> Self {
        let (body, decision) = HashedBody::begin(config, head, false);
        let outcome = match decision {
            GateDecision::Hold => None,
            GateDecision::Settled(outcome) => Some(outcome),
        };
        meeting.announce(id, config, outcome);
        Self { id, body }
    }

    /// More of the body has come. `as_sent` asks whether the client has sent as many bytes as the tap has seen.
    pub fn on_body(
        &mut self,
        bytes: &Bytes<'_, impl HeldBody>,
        as_sent: impl FnOnce(u64) -> bool,
        meeting: &mut Rendezvous,
    ) -> TapStep {
        if bytes.len > 0 && meeting.is_overtaken(self.id) {
            return TapStep::Refuse;
        }
        let at_gate = meeting.at_gate(self.id);
        if at_gate == AtGate::Gone {
            self.body.give_up();
        }
        let Some(before) = self.body.seen() else {
            return self.step(at_gate, false, None, meeting);
        };
        let seen = before.saturating_add(bytes.len as u64);
        let decision = self.body.on_bytes(bytes);
        match decision {
            Some(GateDecision::Settled(outcome)) if outcome != Outcome::TOO_LARGE => {
                let wake = meeting.finish(self.id, seen, outcome);
                self.step(at_gate, bytes.ends_here, wake, meeting)
            }
            Some(GateDecision::Hold) if meeting.progress(self.id, seen) => {
                self.step(at_gate, false, None, meeting)
            }
            _ => {
                self.body.give_up();
                // Trailers that a filter has added to these bytes would overtake them.
                let alone = !bytes.ends_here && at_gate == AtGate::Held && as_sent(seen);
                match alone.then(|| meeting.let_go_first(self.id, Outcome::TOO_LARGE)) {
                    Some(Some(release)) => TapStep::LetGoFirst(release),
                    _ => {
                        let wake = meeting.finish(self.id, seen, Outcome::TOO_LARGE);
                        self.step(at_gate, false, wake, meeting)
                    }
                }
            }
        }
    }

    /// Trailers: the end of the body. The tap goes on by returning.
    pub fn on_trailers(&mut self, meeting: &mut Rendezvous) -> Option<WakeRoot> {
        meeting.stop(self.id, false);
        meeting.trailers_at_tap(self.id);
        let seen = self.body.seen()?;
        match self.body.on_end()? {
            GateDecision::Settled(outcome) => meeting.finish(self.id, seen, outcome),
            GateDecision::Hold => None,
        }
    }

    /// A held request's bytes stay with the tap. The last ones follow those that it had stopped; alone they stay, too:
    /// the gate would refuse what outgrows a buffer, where the tap makes Envoy stop reading.
    fn step(
        &self,
        at_gate: AtGate,
        ends_here: bool,
        wake: Option<WakeRoot>,
        meeting: &mut Rendezvous,
    ) -> TapStep {
        let stops = at_gate == AtGate::Held;
        let had_stopped = meeting.stop(self.id, stops);
        if stops && !(ends_here && had_stopped) {
            TapStep::Stop(wake)
        } else {
            meeting.stop(self.id, false);
            TapStep::Continue(wake)
        }
    }
}
