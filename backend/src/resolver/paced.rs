//! Calls at the upstream's pace: each waits for its turn, and is asked again if only its rate was
//! refused and there is time.

use std::borrow::Cow;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use http::header::HeaderMap;
use opentelemetry::trace::SpanKind;
use tokio::time::Instant;

use super::outcome::Call;
use super::{EmbeddingLookup, Resolver};
use crate::embeddings::response;
use crate::http::error::Error;
use crate::upstream::{AnswerBudget, CallContent, Member, PacedCall, Size, Turn};

/// What a call asks.
pub(super) struct Asked<'a, 'c> {
    pub(super) lookup: &'a EmbeddingLookup,
    pub(super) call: &'c Call<'c>,
    /// The caller's credential, and the trace.
    pub(super) headers: &'c HeaderMap,
    pub(super) room: &'c AnswerBudget,
}

/// What the upstream answered to a call that had its turn.
pub(super) struct Replied<'a> {
    pub(super) member: &'a Member,
    pub(super) turn: Turn<'a>,
    /// `None` after a refusal.
    pub(super) going: Option<PacedCall>,
    /// When it was asked the last time.
    pub(super) sent: Instant,
    pub(super) answer: Result<(HeaderMap, Bytes), Error>,
    /// Calls to other upstreams before it that may have been charged, too.
    pub(super) repeated: u32,
}

impl<'a> Asked<'a, '_> {
    /// When a member would have room for it, as it looks now.
    pub(super) fn expected(&self, member: &'a Member) -> Duration {
        let turn = turn(self, member, Duration::ZERO);
        member.upstream.expected_wait(&turn)
    }

    fn size(&self) -> Size {
        self.call.inputs.iter().map(Size::of).sum()
    }
}

impl Resolver {
    /// Asks an upstream, if the call has its turn within `wait`. An error says that it was not asked.
    pub(super) async fn ask<'a>(
        &self,
        asked: &Asked<'a, '_>,
        member: &'a Member,
        wait: Duration,
    ) -> Result<Replied<'a>, Error> {
        let lookup = asked.lookup;
        let turn = turn(asked, member, wait);
        let question = CallContent {
            model: turn.model,
            encoding: lookup.request.encoding,
            body: |encoding| {
                let body =
                    response::write_call(&lookup.request, turn.model, asked.call.inputs, encoding);
                Bytes::from(body)
            },
        };
        let query = lookup.query.as_deref();
        let mut refused = 0;
        loop {
            let going = self.wait_for_turn(lookup, member, &turn).await?;
            let sent = Instant::now();
            let answer = member
                .upstream
                .embeddings(query, asked.headers, &question, asked.room)
                .await;
            let replied = |going, answer| Replied {
                member,
                turn,
                going,
                sent,
                answer,
                repeated: 0,
            };
            match answer {
                Err(Error::Refused(refusal)) if refusal.status == StatusCode::TOO_MANY_REQUESTS => {
                    let upstream = &member.upstream;
                    if !upstream.may_ask_again(&turn, &refusal, refused, going) {
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

    /// A call that need not wait leaves no span.
    async fn wait_for_turn(
        &self,
        lookup: &EmbeddingLookup,
        member: &Member,
        turn: &Turn<'_>,
    ) -> Result<PacedCall, Error> {
        let mut waiting = pin!(member.upstream.turn(turn));
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

fn turn<'a>(asked: &Asked<'a, '_>, member: &'a Member, wait: Duration) -> Turn<'a> {
    let (lookup, call, size) = (asked.lookup, asked.call, asked.size());
    let model = &lookup.request.model;
    Turn {
        payer: lookup.caller.payer,
        caller: lookup.caller.id,
        model: member.model(model),
        is_single: call.is_single,
        tokens: lookup.group.tokens(model, size),
        deadline: (Instant::now() + wait).min(call.until),
    }
}

/// When a call that is about to begin must have had its turn.
pub(super) fn turn_deadline(lookup: &EmbeddingLookup) -> Instant {
    Instant::now() + lookup.group.first().upstream.rate_wait()
}
