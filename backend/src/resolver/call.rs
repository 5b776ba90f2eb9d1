//! One call to the upstream: sent, checked, counted and traced.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;
use http::{Method, StatusCode};
use opentelemetry::trace::SpanKind;
use tokio::time::Instant;

use super::coalescing::LeaderInput;
use super::failover::UpstreamsTried;
use super::halving::placed;
use super::outcome::{Call, CallResult, Called, Checked};
use super::paced::{Asked, Replied};
use super::{EmbeddingLookup, Resolver};
use crate::embeddings::answer::{self, ExpectedAnswer};
use crate::embeddings::request::Input;
use crate::http::error::Error;
use crate::telemetry::{Span, semantics};
use crate::upstream::{AnswerBudget, Member, Size, UncheckedAnswer};

impl Resolver {
    /// Sends the inputs to the upstream and checks the answer. The call must have had its turn
    /// until then.
    pub(super) async fn call(
        &self,
        lookup: &EmbeddingLookup,
        claimed: Vec<LeaderInput>,
        until: Instant,
    ) -> CallResult {
        let inputs = lookup.inputs_of(&claimed);
        let began = Instant::now();
        let room = match lookup.reserve_call(&inputs) {
            Ok(room) => room,
            // Refused before it costs anything.
            Err(error) => return (claimed, (began, began), Err(error)),
        };
        let call = Call {
            inputs: &inputs,
            requests: 1,
            is_single: inputs.len() == 1,
            until,
        };
        let (ended, checked) = self.send(lookup, &call, room).await;
        let called = match checked {
            Ok(checked) => {
                lookup.count(&checked.answer.entries, inputs.len());
                Ok(self.take(lookup, checked))
            }
            Err(error) => Err(placed(error, &claimed)),
        };
        (claimed, (began, ended), called)
    }

    /// Sends a call with the look-up's credential and parameters, and checks the answer. Returns
    /// when it was there.
    pub(super) async fn send(
        &self,
        lookup: &EmbeddingLookup,
        call: &Call<'_>,
        room: AnswerBudget,
    ) -> (Instant, Result<Checked, Error>) {
        let question = self.question(lookup, call.inputs);
        let mut span = self.call_span(lookup, call);
        let mut headers = HeaderMap::from_iter(lookup.caller.upstream.iter().cloned());
        span.tell(&mut headers);
        let asked = Asked {
            lookup,
            call,
            headers: &headers,
            room: &room,
        };
        let mut tried = UpstreamsTried::default();
        let replied = self.ask_group(&asked, &mut tried).await;
        describe_upstreams(&mut span, &tried.members);
        let replied = match replied {
            Ok(replied) => replied,
            Err(error) => {
                span.fail(error.code());
                return (Instant::now(), Err(error));
            }
        };
        let (sent, ended) = (replied.sent, Instant::now());
        let checked = self.check(lookup, replied, room, &question);
        self.note(lookup, &checked, ended - sent, &mut span);
        (ended, checked)
    }

    /// Takes an answer for the look-up's caller, which the upstream has accepted by it.
    pub(super) fn take(&self, lookup: &EmbeddingLookup, checked: Checked) -> Called {
        let Checked {
            answer,
            headers,
            sent,
            repeated,
        } = checked;
        let (caller, model) = (&lookup.caller, &lookup.request.model);
        Called {
            answer,
            scope: self.access.accepted(caller, model, sent, &headers),
            headers,
            stored: Vec::new(),
            repeated,
        }
    }

    fn question<'a>(&self, lookup: &'a EmbeddingLookup, inputs: &'a [Input]) -> ExpectedAnswer<'a> {
        ExpectedAnswer {
            inputs,
            model: &lookup.request.model,
            dimensions: lookup.request.dimensions,
            asked_ms: self.cache.now_ms(),
        }
    }

    /// Checks what the upstream answered to a call.
    fn check(
        &self,
        lookup: &EmbeddingLookup,
        replied: Replied<'_>,
        room: AnswerBudget,
        question: &ExpectedAnswer<'_>,
    ) -> Result<Checked, Error> {
        let Replied {
            member,
            turn,
            going,
            sent,
            answer,
            repeated,
        } = replied;
        let answer = answer.map_err(|error| self.without_own_credential(member, error))?;
        let reply = UncheckedAnswer::new(answer, room);
        let answer = answer::check(&reply.body, question);
        let mut answer = answer.map_err(|unsound| Error::Unsound(Arc::new(unsound)))?;
        member.translate(&mut answer, &lookup.request.model);
        let model = &lookup.request.model;
        let size = question.inputs.iter().map(Size::of).sum();
        lookup.group.note_answer(model, size, answer.billed_tokens);
        if let Some(going) = going {
            let upstream = &member.upstream;
            upstream.end_turn(&turn, &reply.headers, answer.billed_tokens, going);
        }
        Ok(Checked {
            answer,
            headers: reply.headers,
            sent,
            repeated,
        })
    }

    /// A refusal of the gateway's own key is no client's business: it names the key and the
    /// organisation.
    fn without_own_credential(&self, member: &Member, error: Error) -> Error {
        match error {
            Error::Refused(refusal)
                if refusal.is_of_credential() && !self.access.passes_credentials() =>
            {
                tracing::error!(
                    status = refusal.status.as_u16(),
                    upstream = %member.upstream.name(),
                    "the upstream refuses the gateway's key"
                );
                Error::GatewayKeyRefused
            }
            error => error,
        }
    }

    fn call_span(&self, lookup: &EmbeddingLookup, call: &Call<'_>) -> Span {
        let name = || format!("embeddings {}", lookup.request.model);
        let mut span = lookup.context.trace.span(SpanKind::Client, name);
        span.describe(|| semantics::embeddings(&lookup.request));
        span.describe(|| {
            [semantics::count(
                "embedding_gateway.inputs",
                call.inputs.len(),
            )]
        });
        if call.requests > 1 {
            span.describe(|| {
                [semantics::count(
                    "embedding_gateway.requests",
                    call.requests,
                )]
            });
        }
        span
    }

    fn note(
        &self,
        lookup: &EmbeddingLookup,
        checked: &Result<Checked, Error>,
        duration: Duration,
        span: &mut Span,
    ) {
        let result = match checked {
            Ok(checked) => {
                let (model, billed) = (&lookup.request.model, checked.answer.billed_tokens);
                self.metrics.models.count_billed(model, billed);
                span.describe(|| semantics::charged(billed));
                Cow::Borrowed(StatusCode::OK.as_str())
            }
            Err(Error::Refused(refusal)) => {
                if refusal.is_of_credential() {
                    self.access.rejected(&lookup.caller);
                }
                Cow::Owned(refusal.status.as_str().to_owned())
            }
            Err(error) => {
                tracing::warn!(%error, "the upstream gave no usable answer");
                Cow::Borrowed(error.code())
            }
        };
        if checked.is_err() {
            span.fail(&result);
        }
        if let Ok(status) = result.parse() {
            span.describe(|| [semantics::status(status)]);
        }
        self.metrics.count_upstream(result, duration);
    }
}

/// The upstream that was asked last, and those that failed before it.
fn describe_upstreams(span: &mut Span, tried: &[&Member]) {
    let Some((last, failed)) = tried.split_last() else {
        return;
    };
    span.describe(|| semantics::call(&Method::POST, &last.upstream.embeddings_url()));
    span.describe(|| [semantics::upstream(last.upstream.name())]);
    if !failed.is_empty() {
        let names = failed.iter().map(|member| &**member.upstream.name());
        span.describe(|| [semantics::failed_upstreams(names)]);
    }
}
