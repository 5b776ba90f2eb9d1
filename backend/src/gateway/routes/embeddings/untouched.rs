//! Requests that go upstream as the client made them: those that the gateway does not understand,
//! and those whose refusal is to name the client's places.

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderValue};

use super::{Answered, EmbeddingsRequest};
use crate::embeddings::request::{named_model, with_model};
use crate::gateway::observed_body::ResponseBody;
use crate::gateway::routes::passthrough;
use crate::http::error::{Error, UpstreamRefusal};
use crate::http::headers;
use crate::telemetry::Bypass;
use crate::upstream::Member;

const BYPASS: HeaderValue = HeaderValue::from_static("embedding-gateway; fwd=bypass");

/// Statuses of refusals that name an input by its place.
const POSITIONED: [StatusCode; 3] = [
    StatusCode::BAD_REQUEST,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNPROCESSABLE_ENTITY,
];

/// A request of several inputs as the client made it, which the upstream may see in parts only.
pub(super) struct OwnRequest {
    pub(super) request: EmbeddingsRequest,
    pub(super) body: Bytes,
    pub(super) inputs: usize,
}

impl EmbeddingsRequest {
    /// Forwards a request that the gateway does not understand, and caches nothing of it.
    pub(super) async fn bypass(self, body: Bytes, reason: Bypass) -> Result<Answered, Error> {
        let (mut response, outcome) = self.forward(body).await?;
        response.extensions_mut().insert(reason);
        Ok((response, outcome))
    }

    /// Asks the upstream that is the first for the model, by its own name for it.
    async fn forward(self, body: Bytes) -> Result<Answered, Error> {
        let model = named_model(&body);
        let group = self
            .app
            .upstreams
            .group(model.as_deref().unwrap_or_default());
        let Member { upstream, own, .. } = group.first();
        let body = match own {
            Some(own) => with_model(body, own),
            None => body,
        };
        let length = body.len();
        let mut request = Request::from_parts(self.parts, Body::from(body));
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        let (app, caller) = (&self.app, &self.caller);
        let mut response =
            passthrough::forward(app, caller, upstream, request, &self.context.trace).await?;
        response.headers_mut().append(headers::CACHE_STATUS, BYPASS);
        Ok((response.map(ResponseBody::Stream), None))
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
