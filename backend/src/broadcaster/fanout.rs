//! Fans one purge out: to the backend first, then to every Varnish at once.
//!
//! The order matters. A purged Varnish fetches from the backend, and must not get the old vector
//! back. And a Varnish that starts meanwhile is either in the list, which is resolved after the
//! backend purged, or has filled itself from a purged backend.
//!
//! Varnish tests an answer against those purges only that come after it has stored the answer. One
//! that the backend sent before its purge may arrive after Varnish's, so Varnish is purged twice.

use std::net::SocketAddr;

use futures_util::future::join_all;
use http::header::{AUTHORIZATION, HeaderValue, InvalidHeaderValue};
use http::uri::Authority;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep, timeout};

use super::call::{self, Failure, PeerAnswer};
use super::config::{BroadcasterConfig, Timeouts};
use super::discovery::Discovery;
use super::error::PurgeError;
use super::purge_request::Purge;
use super::report::{Endpoint, Report};

/// The services to purge, and how to reach them.
#[derive(Debug)]
pub(super) struct Fanout {
    varnish: Service,
    backend: Service,
    /// The backend's token; Varnish gets none.
    authorization: Option<HeaderValue>,
    resolver: Discovery,
    timeouts: Timeouts,
}

/// A service's name and port, and its `Host`.
#[derive(Debug)]
struct Service {
    authority: Authority,
    host: HeaderValue,
}

impl Fanout {
    pub(super) fn new(config: &BroadcasterConfig) -> Result<Self, InvalidHeaderValue> {
        let services = &config.services;
        Ok(Self {
            varnish: Service::new(&services.varnish)?,
            backend: Service::new(&services.backend)?,
            authorization: services.backend_token.as_ref().map(bearer).transpose()?,
            resolver: Discovery::new(config.dns_servers.clone(), config.timeouts.resolve),
            timeouts: config.timeouts,
        })
    }

    /// Purges the backend, then every Varnish.
    pub(super) async fn run(&self, purge: &Purge) -> Result<Report, PurgeError> {
        let limit = self.timeouts.backend;
        let missed = timeout(limit, self.purge_backend(purge))
            .await
            .unwrap_or(Err(Failure::Timeout))
            .map_err(PurgeError::BackendFailed)?;
        let endpoints = self.addresses(&self.varnish).await;
        let endpoints = endpoints.ok_or(PurgeError::NoAddress)?;
        let calls = endpoints
            .into_iter()
            .map(|endpoint| self.purge_endpoint(endpoint, purge));
        let mut results = join_all(calls).await;
        results.extend(missed);
        Ok(Report::new(results))
    }

    /// Purges all addresses of the backend: behind a headless name that is every replica, which
    /// then knows of the purge at once. Returns the addresses that take no connection, if another
    /// one purged: such a replica may still answer a Varnish that reaches it.
    async fn purge_backend(&self, purge: &Purge) -> Result<Vec<Endpoint>, Failure> {
        let addresses = self.addresses(&self.backend).await;
        let addresses = addresses.ok_or(Failure::Unresolved)?;
        let began = Instant::now();
        let calls = addresses.iter().map(|&address| {
            let mut request = purge.request(&self.backend.host);
            if let Some(bearer) = &self.authorization {
                request.headers_mut().insert(AUTHORIZATION, bearer.clone());
            }
            call::send(address, request, self.timeouts.backend)
        });
        let (mut purged, mut missed) = (false, Vec::new());
        for (address, answer) in addresses.iter().zip(join_all(calls).await) {
            match answer.and_then(PeerAnswer::success) {
                Ok(()) => purged = true,
                Err(Failure::Connect) => {
                    missed.push(Endpoint::missed_backend(address.ip(), began.elapsed()));
                }
                Err(failure) => return Err(failure),
            }
        }
        purged.then_some(missed).ok_or(Failure::Connect)
    }

    async fn purge_endpoint(&self, address: SocketAddr, purge: &Purge) -> Endpoint {
        let first = self.purge_once(address, purge).await;
        if !first.success || self.timeouts.again.is_zero() {
            return first;
        }
        sleep(self.timeouts.again).await;
        let second = self.purge_once(address, purge).await;
        Endpoint {
            duration: first.duration + second.duration,
            ..second
        }
    }

    async fn purge_once(&self, address: SocketAddr, purge: &Purge) -> Endpoint {
        let began = Instant::now();
        let request = purge.request(&self.varnish.host);
        let answer = call::send(address, request, self.timeouts.endpoint).await;
        Endpoint::new(address.ip(), answer, began.elapsed())
    }

    /// The addresses of a service, if there are any.
    async fn addresses(&self, service: &Service) -> Option<Vec<SocketAddr>> {
        match self.resolver.addresses(&service.authority).await {
            Ok(addresses) => Some(addresses.into_iter().collect()),
            Err(error) => {
                tracing::warn!(service = %service.authority, %error, "no address");
                None
            }
        }
    }
}

impl Service {
    fn new(authority: &Authority) -> Result<Self, InvalidHeaderValue> {
        Ok(Self {
            authority: authority.clone(),
            host: HeaderValue::from_str(authority.as_str())?,
        })
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?;
    value.set_sensitive(true);
    Ok(value)
}
