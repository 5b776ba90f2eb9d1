//! The broadcaster under test, and its answers.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use embedding_gateway::broadcaster::config::BroadcasterConfig;
use embedding_gateway::broadcaster::{Broadcaster, build_router};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::peer::Peer;
use crate::zone::{NAME, Zone};

pub struct Service {
    pub broadcaster: Arc<Broadcaster>,
    router: Router,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

/// The variables of a broadcaster of this zone and backend, whose Varnishes are on `port`. It purges
/// each of them once, and so without a pause.
pub fn variables(zone: &Zone, backend: &Peer, port: u16) -> Vec<(String, String)> {
    let pairs = [
        ("VARNISH_SERVICE", format!("{NAME}:{port}")),
        ("BACKEND_SERVICE", backend.address.to_string()),
        ("DNS_SERVERS", zone.address.to_string()),
        ("ALLOW_ANONYMOUS_PURGE", "true".to_owned()),
        ("PURGE_AGAIN_AFTER", "0s".to_owned()),
        // However slow the machine is, a peer that answers does so in time.
        ("ENDPOINT_TIMEOUT", "60s".to_owned()),
        ("SHUTDOWN_GRACE", "200s".to_owned()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}

impl Service {
    pub fn start(zone: &Zone, backend: &Peer, port: u16) -> Self {
        Self::start_with(zone, backend, port, &[])
    }

    pub fn start_with(zone: &Zone, backend: &Peer, port: u16, more: &[(&str, &str)]) -> Self {
        let own = variables(zone, backend, port);
        let more = more
            .iter()
            .map(|&(name, value)| (name.into(), value.into()));
        let config = BroadcasterConfig::from_variables(own.into_iter().chain(more)).unwrap();
        let broadcaster = Broadcaster::new(config).unwrap();
        Self {
            router: build_router(Arc::clone(&broadcaster)),
            broadcaster,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    pub async fn purge(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(purge(target, headers)).await
    }

    /// The value of one line of `/metrics`.
    pub async fn metric(&self, line: &str) -> String {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let page = response.into_body().collect().await.unwrap().to_bytes();
        let page = String::from_utf8(page.to_vec()).unwrap();
        let value = page.lines().find_map(|found| found.strip_prefix(line));
        value.unwrap().trim().to_owned()
    }
}

pub fn purge(target: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method("PURGE").uri(target);
    for &(name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Body::empty()).unwrap()
}

impl Answer {
    /// The names of the pods, each with the status that it answered.
    pub fn pods(&self) -> Vec<(&str, Option<u64>)> {
        let results = self.body["results"].as_array().unwrap();
        results
            .iter()
            .map(|result| (result["pod"].as_str().unwrap(), result["status"].as_u64()))
            .collect()
    }

    /// Total, success, failed.
    pub fn counts(&self) -> [u64; 3] {
        ["total", "success", "failed"].map(|name| self.body[name].as_u64().unwrap())
    }

    pub fn code(&self) -> &str {
        let error = &self.body["error"];
        assert!(error["message"].is_string() && error["type"].is_string());
        assert!(error.as_object().unwrap().contains_key("param"));
        error["code"].as_str().unwrap()
    }
}
