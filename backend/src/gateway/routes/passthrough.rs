//! Everything else below `/v1/`: streamed both ways, byte for byte, never stored.

mod upload;

use std::iter::successors;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderMap};
use opentelemetry::trace::SpanKind;

use self::upload::Upload;
use crate::access::Caller;
use crate::gateway::app::App;
use crate::http::error::{Error, NO_STORE, is_of_credential};
use crate::http::headers;
use crate::http::paths::percent_decoded;
use crate::resolver::request_context::RequestContext;
use crate::telemetry::{Span, Trace, semantics};
use crate::upstream::Client;

/// The path of the API.
const API: &str = "/v1";

/// How many times a path is decoded to find dot segments: upstreams behind proxies decode twice.
const DECODINGS: usize = 3;

/// Admits a request and forwards it.
pub async fn handle(app: &App, mut request: Request, context: &RequestContext) -> Response {
    let path = request.uri().path();
    if !path
        .strip_prefix(API)
        .is_some_and(|rest| rest.starts_with('/'))
    {
        return Error::NotFound.into_response();
    }
    headers::remove_hop_by_hop(request.headers_mut());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let admitted = app.access.admit(&method, &path, request.headers_mut());
    match admitted.and_then(|caller| check_model(app, &path).map(|()| caller)) {
        Ok(caller) => stream(app, &caller, request, context).await.into_response(),
        Err(error) => error.into_response(),
    }
}

/// Takes a place when the beginning of the body is there: a client that sends nothing holds none.
async fn stream(
    app: &App,
    caller: &Caller,
    request: Request,
    context: &RequestContext,
) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let upload = Upload::begin(body, &app.limits, context).await?;
    if let Some(hold) = &context.hold {
        hold.take_stream_place(&app.permits)?;
    }
    let request = Request::from_parts(parts, Body::new(upload));
    let upstream = app.upstreams.of_routes().ok_or(Error::RouteNotAllowed)?;
    forward(app, caller, &upstream, request, &context.trace).await
}

/// Forwards an admitted caller's request.
pub async fn forward(
    app: &App,
    caller: &Caller,
    upstream: &Client,
    mut request: Request,
    trace: &Trace,
) -> Result<Response, Error> {
    let path = request.uri().path();
    if has_dot_segments(path) {
        return Err(Error::DotSegments);
    }
    let path = path.strip_prefix(API).ok_or(Error::NotFound)?.to_owned();

    prepare(app, caller, request.headers_mut());
    let mut span = trace.span(SpanKind::Client, || semantics::span_name(request.method()));
    span.describe(|| semantics::call(request.method(), &upstream.url(&path, None)));
    span.describe(|| [semantics::upstream(upstream.name())]);
    span.tell(request.headers_mut());
    let answer = upstream.forward(request, &path).await;
    let answer = answer.inspect_err(|error| {
        if !error.is_of_client() {
            tracing::warn!(upstream = %upstream.name(), %error, "the upstream gave no answer");
        }
        span.fail(error.code());
    })?;
    note_status(app, upstream, answer.status(), &mut span)?;
    drop(span);
    let mut answer = answer.map(Body::new);
    headers::remove_hop_by_hop(answer.headers_mut());
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    Ok(answer)
}

/// Refuses what the upstream says of the gateway's own key.
fn note_status(
    app: &App,
    upstream: &Client,
    status: StatusCode,
    span: &mut Span,
) -> Result<(), Error> {
    let number = status.as_u16();
    if is_of_credential(status) && !app.access.passes_credentials() {
        let upstream = upstream.name();
        tracing::error!(status = number, %upstream, "the upstream refuses the gateway's key");
        span.fail(Error::GatewayKeyRefused.code());
        return Err(Error::GatewayKeyRefused);
    }
    span.describe(|| [semantics::status(number)]);
    if number >= 400 {
        span.fail(status.as_str());
    }
    Ok(())
}

/// Leaves the headers that the upstream gets, and adds the credential.
fn prepare(app: &App, caller: &Caller, sent: &mut HeaderMap) {
    headers::remove_hop_by_hop(sent);
    headers::remove_ours(sent);
    if !app.access.passes_credentials() {
        headers::remove_cookies(sent);
    }
    sent.extend(caller.upstream.iter().cloned());
}

/// Checks embeddings at another path, or in another spelling of it, as those of an unknown model.
fn check_model(app: &App, path: &str) -> Result<(), Error> {
    match may_mean_embeddings(path) {
        true => app.access.check_model(None),
        false => Ok(()),
    }
}

/// Whether an upstream that decodes the path could take its last segment for that of embeddings.
fn may_mean_embeddings(path: &str) -> bool {
    any_spelling(path, |path| {
        let mut segments = segments(path).map(|segment| {
            let mut parts = segment.split(|byte| matches!(byte, b';' | b'?' | b'#'));
            parts.next().unwrap_or_default().trim_ascii()
        });
        segments
            .rfind(|name| !name.is_empty())
            .is_some_and(|last| last.eq_ignore_ascii_case(b"embeddings"))
    })
}

/// Whether an upstream that decodes the path could find dot segments in it.
fn has_dot_segments(path: &str) -> bool {
    any_spelling(path, |path| {
        segments(path).any(|segment| matches!(segment, b"." | b".."))
    })
}

/// Whether `is_one` holds for the path as it is, or decoded.
fn any_spelling(path: &str, is_one: impl Fn(&[u8]) -> bool) -> bool {
    let decodings = successors(Some(path.as_bytes().to_vec()), |path| {
        Some(percent_decoded(path))
    });
    decodings.take(DECODINGS).any(|path| is_one(&path))
}

fn segments(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| matches!(byte, b'/' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_are_seen_through_every_spelling() {
        for path in [
            "/v1/embeddings/",
            "/v1//embeddings",
            "/v1/%65mbeddings",
            "/v1/%2565mbeddings",
            "/v1/embeddings%2f",
            "/v1/embeddings;x=1",
            "/v1/embeddings%3fx",
            "/v1/embeddings%20",
            "/v1/Embeddings",
            "/v1/engines/x/embeddings",
        ] {
            assert!(may_mean_embeddings(path), "{path}");
        }
        for path in [
            "/v1/models/text-embedding-3-small",
            "/v1/embeddings/models",
            "/v1/",
        ] {
            assert!(!may_mean_embeddings(path), "{path}");
        }
    }

    #[test]
    fn dot_segments_are_seen_through_every_spelling() {
        for path in [
            "/v1/..",
            "/v1/../x",
            "/v1/./x",
            "/v1/%2e%2e/x",
            "/v1/%2E./x",
            "/v1/.%2e",
            "/v1/a%2f..%2fb",
            "/v1/a\\..\\b",
            "/v1/a%5c..%5cb",
            "/v1/%252e%252e/x",
            "/v1/..%2f",
        ] {
            assert!(has_dot_segments(path), "{path}");
        }
        for path in [
            "/v1/models/gpt-4.1",
            "/v1/files/a..b",
            "/v1/...",
            "/v1//x",
            "/v1/%zz",
            "/v1/%",
        ] {
            assert!(!has_dot_segments(path), "{path}");
        }
    }
}
