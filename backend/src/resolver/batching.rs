//! Batches: misses of several requests in one call to the upstream, if the operator gives them a
//! window.
//!
//! What requests share is vectors. A call that fails, maybe by the input of one of them, is made
//! again by each of them alone: no refusal, header, request id or place of another's call reaches
//! a caller.

mod shared_result;

use opentelemetry::trace::SpanKind;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::shared_result::{MadeAgain, SharedResult, failed, is_made_again, may_be_charged};
use super::coalescing::LeaderInput;
use super::halving::Parts;
use super::outcome::{Call, Checked, Wait};
use super::paced::turn_deadline;
use super::{EmbeddingLookup, Resolver};
use crate::embeddings::key::Key;
use crate::embeddings::request::{Encoding, Input};
use crate::http::credentials::CredentialId;
use crate::http::error::Error;
use crate::telemetry::{SharedCall, semantics};
use crate::upstream::Size;

/// What requests must have in common to share a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BatchKey {
    /// The upstream with its query, the scope, the model, and all parameters that are keyed.
    family: Key,
    payer: CredentialId,
    encoding: Option<Encoding>,
    /// The other parameters, as they were written.
    unkeyed: String,
    /// A single input waits for its turn before bulk, and would do so no more as a part of it.
    is_single: bool,
}

/// A request that has a part in another one's call.
#[derive(Debug)]
pub(super) struct Participant {
    inputs: Vec<Input>,
    /// `None` if it does not say so.
    caller: Option<CredentialId>,
    brought: oneshot::Sender<(Wait, SharedResult)>,
}

impl BatchKey {
    fn of(lookup: &EmbeddingLookup, inputs: usize) -> Self {
        Self {
            family: lookup.family,
            payer: lookup.caller.payer,
            encoding: lookup.request.encoding,
            unkeyed: lookup.request.unkeyed.clone(),
            is_single: inputs == 1,
        }
    }
}

impl Resolver {
    /// Calls the upstream, in one call with other requests where that is possible.
    pub(super) async fn call_batched(
        &self,
        lookup: &EmbeddingLookup,
        claimed: Vec<LeaderInput>,
    ) -> Parts {
        let until = turn_deadline(lookup);
        let Some((waited, brought)) = self.share_call(lookup, &claimed, until).await else {
            return self.call_divided(lookup, claimed, until).await;
        };
        match brought {
            SharedResult::Answer { checked, is_of_one } => {
                lookup.count(&checked.answer.entries, 0);
                let mut called = self.take(lookup, *checked);
                if !is_of_one {
                    called.headers.clear();
                }
                Parts::of((claimed, waited, Ok(called)))
            }
            SharedResult::Failure(error) => Parts::of((claimed, waited, Err(error))),
            SharedResult::MadeAgain(apart) => {
                let mut parts = self.call_divided(lookup, claimed, until).await;
                parts.waits.push(waited);
                parts.note_repeat(apart.may_be_charged);
                if let Some(refused) = apart.refused {
                    self.end_apart(lookup, &refused, &parts);
                }
                parts
            }
        }
    }

    /// Waits for other requests, or for the one that leads their call; `None` if there is none.
    async fn share_call(
        &self,
        lookup: &EmbeddingLookup,
        claimed: &[LeaderInput],
        until: Instant,
    ) -> Option<(Wait, SharedResult)> {
        let size: Size = claimed.iter().map(|input| lookup.size(input.place)).sum();
        let fits = |size| lookup.group.fits(&lookup.request.model, size);
        if !self.batches.are_on() || !fits(size + Size::LEAST) {
            return None;
        }
        let (brought, outcome) = oneshot::channel();
        let member = || Participant {
            inputs: lookup.inputs_of(claimed),
            caller: lookup.caller.identity(),
            brought,
        };
        let key = BatchKey::of(lookup, claimed.len());
        let Some(lead) = self.batches.enter(&key, size, fits, member) else {
            return Some(wait_for_leader(lookup, claimed.len(), outcome).await);
        };
        let members = lead.members().await;
        if members.is_empty() {
            return None;
        }
        Some(self.lead_call(lookup, claimed, members, until).await)
    }

    /// Makes one call for the look-up's inputs and those of the members, and tells each what is
    /// its own.
    async fn lead_call(
        &self,
        lookup: &EmbeddingLookup,
        claimed: &[LeaderInput],
        mut members: Vec<Participant>,
        until: Instant,
    ) -> (Wait, SharedResult) {
        let mut inputs = lookup.inputs_of(claimed);
        let mut counts = vec![inputs.len()];
        for member in &mut members {
            counts.push(member.inputs.len());
            inputs.append(&mut member.inputs);
        }
        let call = Call {
            inputs: &inputs,
            requests: counts.len(),
            is_single: claimed.len() == 1,
            until,
        };
        let began = Instant::now();
        let (ended, checked) = match lookup.reserve_batch(&inputs) {
            Ok(room) => self.send(lookup, &call, room).await,
            Err(error) => (began, Err(error)),
        };
        self.count_shared(&call, &checked);
        let leader = lookup.caller.identity();
        let is_of_one = leader.is_some() && members.iter().all(|member| member.caller == leader);
        let mut brought = match checked {
            Ok(checked) => checked.divide(&call, &counts, is_of_one),
            Err(error) => failed(&error, &call),
        }
        .into_iter();
        let own = brought
            .next()
            .unwrap_or(SharedResult::MadeAgain(MadeAgain::default()));
        for (member, brought) in members.into_iter().zip(brought) {
            let _gone = member.brought.send(((began, ended), brought));
        }
        ((began, ended), own)
    }

    fn count_shared(&self, call: &Call<'_>, checked: &Result<Checked, Error>) {
        let result = match checked {
            Err(error) if is_made_again(error) => SharedCall::MadeAgain,
            _ => SharedCall::Shared,
        };
        let requests = call.requests as u64;
        self.metrics.shared_calls.add(result, 1);
        self.metrics.shared_call_requests.inc_by(requests);
        if let (SharedCall::MadeAgain, Err(error)) = (result, checked) {
            tracing::info!(
                %error,
                requests,
                may_be_charged = may_be_charged(error),
                "a shared call failed: its requests call one by one"
            );
        }
    }
}

async fn wait_for_leader(
    lookup: &EmbeddingLookup,
    inputs: usize,
    outcome: oneshot::Receiver<(Wait, SharedResult)>,
) -> (Wait, SharedResult) {
    let began = Instant::now();
    let trace = &lookup.context.trace;
    let mut span = trace.span(SpanKind::Internal, || "shared call");
    span.describe(|| [semantics::count("embedding_gateway.inputs", inputs)]);
    // A leader that has vanished brings nothing.
    let vanished = (
        (began, began),
        SharedResult::MadeAgain(MadeAgain::default()),
    );
    outcome.await.unwrap_or(vanished)
}
