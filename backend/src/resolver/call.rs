//! One call to the upstream: sent, checked, counted and traced.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;
use http::{Method, StatusCode};
use opentelemetry::trace::SpanKind;
use tokio::time::Instant;

use super::coalescing::LeaderInput;
use super::division::placed;
use super::paced::{Asked, Replied};
use super::{EmbeddingLookup, Resolver};
use crate::embeddings::answer::{self, Answer, Question};
use crate::embeddings::entry::Entry;
use crate::embeddings::request::Input;
use crate::http::error::Error;
use crate::telemetry::{Span, semantics};
use crate::upstream::{AnswerRoom, Member, Reply, Size};

/// A checked answer.
pub(super) struct Called {
    pub(super) answer: Answer,
    pub(super) headers: HeaderMap,
    /// The scope of the vectors, if it is not the look-up's.
    pub(super) scope: Option<Arc<str>>,
    /// What the store had already of its inputs, as far as it was asked.
    pub(super) stored: Vec<Option<Arc<Entry>>>,
    /// Calls to other upstreams before it that may have been charged, too.
    pub(super) repeated: u32,
}

/// The inputs of a call, when it began and ended, and its answer.
pub(super) type CallResult = (Vec<LeaderInput>, (Instant, Instant), Result<Called, Error>);

impl Resolver {
    /// Sends the inputs to the upstream and checks the answer. The two times enclose the wait.
    pub(super) async fn call(
        &self,
        lookup: &EmbeddingLookup,
        claimed: Vec<LeaderInput>,
    ) -> CallResult {
        let inputs: Vec<Input> = claimed
            .iter()
            .map(|input| lookup.distinct[input.place].1.clone())
            .collect();
        let question = self.question(lookup, &inputs);
        let mut span = self.call_span(lookup, inputs.len());
        let began = Instant::now();
        let room = match lookup.room_for_call(&inputs) {
            Ok(room) => room,
            // Refused before it costs anything.
            Err(error) => return (claimed, (began, began), Err(error)),
        };
        let mut headers = HeaderMap::from_iter(lookup.caller.upstream.iter().cloned());
        span.tell(&mut headers);
        let asked = Asked {
            lookup,
            inputs: &inputs,
            headers: &headers,
            room: &room,
        };
        let replied = match self.ask_group(&asked).await {
            Ok(replied) => replied,
            Err(error) => return (claimed, (began, Instant::now()), Err(error)),
        };
        let (sent, ended) = (replied.sent, Instant::now());
        let called = self.check(lookup, replied, room, &question);
        self.note(lookup, &called, ended - sent, &mut span);
        let called = called.map_err(|error| placed(error, &claimed));
        (claimed, (began, ended), called)
    }

    fn question<'a>(&self, lookup: &'a EmbeddingLookup, inputs: &'a [Input]) -> Question<'a> {
        Question {
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
        room: AnswerRoom,
        question: &Question<'_>,
    ) -> Result<Called, Error> {
        let Replied {
            member,
            turn,
            going,
            sent,
            answer,
            repeated,
        } = replied;
        let answer = answer.map_err(|error| self.without_own_credential(member, error))?;
        let reply = Reply::new(answer, room);
        let answer = answer::check(&reply.body, question);
        let mut answer = answer.map_err(|unsound| Error::Unsound(Arc::new(unsound)))?;
        member.translate(&mut answer, &lookup.request.model);
        lookup.count(&answer.entries, question.inputs.len());
        let model = &lookup.request.model;
        let size = question.inputs.iter().map(Size::of).sum();
        lookup.group.note_answer(model, size, answer.billed_tokens);
        if let Some(going) = going {
            let upstream = &member.upstream;
            upstream.end_turn(&turn, &reply.headers, answer.billed_tokens, going);
        }
        let scope = self
            .access
            .accepted(&lookup.caller, model, sent, &reply.headers);
        Ok(Called {
            answer,
            headers: reply.headers,
            scope,
            stored: Vec::new(),
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

    fn call_span(&self, lookup: &EmbeddingLookup, inputs: usize) -> Span {
        let name = || format!("embeddings {}", lookup.request.model);
        let mut span = lookup.context.trace.span(SpanKind::Client, name);
        span.describe(|| {
            semantics::call(
                &Method::POST,
                &lookup.group.first().upstream.embeddings_url(),
            )
        });
        span.describe(|| semantics::embeddings(&lookup.request));
        span.describe(|| [semantics::count("embedding_gateway.inputs", inputs)]);
        span
    }

    fn note(
        &self,
        lookup: &EmbeddingLookup,
        called: &Result<Called, Error>,
        duration: Duration,
        span: &mut Span,
    ) {
        let result = match called {
            Ok(called) => {
                let (model, billed) = (&lookup.request.model, called.answer.billed_tokens);
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
        if called.is_err() {
            span.fail(&result);
        }
        if let Ok(status) = result.parse() {
            span.describe(|| [semantics::status(status)]);
        }
        self.metrics.count_upstream(result, duration);
    }
}
