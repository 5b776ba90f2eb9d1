//! The client for all calls to the upstream.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use reqwest::Url;

use super::encodings::Encodings;
use super::lanes::Lanes;
use super::pace::Paces;
use crate::config::{CallLimits, EgressProxy, UpstreamConfig};
use crate::http::authorities::{self, CaFileError};
use crate::http::client::http_client;
use crate::http::error::Error;

/// What a client that does not read may leave of an answer over HTTP/2. It bounds how fast a
/// download is: so many bytes a round trip.
const STREAMED_WINDOW: u32 = 128 << 10;

/// The same of an embeddings answer, which the gateway reads at once.
const EMBEDDINGS_WINDOW: u32 = 2 << 20;

/// The client for one upstream.
#[derive(Debug)]
pub struct Client {
    /// Short calls, which no long answer keeps waiting.
    pub(super) short: Lanes,
    pub(super) long: Lanes,
    pub(super) encodings: Encodings,
    name: Arc<str>,
    priority: u32,
    weight: u32,
    base: Url,
    /// What every call has, besides what is its own.
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    pub(super) failover_after: Duration,
    pub(super) idle_timeout: Duration,
    /// What the operator says of one call.
    pub(super) limits: CallLimits,
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
    pub fn new(upstream: &UpstreamConfig) -> Result<Self, ClientError> {
        let own = upstream.ca_file.as_deref().map(authorities::authorities_in);
        let own = own.transpose()?.unwrap_or_default();
        let (connect, pool_idle) = (upstream.connect_timeout, upstream.pool_idle);
        let proxy = upstream.proxy.as_ref().map(proxy).transpose()?;
        let client = move || {
            let client = http_client()
                .tls_certs_merge(own.clone())
                .connect_timeout(connect)
                .pool_idle_timeout(pool_idle);
            proxy
                .iter()
                .cloned()
                .fold(client, reqwest::ClientBuilder::proxy)
        };
        let is_tls = upstream.base_url.scheme() == "https";
        let max_age = upstream.connection_age;
        Ok(Self {
            short: Lanes::new(is_tls, EMBEDDINGS_WINDOW, max_age, client.clone())?,
            long: Lanes::new(is_tls, STREAMED_WINDOW, max_age, client)?,
            encodings: Encodings::new(upstream.encoding),
            name: Arc::clone(&upstream.name),
            priority: upstream.priority,
            weight: upstream.weight,
            failover_after: upstream.failover_after,
            base: upstream.base_url.clone(),
            headers: upstream.headers.clone(),
            timeout: upstream.timeout,
            idle_timeout: upstream.idle_timeout,
            limits: upstream.limits,
            paces: Paces::new(upstream.rate),
        })
    }

    /// Those with a lower number are asked first.
    pub(super) fn priority(&self) -> u32 {
        self.priority
    }

    /// Its share of the calls.
    pub(super) fn weight(&self) -> u32 {
        self.weight
    }

    /// The operator's name for it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
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

fn proxy(of: &EgressProxy) -> reqwest::Result<reqwest::Proxy> {
    let proxy = match of.is_for_all {
        true => reqwest::Proxy::all(of.url.clone()),
        false => reqwest::Proxy::https(of.url.clone()),
    };
    let except = of.except.as_deref();
    Ok(proxy?.no_proxy(except.and_then(reqwest::NoProxy::from_string)))
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
