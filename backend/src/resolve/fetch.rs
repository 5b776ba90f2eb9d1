//! The task that brings what memory does not have: from the store, else from the upstream.

use std::pin::pin;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use http::StatusCode;
use opentelemetry::trace::SpanKind;

use super::call::Called;
use super::{CallNotes, Landing, Order, Resolver};
use crate::access::Caller;
use crate::cache::coalesce::Lead;
use crate::credentials::CredentialId;
use crate::embeddings::answer::Answer;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::{Key, Namer};
use crate::error::Error;
use crate::telemetry::{Outcome, Span, semantics};

/// Calls of one request that run side by side.
const CALLS_AT_ONCE: usize = 4;

/// One input that we are to bring, and those who wait for it, if anybody may.
#[derive(Debug)]
pub(super) struct Led {
    pub(super) place: usize,
    pub(super) flight: Option<Lead<Landing>>,
}

/// What waiters learn when the call that they waited for failed.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) error: Error,
    payer: CredentialId,
}

/// What the task brings.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) entries: Vec<(usize, Arc<Entry>, Outcome)>,
    pub(super) call: CallNotes,
    pub(super) failure: Option<Error>,
}

impl Fault {
    /// Whether a waiter would have met the same fault: a limit on, or trouble of, the upstream
    /// for the same credential. What was wrong with the leader's request is the leader's.
    pub(super) fn concerns(&self, waiter: &Caller) -> bool {
        let shared = match &self.error {
            Error::Refused(refusal) => {
                refusal.status == StatusCode::TOO_MANY_REQUESTS || refusal.status.is_server_error()
            }
            // Some other input of the leader's batch may have spoilt it.
            Error::Unsound(_) => false,
            _ => true,
        };
        shared && self.payer == waiter.payer
    }
}

impl Resolver {
    /// Brings `led`, tells those who wait, and keeps what it brought.
    pub(super) async fn fetch(self: Arc<Self>, order: Arc<Order>, led: Vec<Led>) -> Fetched {
        let mut fetched = Fetched::default();
        let missing = match self.may_read(&order) {
            true => self.look_up(&order, led, &mut fetched).await,
            false => led,
        };
        if order.only_if_cached {
            fetched.failure = (!missing.is_empty()).then_some(Error::NotCached);
            return fetched;
        }
        let calls = stream::iter(in_calls(missing, self.upstream.max_inputs()))
            .map(|led| self.call(&order, led));
        let mut calls = pin!(calls.buffer_unordered(CALLS_AT_ONCE));
        while let Some((led, (began, ended), called)) = calls.next().await {
            fetched.call.waits.add(began, ended);
            match called {
                Ok(called) => self.land(&order, led, called, &mut fetched),
                Err(error) => {
                    let fault = Fault {
                        error,
                        payer: order.caller.payer,
                    };
                    led.into_iter().for_each(|led| led.fail(&fault));
                    fetched.failure.get_or_insert(fault.error);
                }
            }
        }
        fetched
    }

    /// Looks into the store. Returns what it does not have.
    async fn look_up(&self, order: &Order, led: Vec<Led>, fetched: &mut Fetched) -> Vec<Led> {
        let keys: Vec<Key> = led.iter().map(|led| order.distinct[led.place].0).collect();
        let mut span = match self.cache.has_store() {
            true => order
                .ticket
                .trace
                .span(SpanKind::Internal, || "store look-up"),
            false => Span::default(),
        };
        span.describe(|| [semantics::count("embedding_gateway.inputs", keys.len())]);
        let found = self.cache.look_up(keys, self.freshness(order)).await;
        let hits = found.iter().flatten().count();
        span.describe(|| [semantics::count("embedding_gateway.inputs.store", hits)]);
        drop(span);
        let mut missing = Vec::new();
        for (led, entry) in led.into_iter().zip(found) {
            match entry {
                Some(entry) => led.land(&entry, Outcome::Store, fetched),
                None => missing.push(led),
            }
        }
        missing
    }

    fn land(&self, order: &Order, led: Vec<Led>, called: Called, fetched: &mut Fetched) {
        let namer = called
            .scope
            .as_ref()
            .map(|scope| Namer::new(&order.realm.with_scope(scope), &order.request));
        fetched.call.billed_tokens += called.answer.billed_tokens;
        fetched.call.headers = called.headers;
        fetched.call.scope = called.scope;
        let agrees = fetched.agrees_with(&called.answer);
        let span = match order.write && agrees && self.cache.has_store() {
            true => order
                .ticket
                .trace
                .span(SpanKind::Internal, || "store write"),
            false => Span::default(),
        };
        let span = Arc::new(span);
        for (led, entry) in led.into_iter().zip(called.answer.entries) {
            let entry = Arc::new(entry);
            if order.write && agrees {
                let (key, input) = &order.distinct[led.place];
                self.cache.keep(
                    namer.as_ref().map_or(*key, |namer| namer.key(input)),
                    &entry,
                    &span,
                );
            }
            // Who waits for what we do not keep must ask for it anew.
            let flight = led.flight.filter(|_| agrees);
            let led = Led { flight, ..led };
            led.land(&entry, Outcome::Miss, fetched);
        }
    }
}

impl Fetched {
    /// Whether vectors of a further call are as long as those of the calls before. If not, they
    /// are from different models, and we cannot tell whose are wrong: the request will fail or
    /// ask anew, and no more of it is kept.
    fn agrees_with(&self, answer: &Answer) -> bool {
        let mut before = self.entries.iter();
        let before = before.find(|(_, _, source)| *source == Outcome::Miss);
        match (before, answer.entries.first()) {
            (Some((_, before, _)), Some(entry)) => before.vector.len() == entry.vector.len(),
            _ => true,
        }
    }
}

impl Led {
    fn land(self, entry: &Arc<Entry>, source: Outcome, fetched: &mut Fetched) {
        if let Some(flight) = self.flight {
            flight.land(Ok((Arc::clone(entry), source)));
        }
        fetched
            .entries
            .push((self.place, Arc::clone(entry), source));
    }

    fn fail(self, fault: &Fault) {
        if let Some(flight) = self.flight {
            flight.land(Err(fault.clone()));
        }
    }
}

/// Divides what is missing into calls of at most `max_inputs`.
fn in_calls(mut led: Vec<Led>, max_inputs: usize) -> Vec<Vec<Led>> {
    let mut calls = Vec::with_capacity(led.len().div_ceil(max_inputs));
    while !led.is_empty() {
        let rest = led.split_off(led.len().min(max_inputs));
        calls.push(std::mem::replace(&mut led, rest));
    }
    calls
}
