//! Requests that go upstream as the client made them: those that the gateway does not understand,
//! and those whose refusal is to name the client's places.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderValue};

use super::{Answered, EmbeddingsRequest};
use crate::embeddings::request::{named_model, with_model};
use crate::gateway::observed_body::ResponseBody;
use crate::gateway::routes::passthrough;
use crate::http::error::{Error, UpstreamRefusal};
use crate::http::headers;
use crate::resolver::failover;
use crate::telemetry::{Bypass, Failover};
use crate::upstream::{Group, Member};

const BYPASS: HeaderValue = HeaderValue::from_static("embedding-gateway; fwd=bypass");

/// What a call is taken to hold whose body the gateway does not understand.
const UNKNOWN_INPUTS: usize = 1;

/// Statuses of refusals that name an input by its place.
const POSITIONED: [StatusCode; 3] = [
    StatusCode::BAD_REQUEST,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNPROCESSABLE_ENTITY,
];

/// A request of several inputs as the client made it, which the upstream may see in parts only.
pub(super) struct OwnRequest {
    pub(super) request: Box<EmbeddingsRequest>,
    pub(super) body: Bytes,
    pub(super) inputs: usize,
}

impl EmbeddingsRequest {
    /// Forwards a request that the gateway does not understand, and caches nothing of it.
    pub(super) async fn bypass(
        self: Box<Self>,
        body: Bytes,
        reason: Bypass,
    ) -> Result<Answered, Error> {
        let (mut response, outcome) = self.forward(body).await?;
        response.extensions_mut().insert(reason);
        Ok((response, outcome))
    }

    /// Asks an upstream of the model that serves, by its own name for it, and another one where that
    /// one's failure is its own, as for calls that the gateway understands. Only an answer that has
    /// begun is the client's.
    async fn forward(self: Box<Self>, body: Bytes) -> Result<Answered, Error> {
        let model = named_model(&body).unwrap_or_default();
        let group = self.app.upstreams.group(&model);
        let (mut response, repeated) = match group.is_single() {
            true => (self.ask(group.first(), &body).await?, 0),
            false => self.ask_group(&group, &model, &body).await?,
        };
        let headers = response.headers_mut();
        headers.append(headers::CACHE_STATUS, status(repeated));
        Ok((response.map(ResponseBody::Stream), None))
    }

    /// The answer, and how many calls before it may have been charged.
    async fn ask_group(
        &self,
        group: &Group,
        model: &str,
        body: &Bytes,
    ) -> Result<(Response<Body>, u32), Error> {
        let metrics = &self.app.metrics;
        let (mut tried, mut charged) = (Vec::new(), 0);
        let mut last = Err(Error::Unreachable);
        group.begin_call();
        while let Some(chosen) = group.choose(&tried, UNKNOWN_INPUTS) {
            tried.push(chosen.member);
            last = self.ask(chosen.member, body).await;
            let Some(why) = why_elsewhere(&last) else {
                failover::note_answer(&chosen);
                break;
            };
            failover::note_failure(metrics, &chosen, why);
            if !group.has_other(&tried) || !group.may_repeat(&chosen, &tried, why) {
                break;
            }
            charged += u32::from(why.may_be_charged());
            failover::note_failover(metrics, model, chosen.member, why);
        }
        Ok((last?, charged))
    }

    async fn ask(&self, member: &Member, body: &Bytes) -> Result<Response<Body>, Error> {
        let body = match &member.own {
            Some(own) => with_model(body.clone(), own),
            None => body.clone(),
        };
        let length = body.len();
        let mut request = Request::from_parts(self.parts.clone(), Body::from(body));
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        let (app, trace) = (&self.app, &self.context.trace);
        passthrough::forward(app, &self.caller, &member.upstream, request, trace).await
    }
}

/// Why another upstream may do better, if it may.
fn why_elsewhere(answer: &Result<Response<Body>, Error>) -> Option<Failover> {
    match answer {
        Ok(response) => failover::reason_of_status(response.status()),
        Err(error) => failover::reason(error),
    }
}

/// The gateway's member of `Cache-Status`.
fn status(repeated: u32) -> HeaderValue {
    let told = format!("embedding-gateway; fwd=bypass; detail=\"repeated={repeated}\"");
    match repeated {
        0 => BYPASS,
        _ => HeaderValue::try_from(told).unwrap_or(BYPASS),
    }
}

impl OwnRequest {
    /// Whether the upstream may have refused an input at a place that is not the client's.
    pub(super) fn is_misplaced(&self, refusal: &UpstreamRefusal) -> bool {
        refusal.inputs != self.inputs && POSITIONED.contains(&refusal.status)
    }

    /// Asks the upstream what the client asked: its refusal then names the client's places.
    pub(super) async fn repeat(self) -> Result<Answered, Error> {
        self.request.forward(self.body).await
    }
}
