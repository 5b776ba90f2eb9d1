//! `POST /v1/embeddings`: each input is paid for once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::access::Caller;
use crate::app::App;
use crate::body_hash;
use crate::embeddings::batch::Batch;
use crate::embeddings::key::Namer;
use crate::embeddings::request::{self, EmbeddingRequest, Parsed};
use crate::embeddings::response;
use crate::error::{Error, NO_STORE};
use crate::headers::{self, Directives};
use crate::resolve::{Order, Tally};
use crate::routes::passthrough;
use crate::tags;
use crate::telemetry::exchange::Facts;
use crate::telemetry::semantics;
use crate::telemetry::{HashVerdict, Outcome, Trace};

/// Our name in `Cache-Status`.
const CACHE: &str = "embedding-gateway";
const HIT: &str = "embedding-gateway; hit";
const BYPASS: &str = "embedding-gateway; fwd=bypass";

/// Headers of an answer with vectors that are not the upstream's.
const OWN_HEADERS: usize = 5;

/// `POST /v1/embeddings`.
pub async fn handle(State(app): State<Arc<App>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    headers::remove_hop_by_hop(&mut parts.headers);
    let admitted = app
        .access
        .admit(&parts.method, parts.uri.path(), &mut parts.headers);
    let caller = match admitted {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    let id = caller.id;
    let mut response = answer(&app, caller, parts, body)
        .await
        .unwrap_or_else(Error::into_response);
    // A cache in front forgets what it holds for a credential that is refused.
    if matches!(response.status().as_u16(), 401 | 403) {
        response
            .headers_mut()
            .insert(headers::SURROGATE_KEY, tags::of_credential(id));
    }
    response
}

/// Any other method.
pub async fn refuse_method() -> Response {
    Error::MethodNotAllowed.into_response()
}

async fn answer(
    app: &Arc<App>,
    caller: Caller,
    parts: Parts,
    body: Body,
) -> Result<Response, Error> {
    let body = receive(app, &parts.headers, body).await?;
    let verdict = body_hash::verdict(&parts.headers, &body);
    app.metrics.body_hashes.add(verdict, 1);

    match request::parse(&body).map_err(|_| Error::NotJson)? {
        Parsed::Understood(request) if !changes_meaning(&parts) => {
            app.access.check_model(Some(&request.model))?;
            embed(app, caller, &parts, verdict, request).await
        }
        _ => {
            app.access.check_model(None)?;
            Box::pin(bypass(app, &caller, parts, body)).await
        }
    }
}

/// What stands beside the body may say more than we understand: a key in the query, say.
fn changes_meaning(parts: &Parts) -> bool {
    parts.uri.query().is_some() || parts.headers.contains_key(CONTENT_ENCODING)
}

/// Not ours to understand: the upstream gets it as it is, and nothing of it is kept.
async fn bypass(app: &App, caller: &Caller, parts: Parts, body: Bytes) -> Result<Response, Error> {
    let mut request = Request::from_parts(parts, Body::from(body.clone()));
    request
        .headers_mut()
        .insert(CONTENT_LENGTH, body.len().into());
    let mut response = passthrough::forward(app, caller, request).await?;
    let headers = response.headers_mut();
    headers.append(headers::CACHE_STATUS, HeaderValue::from_static(BYPASS));
    Ok(response)
}

async fn embed(
    app: &Arc<App>,
    caller: Caller,
    parts: &Parts,
    verdict: HashVerdict,
    mut request: EmbeddingRequest,
) -> Result<Response, Error> {
    check_limits(app, &request)?;
    let directives = Directives::of(&parts.headers);
    let trace: Trace = parts.extensions.get().cloned().unwrap_or_default();
    trace.describe(|| semantics::embeddings(&request));
    let (model, encoding) = (request.model.clone(), request.encoding);
    let (id, scope) = (caller.id, Arc::clone(&caller.scope));
    let realm = app.realm(&scope);
    let batch = Batch::new(
        &Namer::new(&realm, &request),
        std::mem::take(&mut request.inputs),
    );
    let repeats = batch.repeats();
    let order = Order {
        request,
        realm,
        distinct: batch.distinct,
        caller,
        read: !directives.no_cache && !directives.no_store,
        write: !directives.no_store,
        only_if_cached: directives.only_if_cached,
        slot: parts.extensions.get().cloned(),
        trace,
    };
    let supply = app.resolver.resolve(order).await?;
    app.metrics.inputs.add(Outcome::Repeat, repeats as u64);
    let nominal = response::nominal_tokens(&supply.entries, &batch.places);
    app.metrics
        .models
        .count_answer(&model, nominal, supply.call.billed_tokens);

    let body = response::write_answer(&supply.entries, &batch.places, encoding);
    let mut response = Response::new(Body::from(body));
    let scope = supply.call.scope.unwrap_or(scope);
    let storable = verdict == HashVerdict::Match && !directives.no_store;
    let headers = response.headers_mut();
    *headers = supply.call.headers;
    headers.reserve(OWN_HEADERS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        CACHE_CONTROL,
        cache_control(app.max_age(&supply.entries), storable),
    );
    headers.append(headers::CACHE_STATUS, status(&supply.tally, directives));
    headers.insert(
        headers::X_EMBEDDING_BILLED_TOKENS,
        supply.call.billed_tokens.into(),
    );
    let tags = tags::of_answer(&model, &scope, id);
    headers.insert(headers::SURROGATE_KEY, tags);
    response.extensions_mut().insert(Facts {
        tally: supply.tally,
        repeats,
        nominal_tokens: nominal,
        billed_tokens: supply.call.billed_tokens,
        waited: supply.call.waits.total(),
    });
    Ok(response)
}

fn cache_control(max_age: Duration, storable: bool) -> HeaderValue {
    let max_age = HeaderValue::try_from(format!("max-age={}", max_age.as_secs()));
    max_age.ok().filter(|_| storable).unwrap_or(NO_STORE)
}

/// Our member of `Cache-Status` (RFC 9211).
fn status(tally: &Tally, directives: Directives) -> HeaderValue {
    let hits = tally.hits();
    if tally.miss == 0 && tally.collapsed == 0 {
        return HeaderValue::from_static(HIT);
    }
    let reason = match hits {
        _ if directives.no_store => "bypass",
        _ if directives.no_cache => "request",
        0 => "miss",
        _ => "partial",
    };
    let mut status = format!("{CACHE}; fwd={reason}");
    if !directives.no_store {
        status += "; stored";
    }
    // All that we went upstream for was somebody else's call (RFC 9211, 2.6).
    if tally.miss == 0 {
        status += "; collapsed";
    }
    let kinds = [hits, tally.collapsed, tally.miss];
    if kinds.iter().filter(|&&count| count > 0).count() > 1 {
        let [hits, collapsed, misses] = kinds;
        status += &format!("; detail=\"hits={hits} collapsed={collapsed} misses={misses}\"");
    }
    // Words and numbers only; if it were not so, our name alone is a member too.
    HeaderValue::try_from(status).unwrap_or(HeaderValue::from_static(CACHE))
}

/// Reads the whole body, within the limits of size and time.
async fn receive(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    let limit = app.limits.body_bytes;
    if headers::content_length(headers).is_some_and(|announced| announced > limit as u64) {
        return Err(Error::BodyTooLarge { limit });
    }
    let collected = timeout(app.limits.body_timeout, Limited::new(body, limit).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Error::BodyTooLarge { limit }),
        Ok(Err(_)) => Err(Error::BodyBroken),
        Err(_) => Err(Error::BodyTimeout),
    }
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
