//! The client for all calls to the upstream.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use reqwest::Url;

use super::shared_body::SharedBody;
use crate::config;
use crate::http::client::http_client;
use crate::http::error::{Error, UpstreamRefusal};
use crate::http::headers;
use crate::http::trust::{self, CaFileError};

/// Bound on an embeddings answer: 2,048 vectors of 4,096 numbers, each written out in full.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Idle connections close before balancers close them after their usual 60 s.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// The path below the base URL.
const EMBEDDINGS: &str = "/embeddings";

/// The client for the configured upstream.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
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
}

impl Client {
    /// A client for `upstream`.
    pub fn new(upstream: &config::UpstreamConfig) -> Result<Self, ClientError> {
        let own = upstream.ca_file.as_deref().map(trust::authorities_in);
        let http = http_client()
            .tls_certs_merge(own.transpose()?.unwrap_or_default())
            .connect_timeout(upstream.connect_timeout)
            .read_timeout(upstream.idle_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .build()?;
        Ok(Self {
            http,
            base: upstream.base_url.clone(),
            timeout: upstream.timeout,
            max_inputs: upstream.max_inputs,
        })
    }

    /// Asks for embeddings. `credential`, the query and nothing else of the caller goes along.
    pub async fn embeddings(
        &self,
        query: Option<&str>,
        credential: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, Error> {
        let url = self.url(EMBEDDINGS, query);
        let call = || {
            let mut request = reqwest::Request::new(Method::POST, url.clone());
            *request.headers_mut() = credential.clone();
            request
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.clone().into());
            *request.timeout_mut() = Some(self.timeout);
            self.http.execute(request)
        };
        let answer = match call().await {
            // Without a connection nothing was sent, so nothing can be charged twice.
            Err(error) if error.is_connect() => call().await,
            other => other,
        };
        read(answer.map_err(|error| failure(&error))?.into()).await
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
    ) -> Result<Response<reqwest::Body>, Error> {
        let (parts, body) = request.into_parts();
        let url = self.url(path, parts.uri.query());
        let body = (!body.is_end_stream()).then(|| SharedBody::new(body));
        let call = || {
            let mut call = reqwest::Request::new(parts.method.clone(), url.clone());
            *call.headers_mut() = parts.headers.clone();
            *call.body_mut() = body.clone().map(reqwest::Body::wrap);
            self.http.execute(call)
        };
        let answer = match call().await {
            // Without a connection hyper has read nothing from the body.
            Err(error) if error.is_connect() => call().await,
            other => other,
        };
        answer.map(Into::into).map_err(|error| failure(&error))
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

async fn read(answer: Response<reqwest::Body>) -> Result<Reply, Error> {
    let (parts, body) = answer.into_parts();
    let headers = headers::for_caller(&parts.headers);
    let body = Limited::new(body, MAX_ANSWER_BYTES)
        .collect()
        .await
        .map_err(|error| match error.downcast::<reqwest::Error>() {
            Ok(error) if error.is_timeout() => Error::UpstreamTimeout,
            // The answer broke off, or is longer than the bound.
            _ => Error::UpstreamBroken,
        })?;
    let body = body.to_bytes();
    match parts.status {
        StatusCode::OK => Ok(Reply { headers, body }),
        status => Err(Error::Refused(Arc::new(UpstreamRefusal {
            status,
            headers,
            body,
        }))),
    }
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
