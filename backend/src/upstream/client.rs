//! The client for all calls to the upstream.

use std::time::Duration;

use reqwest::Url;

use super::call_limits::LearntLimits;
use super::encodings::Encodings;
use super::lanes::Lanes;
use super::pace::Paces;
use crate::config;
use crate::http::client::http_client;
use crate::http::error::Error;
use crate::http::trust::{self, CaFileError};

/// What a client that does not read may leave of an answer over HTTP/2. It bounds how fast a
/// download is: so many bytes a round trip.
const STREAMED_WINDOW: u32 = 128 << 10;

/// The same of an embeddings answer, which the gateway reads at once.
const EMBEDDINGS_WINDOW: u32 = 2 << 20;

/// The client for the configured upstream.
#[derive(Debug)]
pub struct Client {
    /// Short calls, which no long answer keeps waiting.
    pub(super) short: Lanes,
    pub(super) long: Lanes,
    pub(super) encodings: Encodings,
    base: Url,
    pub(super) timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_inputs: usize,
    pub(super) limits: LearntLimits,
    pub(super) paces: Paces,
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
        let max_age = upstream.connection_age;
        Ok(Self {
            short: Lanes::new(is_tls, EMBEDDINGS_WINDOW, max_age, client.clone())?,
            long: Lanes::new(is_tls, STREAMED_WINDOW, max_age, client)?,
            encodings: Encodings::new(upstream.encoding),
            base: upstream.base_url.clone(),
            timeout: upstream.timeout,
            idle_timeout: upstream.idle_timeout,
            max_inputs: upstream.limits.inputs,
            limits: LearntLimits::new(upstream.limits),
            paces: Paces::new(upstream.rate),
        })
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

pub(super) fn failure(error: &reqwest::Error) -> Error {
    if error.is_timeout() {
        Error::UpstreamTimeout
    } else if error.is_connect() {
        Error::Unreachable
    } else {
        Error::UpstreamBroken
    }
}
