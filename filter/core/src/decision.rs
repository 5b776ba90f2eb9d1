//! What a filter decides about one request, from its headers to the end of its body.
//!
//! This is the whole of the filter that every host shares. A host feeds a [`HashedBody`] with what its proxy shows it
//! and obeys the [`GateDecision`]; how it holds a request, and how it lets it go, is the host's own affair.

use crate::config::Config;
use crate::digest::{BodyHasher, HeldBody, Incomplete};
use crate::policy::{self, RequestHead};
use crate::stats::{Outcome, Reason};

/// What the filter that gates a request does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateDecision {
    /// Hold it: its body has not ended.
    Hold,
    /// Let it go on, with the header or without.
    Settled(Outcome),
}

/// Bytes of a body, as the proxy shows them to the filter.
#[derive(Debug)]
pub struct Bytes<'a, B> {
    /// Where they are.
    pub body: &'a B,
    /// How many there are.
    pub len: usize,
    /// Whether they are the last.
    pub ends_here: bool,
}

/// The body of one request, hashed until it ends or the hash is given up.
#[derive(Debug)]
pub struct HashedBody(Option<BodyHasher>);

impl HashedBody {
    /// Decides on the headers. `ends_here` says that they are the whole request.
    pub fn begin(
        config: &Config,
        head: &impl RequestHead,
        ends_here: bool,
    ) -> (Self, GateDecision) {
        Self::begin_within(config.max_body_bytes, config, head, ends_here)
    }

    /// As [`HashedBody::begin`], with a cap of the host's in place of the configured one.
    pub fn begin_within(
        cap: u64,
        config: &Config,
        head: &impl RequestHead,
        ends_here: bool,
    ) -> (Self, GateDecision) {
        match policy::reason_to_skip_within(cap, config, head, ends_here) {
            Some(reason) => (Self(None), GateDecision::Settled(Outcome::Skipped(reason))),
            None => (Self(Some(BodyHasher::new(cap))), GateDecision::Hold),
        }
    }

    /// The bytes hashed so far; `None` once the body is no longer hashed.
    #[must_use]
    pub fn seen(&self) -> Option<u64> {
        self.0.as_ref().map(BodyHasher::seen)
    }

    /// Hashes more of the body. `None` when the request was settled before.
    pub fn on_bytes(&mut self, bytes: &Bytes<'_, impl HeldBody>) -> Option<GateDecision> {
        let absorbed = self.0.as_mut()?.absorb(bytes.body, 0, bytes.len);
        self.after(absorbed, bytes.ends_here)
    }

    /// Hashes bytes that the proxy lends. `None` when the request was settled before.
    pub fn on_slice(&mut self, piece: &[u8], ends_here: bool) -> Option<GateDecision> {
        let absorbed = self.0.as_mut()?.update(piece);
        self.after(absorbed, ends_here)
    }

    /// The end of the body, by its last bytes or by trailers. `None` when the request was settled before.
    pub fn on_end(&mut self) -> Option<GateDecision> {
        let hasher = self.0.take()?;
        Some(GateDecision::Settled(hasher.finish().into()))
    }

    /// Hashes no more: the host has let the request go for a reason of its own.
    pub fn give_up(&mut self) {
        self.0 = None;
    }

    fn after(&mut self, absorbed: Result<(), Incomplete>, ends_here: bool) -> Option<GateDecision> {
        match absorbed {
            Ok(()) if ends_here => self.on_end(),
            Ok(()) => Some(GateDecision::Hold),
            Err(why) => {
                self.give_up();
                Some(GateDecision::Settled(Outcome::Skipped(Reason::from(why))))
            }
        }
    }
}
