//! `POST /v1/embeddings`: the upstream charges for each input once.
//!
//! A request's steps, from top to bottom: [`admit`] the caller, [`receive`] the body, compare its
//! hash ([`body_hash::verdict`]), [`understand`] it, look up its vectors and write the answer
//! ([`EmbeddingsRequest::look_up`]). [`EmbeddingsRequest::bypass`] forwards a request that the
//! gateway does not understand.
//!
//! For a hit in memory every step ends before its function returns. So the steps that follow the
//! body return a [`MaybeFuture`], and only the slow ways (large bodies, bypasses, misses) are futures.

mod answer;
mod derive;
mod look_up;
mod receive;
mod understand;
mod untouched;

use std::sync::Arc;

use axum::BoxError;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, ready};
use http::request::Parts;
use http::{Method, Response};
use tokio::task::spawn_blocking;

use self::receive::receive;
use self::understand::{Understood, understand};
use crate::access::{Access, Caller};
use crate::embeddings::request::with_model;
use crate::gateway::app::App;
use crate::gateway::azure::Deployment;
use crate::gateway::body_hash;
use crate::gateway::observed_body::ResponseBody;
use crate::http::credentials::CredentialId;
use crate::http::error::{Error, is_of_credential};
use crate::http::headers;
use crate::http::tags;
use crate::resolver::maybe_future::MaybeFuture;
use crate::resolver::request_context::RequestContext;
use crate::telemetry::HashVerdict;
use crate::telemetry::request_record::EmbeddingOutcome;

/// What an input takes beside its text, until its request is answered: its key, its place among
/// the others, and who waits for it.
const INPUT_BYTES: usize = 512;

/// An answer, and its outcome if it holds vectors.
type Answered = (Response<ResponseBody>, Option<EmbeddingOutcome>);

/// Bodies up to this size are read where they arrive: that takes a fraction of a millisecond.
const SMALL_BODY_BYTES: usize = 128 * 1024;

/// A request to [`EMBEDDINGS`], admitted. Boxed, because each step passes it on.
struct EmbeddingsRequest {
    app: Arc<App>,
    parts: Parts,
    caller: Caller,
    context: RequestContext,
}

/// Answers a request to [`EMBEDDINGS`].
pub fn handle<B>(
    app: Arc<App>,
    mut parts: Parts,
    body: B,
    context: RequestContext,
) -> impl Future<Output = Answered> + Send + use<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let admitted = admit(&app.access, &mut parts).and_then(|caller| {
        let body = receive(&app, &parts.headers, body, &context)?;
        Ok((caller, body))
    });
    match admitted {
        Ok((caller, body)) => {
            let request = Box::new(EmbeddingsRequest {
                app,
                parts,
                caller,
                context,
            });
            Either::Left(body.then(move |body| request.answer(body)))
        }
        Err(error) => Either::Right(ready(refusal(error))),
    }
}

fn admit(access: &Access, parts: &mut Parts) -> Result<Caller, Error> {
    if parts.method != Method::POST {
        return Err(Error::MethodNotAllowed);
    }
    headers::remove_hop_by_hop(&mut parts.headers);
    access.admit(&parts.method, parts.uri.path(), &mut parts.headers)
}

impl EmbeddingsRequest {
    /// Answers a request whose body is there.
    fn answer(self: Box<Self>, body: Result<Bytes, Error>) -> MaybeFuture<Answered> {
        let (app, id) = (Arc::clone(&self.app), self.caller.id);
        let answered = match body.and_then(|body| self.begin(body)) {
            Ok(body) => self.reply(body),
            Err(error) => MaybeFuture::now(Err(error)),
        };
        answered.map(move |answered| {
            let mut answered = answered.unwrap_or_else(refusal);
            note_standing(&app.access, id, &mut answered);
            answered
        })
    }

    /// Takes a place, now that the body is there.
    fn begin(&self, body: Bytes) -> Result<Bytes, Error> {
        if let Some(hold) = &self.context.hold {
            hold.take_place(&self.app.permits)?;
        }
        Ok(body)
    }

    /// Reads the body, and answers the request.
    fn reply(self: Box<Self>, body: Bytes) -> MaybeFuture<Result<Answered, Error>> {
        if body.len() > SMALL_BODY_BYTES {
            return MaybeFuture::later(self.reply_aside(body));
        }
        let (body, verdict, understood) = self.read(body);
        self.answer_understood(body, verdict, understood)
    }

    /// Reads a large body where that keeps no other request waiting.
    async fn reply_aside(self: Box<Self>, body: Bytes) -> Result<Answered, Error> {
        let read = spawn_blocking(move || {
            let read = self.read(body);
            (self, read)
        });
        let (request, read) = read.await.map_err(|_| Error::Internal)?;
        let (body, verdict, understood) = read;
        request.answer_understood(body, verdict, understood).await
    }

    /// Judges the body's hash, and reads the body: with the model that the URL names, if it names
    /// one.
    fn read(&self, body: Bytes) -> (Bytes, HashVerdict, Result<Understood, Error>) {
        let verdict = body_hash::verdict(&self.parts.headers, &body);
        let body = match self.parts.extensions.get::<Deployment>() {
            Some(deployment) => with_model(body, &deployment.0),
            None => body,
        };
        let understood = understand(&self.app, &self.parts, &body);
        (body, verdict, understood)
    }

    fn answer_understood(
        self: Box<Self>,
        body: Bytes,
        verdict: HashVerdict,
        understood: Result<Understood, Error>,
    ) -> MaybeFuture<Result<Answered, Error>> {
        self.app.metrics.body_hashes.add(verdict, 1);
        match understood.and_then(|understood| self.reserve(understood)) {
            Ok(Understood::Lookup(request)) => self.look_up(request, verdict, body),
            Ok(Understood::Bypass(reason)) => {
                self.app.metrics.bypassed.add(reason, 1);
                MaybeFuture::later(self.bypass(body, reason))
            }
            Err(error) => MaybeFuture::now(Err(error)),
        }
    }

    /// Reserves what the inputs take beside their text.
    fn reserve(&self, understood: Understood) -> Result<Understood, Error> {
        if let Understood::Lookup(request) = &understood {
            self.context.reserve(request.inputs.len() * INPUT_BYTES)?;
        }
        Ok(understood)
    }
}

/// Notes that a credential got vectors. Varnish bans the objects of one that the upstream refuses:
/// one that never got vectors has none, and a flood of unknown keys is to cost no bans.
fn note_standing(access: &Access, id: CredentialId, (response, outcome): &mut Answered) {
    if outcome.is_some() {
        access.serve(id);
    } else if is_of_credential(response.status()) && access.was_served(id) {
        let tag = tags::of_credential(id);
        response.headers_mut().insert(headers::SURROGATE_KEY, tag);
    }
}

fn refusal(error: Error) -> Answered {
    (error.into_response().map(ResponseBody::Stream), None)
}
