//! The client for all calls to the upstream.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use reqwest::Url;
use serde_json::json;

use super::shared_body::SharedBody;
use super::silence::Silence;
use crate::config;
use crate::http::byte_budget::Reservation;
use crate::http::client::http_client;
use crate::http::codings;
use crate::http::collect::{Uncollected, collect};
use crate::http::error::{self, Error, UpstreamRefusal};
use crate::http::headers;
use crate::http::trust::{self, CaFileError};

/// Bound on an embeddings answer: 2,048 vectors of 4,096 numbers, each written out in full.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Bound on an answer for each of its inputs: 10,000 numbers, each written out in full.
const MAX_INPUT_ANSWER_BYTES: usize = 256 << 10;

/// Bound on the rest of an answer, or on an error.
const MAX_FRAME_BYTES: usize = 1 << 20;

/// Idle connections close before balancers close them after their usual 60 s.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// Inputs of a call that `UPSTREAM_TIMEOUT` is meant for.
const USUAL_INPUTS: usize = 256;

/// A call goes on for so many times as long as a client waits for it: the upstream charges for it
/// in any case, and the client's next try finds its vectors.
const CALL_GOES_ON: u32 = 4;

/// The path below the base URL.
const EMBEDDINGS: &str = "/embeddings";

/// The client for the configured upstream.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
    idle_timeout: Duration,
    max_inputs: usize,
}

/// The client cannot be built as configured.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ClientError {
    #[error("UPSTREAM_CA_FILE: {0}")]
    Authorities(#[from] CaFileError),
    #[error("the HTTP client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

/// A successful answer to an embeddings call, not checked yet.
#[derive(Debug)]
pub struct Reply {
    /// Those of its headers that the client gets.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What the body takes of the budget of all requests.
    _room: Reservation,
}

/// What an embeddings answer may take.
#[derive(Debug)]
pub struct AnswerRoom {
    inputs: usize,
    reservation: Reservation,
}

impl AnswerRoom {
    /// Room for the vectors of so many inputs, as far as `reservation` finds it.
    pub fn new(inputs: usize, reservation: Reservation) -> Self {
        Self {
            inputs,
            reservation,
        }
    }

    fn limit(&self) -> usize {
        let vectors = MAX_INPUT_ANSWER_BYTES.saturating_mul(self.inputs);
        vectors
            .saturating_add(MAX_FRAME_BYTES)
            .min(MAX_ANSWER_BYTES)
    }

    async fn take(&self, body: reqwest::Body) -> Result<Bytes, Error> {
        let body = collect(body, self.limit(), &self.reservation).await;
        body.map_err(|error| match error {
            Uncollected::NoRoom => Error::NoRoom,
            Uncollected::Broken(error) if error.is_timeout() => Error::UpstreamTimeout,
            // The answer broke off, or is longer than the bound.
            Uncollected::Broken(_) | Uncollected::TooLarge => Error::UpstreamBroken,
        })
    }
}

impl Client {
    /// A client for `upstream`.
    pub fn new(upstream: &config::UpstreamConfig) -> Result<Self, ClientError> {
        let own = upstream.ca_file.as_deref().map(trust::authorities_in);
        let http = http_client()
            .tls_certs_merge(own.transpose()?.unwrap_or_default())
            .connect_timeout(upstream.connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .build()?;
        Ok(Self {
            http,
            base: upstream.base_url.clone(),
            timeout: upstream.timeout,
            idle_timeout: upstream.idle_timeout,
            max_inputs: upstream.max_inputs,
        })
    }

    /// Asks for embeddings. `credential`, the query and nothing else of the caller goes along.
    pub async fn embeddings(
        &self,
        query: Option<&str>,
        credential: HeaderMap,
        body: Bytes,
        room: AnswerRoom,
    ) -> Result<Reply, Error> {
        let url = self.url(EMBEDDINGS, query);
        let time = self.patience(room.inputs) * CALL_GOES_ON;
        let call = || {
            let mut request = reqwest::Request::new(Method::POST, url.clone());
            *request.headers_mut() = credential.clone();
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            *request.body_mut() = Some(body.clone().into());
            *request.timeout_mut() = Some(time);
            self.http.execute(request)
        };
        let answer = match call().await {
            // Without a connection nothing was sent, so nothing can be charged twice.
            Err(error) if error.is_connect() => call().await,
            other => other,
        };
        read(answer.map_err(|error| failure(&error))?.into(), room).await
    }

    /// How long a client waits for a call of so many inputs: in proportion to them beyond
    /// [`USUAL_INPUTS`]. The call itself goes on for longer, so that its answer is kept.
    pub fn patience(&self, inputs: usize) -> Duration {
        let inputs = inputs.min(self.max_inputs).max(USUAL_INPUTS);
        self.timeout.mul_f64(inputs as f64 / USUAL_INPUTS as f64)
    }

    /// The most inputs of one embeddings call.
    pub fn max_inputs(&self) -> usize {
        self.max_inputs
    }

    /// The URL of embeddings calls.
    pub fn embeddings_url(&self) -> Url {
        self.url(EMBEDDINGS, None)
    }

    /// Forwards a request. `path` is the part after `/v1`, with its slash.
    pub async fn forward(
        &self,
        request: Request<Body>,
        path: &str,
    ) -> Result<Response<Body>, Error> {
        let (parts, body) = request.into_parts();
        let url = self.url(path, parts.uri.query());
        let silence = Silence::begin(self.idle_timeout);
        let body = (!body.is_end_stream()).then(|| SharedBody::new(body, &silence));
        let call = || {
            let mut call = reqwest::Request::new(parts.method.clone(), url.clone());
            *call.headers_mut() = parts.headers.clone();
            *call.body_mut() = body.clone().map(reqwest::Body::wrap);
            self.http.execute(call)
        };
        let answer = async {
            match call().await {
                // Without a connection hyper has read nothing from the body.
                Err(error) if error.is_connect() => call().await,
                other => other,
            }
        };
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            () = silence.lasts() => return Err(Error::UpstreamTimeout),
        };
        let answer: Response<_> = match answer {
            Ok(answer) => answer.into(),
            // A client that does not send what it announced is no failure of the upstream.
            Err(error) => {
                let of_client = body.and_then(|body| body.failure());
                return Err(of_client.unwrap_or_else(|| failure(&error)));
            }
        };
        match answer.status().is_informational() {
            // The gateway asked for no upgrade, so 101 is no answer.
            true => Err(Error::UpstreamBroken),
            false => Ok(answer.map(|body| Body::new(silence.heard(body)))),
        }
    }

    /// The upstream's URL of `path`, which must hold no dot segments: a URL resolves them.
    pub fn url(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let queries = [self.base.query(), query].into_iter().flatten();
        let queries: Vec<_> = queries.filter(|query| !query.is_empty()).collect();
        url.set_query((!queries.is_empty()).then(|| queries.join("&")).as_deref());
        url
    }
}

async fn read(answer: Response<reqwest::Body>, room: AnswerRoom) -> Result<Reply, Error> {
    let (parts, body) = answer.into_parts();
    let mut headers = headers::for_caller(&parts.headers);
    let limit = room.limit();
    let status = parts.status;
    if status.is_redirection() {
        return Err(Error::Redirected);
    }
    let body = codings::decode(&parts.headers, room.take(body).await?, limit).await;
    match status {
        // Any of them may hold vectors; its body shows it.
        status if status.is_success() => Ok(Reply {
            headers,
            body: body.map_err(|_| Error::UpstreamBroken)?,
            _room: room.reservation,
        }),
        status if status.is_client_error() || status.is_server_error() => {
            // The client acts on the status, with words or without.
            let body = body.unwrap_or_else(|_| {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                unreadable(status)
            });
            Err(Error::Refused(Arc::new(UpstreamRefusal {
                status,
                headers,
                body,
                inputs: room.inputs,
            })))
        }
        _ => Err(Error::UpstreamBroken),
    }
}

/// Stands for an error's body in a coding that cannot be taken off.
fn unreadable(status: StatusCode) -> Bytes {
    let message = format!("The upstream answered {status} with a body that cannot be decoded.");
    let error = error::object(status, &message, None, error::UPSTREAM_REFUSED.0);
    json!({ "error": error }).to_string().into()
}

fn failure(error: &reqwest::Error) -> Error {
    if error.is_timeout() {
        Error::UpstreamTimeout
    } else if error.is_connect() {
        Error::Unreachable
    } else {
        Error::UpstreamBroken
    }
}
