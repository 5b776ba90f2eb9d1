//! The client for all calls to the upstream.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response};
use http_body::Body as _;
use reqwest::Url;

use super::encodings::{Encodings, is_of_request};
use super::lanes::Lanes;
use super::placed_body::PlacedBody;
use super::reply::{AnswerRoom, Reply};
use super::shared_body::SharedBody;
use super::silence::Silence;
use crate::config;
use crate::embeddings::request::Encoding;
use crate::http::client::http_client;
use crate::http::error::Error;
use crate::http::trust::{self, CaFileError};

/// What a client that does not read may leave of an answer over HTTP/2. It bounds how fast a
/// download is: so many bytes a round trip.
const STREAMED_WINDOW: u32 = 128 << 10;

/// The same of an embeddings answer, which the gateway reads at once.
const EMBEDDINGS_WINDOW: u32 = 2 << 20;

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
    /// Short calls, which no long answer keeps waiting.
    short: Lanes,
    long: Lanes,
    encodings: Encodings,
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

/// What an embeddings call asks.
#[expect(missing_debug_implementations, reason = "a function has none")]
pub struct Question<'a, W> {
    /// The model.
    pub model: &'a Arc<str>,
    /// The `encoding_format` that the client asks for.
    pub encoding: Option<Encoding>,
    /// Writes the body of a call in an encoding.
    pub body: W,
}

impl Client {
    /// A client for `upstream`.
    pub fn new(upstream: &config::UpstreamConfig) -> Result<Self, ClientError> {
        let own = upstream.ca_file.as_deref().map(trust::authorities_in);
        let own = own.transpose()?.unwrap_or_default();
        let (connect, pool_idle) = (upstream.connect_timeout, upstream.pool_idle);
        let client = move || {
            http_client()
                .tls_certs_merge(own.clone())
                .connect_timeout(connect)
                .pool_idle_timeout(pool_idle)
        };
        let is_tls = upstream.base_url.scheme() == "https";
        Ok(Self {
            short: Lanes::new(is_tls, EMBEDDINGS_WINDOW, client.clone())?,
            long: Lanes::new(is_tls, STREAMED_WINDOW, client)?,
            encodings: Encodings::new(upstream.encoding),
            base: upstream.base_url.clone(),
            timeout: upstream.timeout,
            idle_timeout: upstream.idle_timeout,
            max_inputs: upstream.max_inputs,
        })
    }

    /// Asks for embeddings. `credential`, the query and nothing else of the caller goes along.
    ///
    /// If the upstream may have refused only how vectors are to be written, it is asked once more
    /// without a word of that.
    pub async fn embeddings<W: Fn(Option<Encoding>) -> Bytes>(
        &self,
        query: Option<&str>,
        credential: HeaderMap,
        question: &Question<'_, W>,
        room: AnswerRoom,
    ) -> Result<Reply, Error> {
        let answer = self.ask(query, &credential, question, &room).await;
        answer.map(|(headers, body)| Reply::new(headers, body, room))
    }

    async fn ask<W: Fn(Option<Encoding>) -> Bytes>(
        &self,
        query: Option<&str>,
        credential: &HeaderMap,
        question: &Question<'_, W>,
        room: &AnswerRoom,
    ) -> Result<(HeaderMap, Bytes), Error> {
        let Question {
            model,
            encoding: asked,
            body,
        } = question;
        let sent = self.encodings.for_call(model, *asked);
        let call = |body| self.call_embeddings(query, credential, body, room);
        let first = call(body(sent)).await;
        match &first {
            Ok(_) => self.encodings.taken(model, sent),
            Err(Error::Refused(refusal)) if self.encodings.may_be_refused(model, sent, refusal) => {
                let second = call(body(None)).await;
                return match &second {
                    Ok(_) => {
                        self.encodings.refused(model);
                        second
                    }
                    // The client asked just so.
                    Err(Error::Refused(refusal)) if *asked == sent && is_of_request(refusal) => {
                        first
                    }
                    Err(_) => second,
                };
            }
            Err(_) => {}
        }
        first
    }

    async fn call_embeddings(
        &self,
        query: Option<&str>,
        credential: &HeaderMap,
        body: Bytes,
        room: &AnswerRoom,
    ) -> Result<(HeaderMap, Bytes), Error> {
        let url = self.url(EMBEDDINGS, query);
        let time = self.patience(room.inputs()) * CALL_GOES_ON;
        let place = self.short.place();
        let call = || {
            let mut request = reqwest::Request::new(Method::POST, url.clone());
            *request.headers_mut() = credential.clone();
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            *request.body_mut() = Some(body.clone().into());
            *request.timeout_mut() = Some(time);
            place.http().execute(request)
        };
        let answer = match call().await {
            // Without a connection nothing was sent, so nothing can be charged twice.
            Err(error) if error.is_connect() => call().await,
            other => other,
        };
        let answer = answer.map_err(|error| failure(&error))?;
        self.short.note(answer.version());
        room.read(answer.into()).await
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
        let place = self.long.place();
        let call = || {
            let mut call = reqwest::Request::new(parts.method.clone(), url.clone());
            *call.headers_mut() = parts.headers.clone();
            *call.body_mut() = body.clone().map(reqwest::Body::wrap);
            place.http().execute(call)
        };
        // What may be sent again does nothing at the upstream (RFC 9110, 9.2.1).
        let is_safe = parts.method.is_safe() && body.is_none();
        let answer = async {
            match call().await {
                // Without a connection hyper has read nothing from the body.
                Err(error) if error.is_connect() || is_safe && broke_off(&error) => call().await,
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
        self.long.note(answer.version());
        match answer.status().is_informational() {
            // The gateway asked for no upgrade, so 101 is no answer.
            true => Err(Error::UpstreamBroken),
            false => Ok(answer.map(|body| Body::new(PlacedBody::new(silence.heard(body), place)))),
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

/// Whether the connection ended before an answer came. Most often the upstream closed an idle
/// connection just as the request was sent.
fn broke_off(error: &reqwest::Error) -> bool {
    let causes = successors(error.source(), |&cause| cause.source());
    causes.into_iter().any(|cause| {
        let ended = cause.downcast_ref::<hyper::Error>();
        let ended = ended.is_some_and(|e| e.is_incomplete_message() || e.is_canceled());
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        ended || matches!(io, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
    })
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
