//! Calls at the upstream's pace: each waits for its turn, and is asked again if only its rate was
//! refused and there is time.

use std::borrow::Cow;
use std::pin::pin;

use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use http::header::HeaderMap;
use opentelemetry::trace::SpanKind;
use tokio::time::Instant;

use super::{EmbeddingLookup, Resolver};
use crate::embeddings::request::Encoding;
use crate::http::error::Error;
use crate::upstream::{AnswerRoom, Going, Question, Size, Turn};

/// What the upstream answered to a call that had its turn.
pub(super) struct Replied<'a> {
    pub(super) turn: Turn<'a>,
    /// `None` after a refusal.
    pub(super) going: Option<Going>,
    /// When it was asked the last time.
    pub(super) sent: Instant,
    pub(super) answer: Result<(HeaderMap, Bytes), Error>,
}

impl Resolver {
    /// Asks the upstream. An error says that it was not asked: no turn came in time.
    pub(super) async fn ask<'a, W: Fn(Option<Encoding>) -> Bytes>(
        &self,
        lookup: &'a EmbeddingLookup,
        size: Size,
        headers: &HeaderMap,
        question: &Question<'_, W>,
        room: &AnswerRoom,
    ) -> Result<Replied<'a>, Error> {
        let turn = self.turn(lookup, size);
        let query = lookup.query.as_deref();
        let mut refused = 0;
        loop {
            let going = self.wait_for_turn(lookup, &turn).await?;
            let sent = Instant::now();
            let asked = self.upstream.embeddings(query, headers, question, room);
            let answer = asked.await;
            let replied = |going, answer| Replied {
                turn,
                going,
                sent,
                answer,
            };
            match answer {
                Err(Error::Refused(refusal)) if refusal.status == StatusCode::TOO_MANY_REQUESTS => {
                    if !self.upstream.may_ask_again(&turn, &refusal, refused, going) {
                        return Ok(replied(None, Err(Error::Refused(refusal))));
                    }
                    let result = Cow::Owned(refusal.status.as_str().to_owned());
                    self.metrics.count_upstream(result, sent.elapsed());
                    refused += 1;
                }
                answer => return Ok(replied(Some(going), answer)),
            }
        }
    }

    fn turn<'a>(&self, lookup: &'a EmbeddingLookup, size: Size) -> Turn<'a> {
        let model = &lookup.request.model;
        Turn {
            payer: lookup.caller.payer,
            caller: lookup.caller.id,
            model,
            is_single: size.is_single(),
            tokens: self.upstream.tokens(model, size),
            deadline: Instant::now() + self.upstream.rate_wait(),
        }
    }

    /// A call that need not wait leaves no span.
    async fn wait_for_turn(
        &self,
        lookup: &EmbeddingLookup,
        turn: &Turn<'_>,
    ) -> Result<Going, Error> {
        let mut waiting = pin!(self.upstream.turn(turn));
        if let Some(going) = waiting.as_mut().now_or_never() {
            return going;
        }
        let began = Instant::now();
        let mut span = lookup
            .context
            .trace
            .span(SpanKind::Internal, || "rate wait");
        let going = waiting.await;
        self.metrics.rate_waits.observe(began.elapsed());
        if let Err(error) = &going {
            span.fail(error.code());
        }
        going
    }
}
