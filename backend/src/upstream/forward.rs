//! Calls that are passed on, streamed both ways.

use axum::body::Body;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::client::{Client, failure};
use super::lanes::Place;
use super::repeat::{broke_off, was_unread};
use super::shared_body::SharedBody;
use super::silence::{Silence, WatchedBody};
use crate::http::error::Error;

impl Client {
    /// Forwards a request. `path` is the part after `/v1`, with its slash.
    pub async fn forward(
        &self,
        request: Request<Body>,
        path: &str,
    ) -> Result<Response<Body>, Error> {
        let (parts, body) = request.into_parts();
        let url = self.url(path, parts.uri.query());
        let (silence, place) = (Silence::begin(self.idle_timeout), self.long.place());
        let body = (!body.is_end_stream()).then(|| SharedBody::new(body, &silence));
        let call = || {
            let mut call = reqwest::Request::new(parts.method.clone(), url.clone());
            *call.headers_mut() = parts.headers.clone();
            call.headers_mut().extend(self.headers.clone());
            *call.body_mut() = body.clone().map(reqwest::Body::wrap);
            place.http().execute(call)
        };
        let is_safe = parts.method.is_safe() && body.is_none();
        let answer = async {
            let sent = Instant::now();
            match call().await {
                Err(error) if may_repeat(&error, sent, is_safe, body.as_ref()) => call().await,
                other => other,
            }
        };
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            () = silence.lasts() => return Err(Error::UpstreamTimeout),
        };
        // A client that does not send what it announced is no failure of the upstream.
        let of_client = || body.and_then(|body| body.failure());
        let failed = |error| of_client().unwrap_or_else(|| failure(&error));
        let answer: Response<_> = answer.map_err(failed)?.into();
        self.long.note(answer.version());
        match answer.status().is_informational() {
            // The gateway asked for no upgrade, so 101 is no answer.
            true => Err(Error::UpstreamBroken),
            false => Ok(answer.map(|body| placed(silence.heard(body), place))),
        }
    }
}

/// An answer whose call keeps its place in the lane until it is read or dropped.
fn placed(body: WatchedBody<reqwest::Body>, place: Place) -> Body {
    Body::new(body.map_err(move |error| {
        let _held = &place;
        error
    }))
}

/// Whether a request may be sent once more. `is_safe` is one that does nothing at the upstream
/// (RFC 9110, 9.2.1).
fn may_repeat(
    error: &reqwest::Error,
    sent: Instant,
    is_safe: bool,
    body: Option<&SharedBody>,
) -> bool {
    // Without a connection hyper has read nothing from the body.
    error.is_connect()
        || is_safe && broke_off(error)
        || was_unread(error, sent) && body.is_none_or(SharedBody::rewind)
}
