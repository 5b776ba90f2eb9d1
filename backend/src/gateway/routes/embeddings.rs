//! `POST /v1/embeddings`: the upstream charges for each input once.

mod answer;
mod receive;

use std::sync::Arc;

use axum::BoxError;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, ready};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};
use http::request::Parts;
use http::{Method, Response};

use self::answer::ResponsePlan;
use self::receive::receive;
use crate::access::{Access, Caller};
use crate::embeddings::batch::Batch;
use crate::embeddings::key::KeyBuilder;
use crate::embeddings::request::{self, EmbeddingRequest, Parsed};
use crate::gateway::app::App;
use crate::gateway::body_hash;
use crate::gateway::observed_body::ResponseBody;
use crate::gateway::routes::passthrough;
use crate::http::error::Error;
use crate::http::headers::{self, Directives};
use crate::http::tags;
use crate::resolver::EmbeddingLookup;
use crate::resolver::request_context::RequestContext;
use crate::telemetry::request_record::EmbeddingOutcome;
use crate::telemetry::{HashVerdict, semantics};

const BYPASS: HeaderValue = HeaderValue::from_static("embedding-gateway; fwd=bypass");

/// An answer, and its outcome if it holds vectors.
type Answered = (Response<ResponseBody>, Option<EmbeddingOutcome>);

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
        let body = receive(&app.limits, &parts.headers, body)?;
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
            let id = self.caller.id;
            let answered = match body.await {
                Ok(body) => self.reply(body).await,
                Err(error) => Err(error),
            };
            let (mut response, outcome) = answered.unwrap_or_else(refusal);
            // Varnish bans the objects of a credential that the upstream refuses.
            if matches!(response.status().as_u16(), 401 | 403) {
                response
                    .headers_mut()
                    .insert(headers::SURROGATE_KEY, tags::of_credential(id));
            }
            (response, outcome)
        }
    }

    /// Answers the request by its body. For a hit in memory the returned future is ready.
    fn reply(self, body: Bytes) -> impl Future<Output = Result<Answered, Error>> + Send + use<> {
        let verdict = body_hash::verdict(&self.parts.headers, &body);
        self.app.metrics.body_hashes.add(verdict, 1);
        match self.understand(&body) {
            Ok(Some(request)) => Either::Left(self.embed(request, verdict)),
            Ok(None) => Either::Right(Either::Left(Box::pin(self.bypass(body)))),
            Err(error) => Either::Right(Either::Right(ready(Err(error)))),
        }
    }

    /// Parses the request and checks its model and limits; `None` if only the upstream can read it.
    fn understand(&self, body: &Bytes) -> Result<Option<EmbeddingRequest>, Error> {
        let parsed = match self.parts.headers.contains_key(CONTENT_ENCODING) {
            // The gateway does not decode bodies.
            true => Parsed::Foreign,
            false => request::parse(body).map_err(|_| Error::NotJson)?,
        };
        match parsed {
            // The meaning of a query is unknown: it may hold a key.
            Parsed::Understood(request) if self.parts.uri.query().is_none() => {
                self.app.access.check_model(Some(&request.model))?;
                check_limits(&self.app, &request)?;
                Ok(Some(request))
            }
            _ => {
                self.app.access.check_model(None)?;
                Ok(None)
            }
        }
    }

    fn embed(
        self,
        mut request: EmbeddingRequest,
        verdict: HashVerdict,
    ) -> impl Future<Output = Result<Answered, Error>> + Send + use<> {
        let Self {
            app,
            parts,
            caller,
            context,
        } = self;
        context.trace.describe(|| semantics::embeddings(&request));
        let directives = Directives::of(&parts.headers);
        let key_scope = app.key_scope(&caller.scope);
        let inputs = std::mem::take(&mut request.inputs);
        let batch = Batch::new(&KeyBuilder::new(&key_scope, &request), inputs);
        let plan = ResponsePlan {
            model: Arc::clone(&request.model),
            encoding: request.encoding,
            directives,
            repeats: batch.repeats(),
            places: batch.places,
            own: Arc::clone(&caller.own),
            last_purge: app.resolver.cache().purges().latest(),
            scope: Arc::clone(&caller.scope),
            may_be_stored: verdict == HashVerdict::Match && !directives.no_store,
        };
        let lookup = EmbeddingLookup {
            request,
            key_scope,
            distinct: batch.distinct,
            caller,
            read: !directives.no_cache && !directives.no_store,
            write: !directives.no_store,
            only_if_cached: directives.only_if_cached,
            context,
        };
        let resolved = app.resolver.resolve(lookup);
        resolved.map(move |resolved| Ok(plan.answer(&app, resolved?)))
    }

    /// Forwards a request that the gateway does not understand, and caches nothing of it.
    async fn bypass(self, body: Bytes) -> Result<Answered, Error> {
        let length = body.len();
        let mut request = Request::from_parts(self.parts, Body::from(body));
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        let (app, caller) = (&self.app, &self.caller);
        let mut response = passthrough::forward(app, caller, request, &self.context.trace).await?;
        response.headers_mut().append(headers::CACHE_STATUS, BYPASS);
        Ok((response.map(ResponseBody::Stream), None))
    }
}

fn refusal(error: Error) -> Answered {
    (error.into_response().map(ResponseBody::Stream), None)
}

fn check_limits(app: &App, request: &EmbeddingRequest) -> Result<(), Error> {
    let (found, limit) = (request.inputs.len(), app.limits.inputs);
    if found > limit {
        return Err(Error::TooManyInputs { found, limit });
    }
    let limit = app.limits.input_bytes;
    match request
        .inputs
        .iter()
        .position(|input| input.raw.len() > limit)
    {
        Some(index) => Err(Error::InputTooLarge { index, limit }),
        None => Ok(()),
    }
}
