//! Answers without vectors: OpenAI's error envelope, or the upstream's own words.

mod answer;
mod refusal;

use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use http::StatusCode;
use http::header::HeaderValue;

pub(crate) use self::answer::object;
pub use self::refusal::UpstreamRefusal;
use crate::embeddings::answer::Unsound;
use crate::http::tags::TagError;

/// The `Cache-Control` of every error: caches may store sound answers only.
pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The seconds after which a client should retry when the gateway is busy.
pub(crate) const BUSY_RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// An answer without vectors. Each variant is one thing that the client can do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("The request body is not valid JSON in UTF-8.")]
    NotJson,
    #[error("The request body is larger than {limit} bytes.")]
    BodyTooLarge { limit: usize },
    #[error("The request's headers are larger than {limit} bytes.")]
    HeadersTooLarge { limit: usize },
    #[error("The request body did not arrive in time.")]
    BodyTimeout,
    #[error("The request body broke off.")]
    BodyBroken,
    #[error("The request holds more than {limit} inputs.")]
    TooManyInputs { limit: usize },
    #[error("Input {index} is larger than {limit} bytes.")]
    InputTooLarge { index: usize, limit: usize },
    /// Of a request's distinct inputs, or of its inputs once the route has placed it.
    #[error("Input {index} is too long for the model.")]
    InputRefused {
        index: usize,
        refusal: Arc<UpstreamRefusal>,
    },
    #[error("The request must have one Host header.")]
    InvalidHost,
    #[error("Content-Length and Transfer-Encoding must not stand in one request.")]
    TwoLengths,
    #[error("This path does not take this method.")]
    MethodNotAllowed,
    #[error("There is nothing at this path. The API is below /v1/.")]
    NotFound,
    #[error("The path must not hold dot segments.")]
    DotSegments,
    #[error("This route is not allowed here.")]
    RouteNotAllowed,
    #[error(transparent)]
    Tag(#[from] TagError),
    #[error("Purged here, but other gateways do not know of it. Try again.")]
    PurgeNotSpread,
    #[error("This model is not allowed here.")]
    ModelNotAllowed,
    #[error("The key is missing or not known here.")]
    UnknownKey,
    #[error("The answer is not in the cache.")]
    NotCached,
    #[error("Too many requests are running. Try again.")]
    Busy,
    #[error("The gateway has no memory free for this request. Try again.")]
    NoRoom,
    #[error("The upstream's rate is used up. Try again in {} s.", seconds(*retry_after))]
    RateLimited { retry_after: Duration },
    #[error("The upstream cannot be reached.")]
    Unreachable,
    #[error("The upstream did not answer in time.")]
    UpstreamTimeout,
    #[error("The upstream's answer is unusable: {0}.")]
    Unsound(#[source] Arc<Unsound>),
    #[error("The upstream redirects. OPENAI_BASE_URL must name the place where its API is.")]
    Redirected,
    #[error("The upstream's answer broke off.")]
    UpstreamBroken,
    #[error("The upstream refuses the gateway's own key.")]
    GatewayKeyRefused,
    #[error("The gateway failed.")]
    Internal,
    /// The upstream answered with an error, which the client gets unchanged.
    #[error("The upstream answered {}.", .0.status)]
    Refused(Arc<UpstreamRefusal>),
}

/// An [`Error`]'s code, in the answer's extensions, where `gateway::service` counts it.
#[derive(Clone, Copy, Debug)]
pub struct Code(pub &'static str);

/// The code of every error that the upstream answered.
pub const UPSTREAM_REFUSED: Code = Code("upstream_refused");

/// Whether an answer of this status says that the upstream does not accept the credential.
pub fn is_of_credential(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

impl Error {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotJson
            | Self::BodyBroken
            | Self::InvalidHost
            | Self::TwoLengths
            | Self::TooManyInputs { .. }
            | Self::InputTooLarge { .. }
            | Self::Tag(_)
            | Self::DotSegments => StatusCode::BAD_REQUEST,
            Self::UnknownKey => StatusCode::UNAUTHORIZED,
            Self::RouteNotAllowed | Self::ModelNotAllowed => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::HeadersTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::GatewayKeyRefused
            | Self::Unreachable
            | Self::Unsound(_)
            | Self::Redirected
            | Self::UpstreamBroken => StatusCode::BAD_GATEWAY,
            Self::Busy | Self::NoRoom | Self::PurgeNotSpread => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotCached | Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Refused(refusal) | Self::InputRefused { refusal, .. } => refusal.status,
        }
    }

    /// The error's code in the envelope, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJson => "invalid_json",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::HeadersTooLarge { .. } => "headers_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::BodyBroken => "body_broken",
            Self::TooManyInputs { .. } => "too_many_inputs",
            Self::InputTooLarge { .. } => "input_too_large",
            Self::InputRefused { .. } => "input_too_long",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::InvalidHost => "invalid_host",
            Self::TwoLengths => "two_lengths",
            Self::NotFound => "not_found",
            Self::DotSegments => "invalid_path",
            Self::RouteNotAllowed => "route_not_allowed",
            Self::Tag(error) => error.code(),
            Self::PurgeNotSpread => "purge_not_spread",
            Self::ModelNotAllowed => "model_not_allowed",
            Self::UnknownKey => "invalid_api_key",
            Self::NotCached => "not_cached",
            Self::Busy => "busy",
            Self::NoRoom => "out_of_memory",
            Self::RateLimited { .. } => "rate_limit_exceeded",
            Self::Unreachable => "upstream_unreachable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Unsound(_) => "upstream_unusable",
            Self::Redirected => "upstream_redirects",
            Self::UpstreamBroken => "upstream_broken",
            Self::GatewayKeyRefused => "gateway_key_refused",
            Self::Internal => "internal_error",
            Self::Refused(_) => UPSTREAM_REFUSED.0,
        }
    }

    /// What broke a body that was read: a time-out of this program, or the client's connection.
    pub(crate) fn of_body(error: BoxError) -> Self {
        match error.downcast::<axum::Error>() {
            // Each layer of bodies may put it into another one.
            Ok(outer) => Self::of_body(outer.into_inner()),
            Err(error) => error.downcast().map_or(Self::BodyBroken, |own| *own),
        }
    }

    /// Whether the client alone is to blame.
    pub fn is_of_client(&self) -> bool {
        matches!(self, Self::BodyBroken | Self::BodyTimeout)
    }
}

/// In whole seconds, so that it is not too early.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
