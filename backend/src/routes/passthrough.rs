//! Everything below `/v1/` that is not ours: streamed both ways, byte for byte, never stored.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use opentelemetry::trace::SpanKind;

use crate::access::Caller;
use crate::app::App;
use crate::error::{Error, NO_STORE};
use crate::headers;
use crate::percent::decoded;
use crate::telemetry::{Trace, semantics};

/// Where the API begins.
const API: &str = "/v1";

/// A path is decoded this often to find dot segments: upstreams behind proxies do it twice.
const DECODINGS: usize = 3;

/// Passes a request on, if there is anything to pass it to.
pub async fn handle(app: &App, mut request: Request, trace: &Trace) -> Response {
    let path = request.uri().path();
    if !path
        .strip_prefix(API)
        .is_some_and(|rest| rest.starts_with('/'))
    {
        return Error::NotFound.into_response();
    }
    headers::remove_hop_by_hop(request.headers_mut());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    match app.access.admit(&method, &path, request.headers_mut()) {
        Ok(caller) => forward(app, &caller, request, trace).await.into_response(),
        Err(error) => error.into_response(),
    }
}

/// Passes an admitted caller's request on.
pub async fn forward(
    app: &App,
    caller: &Caller,
    mut request: Request,
    trace: &Trace,
) -> Result<Response, Error> {
    let path = request.uri().path();
    if has_dot_segments(path) {
        return Err(Error::DotSegments);
    }
    let path = path.strip_prefix(API).ok_or(Error::NotFound)?.to_owned();

    let sent = request.headers_mut();
    headers::remove_hop_by_hop(sent);
    headers::remove_ours(sent);
    if !app.access.passes_credentials() {
        headers::remove_cookies(sent);
    }
    sent.extend(caller.upstream.iter().cloned());

    let mut span = trace.span(SpanKind::Client, || {
        semantics::method_name(request.method())
    });
    span.describe(|| semantics::call(request.method(), &app.upstream.url(&path, None)));
    span.tell(request.headers_mut());
    let answer = app
        .upstream
        .forward(request, &path)
        .await
        .inspect_err(|error| {
            tracing::warn!(%error, "the upstream gave no answer");
            span.fail(error.code());
        })?;
    let status = answer.status().as_u16();
    span.describe(|| [semantics::status(status)]);
    if status >= 400 {
        span.fail(answer.status().as_str());
    }
    drop(span);
    let mut answer = answer.map(Body::new);
    headers::remove_hop_by_hop(answer.headers_mut());
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    Ok(answer)
}

/// Whether anybody who decodes the path could leave the place where it begins.
fn has_dot_segments(path: &str) -> bool {
    let mut path = path.as_bytes().to_vec();
    for _ in 0..DECODINGS {
        let mut segments = path.split(|byte| matches!(byte, b'/' | b'\\'));
        if segments.any(|segment| matches!(segment, b"." | b"..")) {
            return true;
        }
        path = decoded(&path);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

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
