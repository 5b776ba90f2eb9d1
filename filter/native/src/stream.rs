//! One request: callbacks in, decisions of the core out.
//!
//! While the filter holds the headers, Envoy keeps the body in the buffer that all filters of the request share. The
//! filter lets no byte into it that has no room there: Envoy would answer 413. And it has Envoy *buffer* the bytes, not
//! keep them under the watermark: over the watermark Envoy stops reading, and only the filter that stopped the bytes can
//! make it read on. A filter behind that buffers less would then wait for ever, where its own 413 is due.
//!
//! What a filter lets go takes the request's trailers along if they are there already: a filter before it has added them
//! to the last bytes (a decompressor), or has kept bytes and trailers back. Envoy passes them on once more, or before the
//! bytes that the other filter still keeps. So a request whose trailers are there goes on when they reach this filter.

use body_hash_core::decision::{GateDecision, HashedBody};
use body_hash_core::stats::{Outcome, Reason};

use crate::proxy::{BodyAnswer, HeadersAnswer, Proxy};
use crate::settings::Settings;
use crate::watchdog::Watched;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct HttpStream(Option<HeldStream>);

/// A request whose headers wait for its body.
#[derive(Debug)]
struct HeldStream {
    body: HashedBody,
    watched: Watched,
    /// Whether Envoy was told to buffer: until then it takes the body for a stream. A filter behind that buffers less
    /// would have it stop reading then, and not answer 413.
    is_buffered: bool,
    /// What settles the request at its next turn, and how many bytes came so far.
    due: Option<(Outcome, u64)>,
}

impl HttpStream {
    /// The headers have come; `ends_here` if they are the whole request.
    pub(crate) fn on_headers(
        &mut self,
        settings: &Settings,
        proxy: &mut impl Proxy,
        ends_here: bool,
    ) -> HeadersAnswer {
        let config = &settings.config;
        // Removed only if it is there: the route is chosen anew for it.
        if proxy.get(&config.header).is_some() {
            proxy.remove_header(&config.header);
        }
        let cap = settings.cap(proxy.buffer_limit());
        match HashedBody::begin_within(cap, config, proxy, ends_here) {
            (body, GateDecision::Hold) => {
                let watched = proxy.watch();
                proxy.count_held();
                self.0 = Some(HeldStream {
                    body,
                    watched,
                    is_buffered: false,
                    due: None,
                });
                HeadersAnswer::Hold
            }
            (_, GateDecision::Settled(outcome)) => {
                proxy.count(outcome);
                HeadersAnswer::Continue
            }
        }
    }

    /// More of the body has come; `ends_here` if it is the last.
    pub(crate) fn on_body(
        &mut self,
        settings: &Settings,
        proxy: &mut impl Proxy,
        ends_here: bool,
    ) -> BodyAnswer {
        let Some(held) = &mut self.0 else {
            return BodyAnswer::Continue;
        };
        let (outcome, bytes) = match held.due.take() {
            Some((outcome, before)) => (Some(outcome), held.count(proxy, before)),
            None => held.hash(proxy, ends_here),
        };
        let was_buffered = std::mem::replace(&mut held.is_buffered, true);
        match outcome {
            Some(outcome) if ends_here || was_buffered && !trailers_are_due(settings, proxy) => {
                self.settle(settings, proxy, outcome);
                BodyAnswer::Continue
            }
            outcome => {
                held.due = outcome.map(|outcome| (outcome, bytes));
                if held.due.is_some() {
                    held.watched.wake();
                }
                BodyAnswer::Hold
            }
        }
    }

    /// The trailers have come, which end the request.
    pub(crate) fn on_trailers(&mut self, settings: &Settings, proxy: &mut impl Proxy) {
        proxy.remove_trailer(&settings.config.header);
        let Some(held) = &mut self.0 else {
            return;
        };
        if let Some((outcome, _)) = held.due.take() {
            self.settle(settings, proxy, outcome);
        } else if let Some(GateDecision::Settled(outcome)) = held.body.on_end() {
            self.settle(settings, proxy, outcome);
        }
    }

    /// The request's next turn, or the watchdog has seen no progress. True if the request goes on now.
    pub(crate) fn on_wake(&mut self, settings: &Settings, proxy: &mut impl Proxy) -> bool {
        let outcome = match &self.0 {
            Some(HeldStream {
                due: Some((outcome, _)),
                ..
            }) => *outcome,
            Some(held) if held.watched.is_stalled() => Outcome::Skipped(Reason::Stalled),
            _ => return false,
        };
        if trailers_are_due(settings, proxy) {
            return false;
        }
        self.settle(settings, proxy, outcome);
        true
    }

    /// The request is over, however it ended.
    pub(crate) fn on_complete(&mut self, proxy: &mut impl Proxy) {
        if self.0.take().is_some() {
            proxy.count_let_go();
            proxy.count(Outcome::Skipped(Reason::Aborted));
        }
    }

    fn settle(&mut self, settings: &Settings, proxy: &mut impl Proxy, outcome: Outcome) {
        self.0 = None;
        if let Outcome::Hashed(digest) = outcome {
            proxy.set_header(&settings.config.header, &digest.to_hex());
        }
        proxy.count_let_go();
        proxy.count(outcome);
    }
}

impl HeldStream {
    /// Makes room for what has come, which nothing hashes any more. Returns how many bytes that makes.
    fn count(&mut self, proxy: &mut impl Proxy, before: u64) -> u64 {
        let mut all = before;
        proxy.slices(|slice| all = all.saturating_add(slice.len() as u64));
        make_room(proxy, all);
        all
    }

    /// Hashes what has come. An outcome if that settles the request, and how many bytes came so far.
    fn hash(&mut self, proxy: &mut impl Proxy, ends_here: bool) -> (Option<Outcome>, u64) {
        let before = self.body.seen().unwrap_or(0);
        let (mut all, mut outcome) = (before, None);
        proxy.slices(|slice| {
            all = all.saturating_add(slice.len() as u64);
            if let Some(GateDecision::Settled(settled)) = self.body.on_slice(slice, false) {
                outcome = Some(settled);
            }
        });
        if all > before {
            self.watched.touch();
        }
        make_room(proxy, all);
        if outcome.is_none() && ends_here {
            outcome = Some(match self.body.on_end() {
                Some(GateDecision::Settled(settled)) => settled,
                _ => Outcome::TOO_LARGE,
            });
        }
        (outcome, all)
    }
}

/// Whether Envoy has the trailers of a held request, and has yet to show them to the filter. Envoy tells by what comes of
/// a removal, which is due anyhow.
fn trailers_are_due(settings: &Settings, proxy: &mut impl Proxy) -> bool {
    proxy.remove_trailer(&settings.config.header)
}

/// Raises the limit of Envoy's buffer, if need be, to the bytes that go into it now: they are in memory already. Over
/// the cap they pass through it with those before them, and then it is empty.
fn make_room(proxy: &mut impl Proxy, bytes: u64) {
    let limit = proxy.buffer_limit();
    if limit != 0 && limit < bytes {
        proxy.set_buffer_limit(bytes);
    }
}
