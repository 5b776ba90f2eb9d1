//! `POST /v1/embeddings`: the upstream charges for each input once.
//!
//! A request's steps, from top to bottom: [`admit`] the caller, [`receive`] the body, compare its
//! hash ([`body_hash::verdict`]), [`understand`] it, `look_up` its vectors, and write the answer
//! ([`ResponsePlan::answer`]). `bypass` forwards a request that the gateway does not understand.
//!
//! For a hit in memory every step ends before its function returns. So the steps return futures
//! that are ready, joined by `Either`, and only the slow ways (large bodies, bypasses, misses) are
//! boxed: a hit allocates no future.

mod answer;
mod receive;
mod understand;

use std::sync::Arc;

use axum::BoxError;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, ready};
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use tokio::task::spawn_blocking;

use self::answer::ResponsePlan;
use self::receive::receive;
use self::understand::{Understood, understand};
use crate::access::{Access, Caller};
use crate::embeddings::batch::Batch;
use crate::embeddings::key::KeyBuilder;
use crate::embeddings::request::EmbeddingRequest;
use crate::gateway::app::App;
use crate::gateway::body_hash;
use crate::gateway::observed_body::ResponseBody;
use crate::gateway::routes::passthrough;
use crate::http::error::{Error, UpstreamRefusal, is_of_credential};
use crate::http::headers::{self, Directives};
use crate::http::tags;
use crate::resolver::EmbeddingLookup;
use crate::resolver::request_context::RequestContext;
use crate::telemetry::request_record::EmbeddingOutcome;
use crate::telemetry::{Bypass, HashVerdict, semantics};

const BYPASS: HeaderValue = HeaderValue::from_static("embedding-gateway; fwd=bypass");

/// What an input takes beside its text, until its request is answered: its key, its place among
/// the others, and who waits for it.
const INPUT_BYTES: usize = 512;

/// An answer, and its outcome if it holds vectors.
type Answered = (Response<ResponseBody>, Option<EmbeddingOutcome>);

/// Bodies up to this size are read where they arrive: that takes a fraction of a millisecond.
const SMALL_BODY_BYTES: usize = 128 * 1024;

/// Statuses of refusals that name an input by its place.
const POSITIONED: [StatusCode; 3] = [
    StatusCode::BAD_REQUEST,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNPROCESSABLE_ENTITY,
];

/// A request of several inputs as the client made it, which the upstream may see in parts only.
struct OwnRequest {
    request: EmbeddingsRequest,
    body: Bytes,
    inputs: usize,
}

/// A request to [`EMBEDDINGS`], admitted.
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
            let request = EmbeddingsRequest {
                app,
                parts,
                caller,
                context,
            };
            Either::Left(request.answer(body))
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
    #[expect(
        clippy::manual_async_fn,
        reason = "a function that is async keeps room for its arguments twice"
    )]
    fn answer(
        self,
        body: impl Future<Output = Result<Bytes, Error>> + Send,
    ) -> impl Future<Output = Answered> + Send {
        async move {
            let (app, id) = (Arc::clone(&self.app), self.caller.id);
            let answered = match body.await.and_then(|body| self.begin(body)) {
                Ok(body) => self.reply(body).await,
                Err(error) => Err(error),
            };
            let (mut response, outcome) = answered.unwrap_or_else(refusal);
            // Varnish bans the objects of a credential that the upstream refuses. One that never got
            // vectors has none, and a flood of unknown keys is to cost no bans.
            if outcome.is_some() {
                app.access.serve(id);
            } else if is_of_credential(response.status()) && app.access.was_served(id) {
                response
                    .headers_mut()
                    .insert(headers::SURROGATE_KEY, tags::of_credential(id));
            }
            (response, outcome)
        }
    }

    /// Takes a place, now that the body is there.
    fn begin(&self, body: Bytes) -> Result<Bytes, Error> {
        if let Some(hold) = &self.context.hold {
            hold.take_place(&self.app.permits)?;
        }
        Ok(body)
    }

    /// Answers a request whose body is there. A hit in memory is answered when this returns.
    fn reply(self, body: Bytes) -> impl Future<Output = Result<Answered, Error>> + Send + use<> {
        if body.len() > SMALL_BODY_BYTES {
            return Either::Left(Box::pin(self.reply_aside(body)));
        }
        let (verdict, understood) = (
            self.verdict(&body),
            understand(&self.app, &self.parts, &body),
        );
        Either::Right(self.answer_understood(body, verdict, understood))
    }

    /// Reads a large body where that keeps no other request waiting.
    async fn reply_aside(self, body: Bytes) -> Result<Answered, Error> {
        let read = spawn_blocking(move || {
            let (verdict, understood) = (
                self.verdict(&body),
                understand(&self.app, &self.parts, &body),
            );
            (self, body, verdict, understood)
        });
        let (request, body, verdict, understood) = read.await.map_err(|_| Error::Internal)?;
        request.answer_understood(body, verdict, understood).await
    }

    fn answer_understood(
        self,
        body: Bytes,
        verdict: HashVerdict,
        understood: Result<Understood, Error>,
    ) -> impl Future<Output = Result<Answered, Error>> + Send + use<> {
        self.app.metrics.body_hashes.add(verdict, 1);
        match understood.and_then(|understood| self.reserve(understood)) {
            Ok(Understood::Lookup(request)) => Either::Left(self.look_up(request, verdict, body)),
            Ok(Understood::Bypass(reason)) => {
                self.app.metrics.bypassed.add(reason, 1);
                Either::Right(Either::Left(Box::pin(self.bypass(body, reason))))
            }
            Err(error) => Either::Right(Either::Right(ready(Err(error)))),
        }
    }

    /// Reserves what the inputs take beside their text.
    fn reserve(&self, understood: Understood) -> Result<Understood, Error> {
        if let Understood::Lookup(request) = &understood {
            self.context.reserve(request.inputs.len() * INPUT_BYTES)?;
        }
        Ok(understood)
    }

    fn verdict(&self, body: &[u8]) -> HashVerdict {
        body_hash::verdict(&self.parts.headers, body)
    }

    /// Looks up the vectors, and answers with them.
    fn look_up(
        self,
        mut request: EmbeddingRequest,
        verdict: HashVerdict,
        body: Bytes,
    ) -> impl Future<Output = Result<Answered, Error>> + Send + use<> {
        let count = request.inputs.len();
        let context = self.context;
        context.trace.describe(|| semantics::embeddings(&request));
        let (app, caller) = (self.app, self.caller);
        let directives = Directives::of(&self.parts.headers);
        let query = self.parts.uri.query().filter(|query| !query.is_empty());
        let key_scope = app.key_scope(&caller.scope, query);
        let inputs = std::mem::take(&mut request.inputs);
        let keys = KeyBuilder::new(&key_scope, &request);
        let family = keys.family();
        let batch = Batch::new(&keys, inputs);
        let plan = ResponsePlan {
            model: Arc::clone(&request.model),
            encoding: request.encoding.unwrap_or_default(),
            directives,
            repeats: batch.repeats(),
            places: batch.places,
            own: Arc::clone(&caller.own),
            last_purge: app.resolver.cache().purges().latest(),
            scope: Arc::clone(&caller.scope),
            may_be_stored: verdict == HashVerdict::Match && !directives.no_store,
        };
        let query: Option<Arc<str>> = query.map(Into::into);
        let own = (count > 1).then(|| OwnRequest {
            request: Self {
                app: Arc::clone(&app),
                parts: self.parts,
                caller: caller.clone(),
                context: context.clone(),
            },
            body,
            inputs: count,
        });
        let resolved = app.resolver.resolve(EmbeddingLookup {
            request,
            key_scope,
            family,
            distinct: batch.distinct,
            caller,
            read: !directives.no_cache && !directives.no_store,
            write: !directives.no_store,
            only_if_cached: directives.only_if_cached,
            query,
            context,
        });
        resolved.then(move |resolved| match (resolved, own) {
            (Err(Error::Refused(refusal)), Some(own)) if own.is_misplaced(&refusal) => {
                Either::Left(Box::pin(own.repeat()))
            }
            (resolved, _) => Either::Right(ready(resolved.map(|found| plan.answer(&app, found)))),
        })
    }

    /// Forwards a request that the gateway does not understand, and caches nothing of it.
    async fn bypass(self, body: Bytes, reason: Bypass) -> Result<Answered, Error> {
        let (mut response, outcome) = self.forward(body).await?;
        response.extensions_mut().insert(reason);
        Ok((response, outcome))
    }

    async fn forward(self, body: Bytes) -> Result<Answered, Error> {
        let length = body.len();
        let mut request = Request::from_parts(self.parts, Body::from(body));
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        let (app, caller) = (&self.app, &self.caller);
        let mut response = passthrough::forward(app, caller, request, &self.context.trace).await?;
        response.headers_mut().append(headers::CACHE_STATUS, BYPASS);
        Ok((response.map(ResponseBody::Stream), None))
    }
}

impl OwnRequest {
    /// Whether the upstream may have refused an input at a place that is not the client's.
    fn is_misplaced(&self, refusal: &UpstreamRefusal) -> bool {
        refusal.inputs != self.inputs && POSITIONED.contains(&refusal.status)
    }

    /// Asks the upstream what the client asked: its refusal then names the client's places.
    async fn repeat(self) -> Result<Answered, Error> {
        self.request.forward(self.body).await
    }
}

fn refusal(error: Error) -> Answered {
    (error.into_response().map(ResponseBody::Stream), None)
}
