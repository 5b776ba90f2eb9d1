//! CORS: which pages in a browser may read answers of the API.
//!
//! The gateway answers preflights itself: browsers send them without a key, so no upstream could.
//! It allows no credentials in the sense of CORS (cookies): clients send their keys in headers that
//! they name.

use axum::body::Body;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, HeaderMap,
    HeaderValue, ORIGIN, VARY,
};
use http::{Method, Request, Response, StatusCode};

use crate::config::CorsOrigins;
use crate::http::error::NO_STORE;

const ANY: HeaderValue = HeaderValue::from_static("*");

/// `*` for what the upstream adds; the names for browsers that do not know it.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "*, x-request-id, cache-status, retry-after, retry-after-ms, x-should-retry, \
     x-embedding-billed-tokens, x-ratelimit-limit-requests, x-ratelimit-limit-tokens, \
     x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, \
     x-ratelimit-reset-tokens, openai-organization, openai-processing-ms, openai-version, \
     apim-request-id, x-ms-request-id, x-ms-retry-after-ms",
);

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");

/// Two hours in seconds: no browser remembers a preflight for longer.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Names of the request's that decide what a preflight is answered.
const PREFLIGHT_VARY: HeaderValue =
    HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers");

/// Which answers a request's origin may read.
#[derive(Clone, Debug)]
pub struct Grant {
    /// `None` for an origin that is not listed.
    origin: Option<HeaderValue>,
    /// Whether another origin would get another answer.
    varies: bool,
}

/// What the origin of a request to the API is granted.
pub fn grant(origins: &CorsOrigins, request: &HeaderMap) -> Grant {
    match origins {
        CorsOrigins::Any => Grant {
            origin: Some(ANY),
            varies: false,
        },
        CorsOrigins::Listed(listed) => Grant {
            origin: request
                .get(ORIGIN)
                .filter(|origin| listed.contains(origin))
                .cloned(),
            varies: true,
        },
    }
}

/// The answer to a preflight; `None` for any other request.
pub fn preflight<B>(origins: &CorsOrigins, request: &Request<B>) -> Option<Response<Body>> {
    let asked = request.headers();
    let is_one = request.method() == Method::OPTIONS
        && request.uri().path().starts_with("/v1/")
        && asked.contains_key(ORIGIN)
        && asked.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    is_one.then(|| {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, NO_STORE);
        let grant = grant(origins, asked);
        if grant.origin.is_some() {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            for names in asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.append(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
        }
        grant.mark(headers);
        headers.append(VARY, PREFLIGHT_VARY);
        answer
    })
}

impl Grant {
    /// Writes the grant into an answer, in place of an upstream's.
    pub fn mark(self, answer: &mut HeaderMap) {
        for name in [
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            answer.remove(name);
        }
        if let Some(origin) = self.origin {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        if self.varies {
            answer.append(VARY, HeaderValue::from_static("Origin"));
        }
    }
}
