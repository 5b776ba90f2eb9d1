//! The gateway under test, and readers of its answers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use embedding_gateway::config::Config;
use embedding_gateway::gateway;
use embedding_gateway::gateway::app::App;
use embedding_gateway::gateway::observed_body::ObservedBody;
use embedding_gateway::http::server;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::secrets;

/// A key that the fake upstream accepts like any other.
pub const KEY: &str = "Bearer sk-test-key-of-a-caller";

/// The line of `/metrics` that tells what model `m` has cost.
pub const BILLED: &str = "embedding_gateway_billed_tokens_total{model=\"m\"}";

pub struct Gateway {
    pub app: Arc<App>,
    service: Arc<gateway::Gateway>,
    _watching: JoinSet<()>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Gateway {
    /// [`super::Setup`] calls it.
    pub(super) async fn start(variables: impl Iterator<Item = (String, String)>) -> Self {
        secrets::listen();
        let variables: Vec<_> = variables.collect();
        secrets::in_variables(&variables);
        let config = Config::from_variables(variables).unwrap();
        let app = App::start(config).await.unwrap();
        let service = gateway::Gateway::new(Arc::clone(&app));
        let watched = Arc::clone(&app);
        let mut watching = JoinSet::new();
        watching.spawn(async move { match watched.watch().await {} });
        Self {
            app,
            service,
            _watching: watching,
        }
    }

    /// Sends a request with the usual key.
    pub async fn embed(&self, body: Value) -> Answer {
        self.send(post(&body)).await
    }

    /// Sends a request, and leaves it to the caller to read the answer.
    pub async fn begin(&self, request: Request<Body>) -> Response<ObservedBody> {
        secrets::in_headers(request.headers());
        self.service.answer(request).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.begin(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if parts.status.is_client_error() || parts.status.is_server_error() {
            secrets::search("an error", &body);
        }
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// Earns hits for the usual key and model `m` with an input of its own.
    pub async fn warm_up(&self) {
        let answer = self
            .embed(json!({"model": "m", "input": "to be accepted"}))
            .await;
        assert_eq!(answer.status, StatusCode::OK);
    }

    /// Puts the gateway on a socket for as long as the `JoinSet` lives.
    pub async fn serve(&self) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Arc::clone(&self.service).into_service();
        let limits = self.app.limits.clone();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            server::serve(listener, service, &limits, std::future::pending()).await;
        });
        (address, serving)
    }

    /// The value of one line of `/metrics`, 0 if it is not there.
    pub fn metric(&self, line: &str) -> u64 {
        let text = self.metrics();
        let value = text.lines().find_map(|found| found.strip_prefix(line));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }

    fn metrics(&self) -> String {
        self.app.metrics.render(&self.app.gauges())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        secrets::search("the metrics", self.metrics().as_bytes());
        if !std::thread::panicking() {
            secrets::assert_none_found();
        }
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The float vectors of a 200, which must stand in order.
    #[track_caller]
    pub fn vectors(&self) -> Vec<Vec<f32>> {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        let data = self.json()["data"].as_array().unwrap().clone();
        for (index, item) in data.iter().enumerate() {
            assert_eq!(item["index"], index);
        }
        self.vectors_by_index()
    }

    /// Those of a 200 in whichever order they stand.
    #[track_caller]
    pub fn vectors_by_index(&self) -> Vec<Vec<f32>> {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        let mut data = self.json()["data"].as_array().unwrap().clone();
        data.sort_by_key(|item| item["index"].as_u64());
        let vector = |item: &Value| {
            let text = item["embedding"].to_string();
            text.trim_matches(['[', ']'])
                .split(',')
                .map(|n| n.parse().unwrap())
                .collect()
        };
        data.iter().map(vector).collect()
    }

    /// The `code` of the gateway's own error envelope, which must be complete.
    #[track_caller]
    pub fn error_code(&self) -> String {
        let error = self.json()["error"].clone();
        assert!(
            error["message"].is_string() && error["type"].is_string(),
            "{error}"
        );
        assert!(error.as_object().unwrap().contains_key("param"), "{error}");
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("content-type"), "application/json");
        error["code"].as_str().unwrap().to_owned()
    }
}

/// An embeddings request with the usual key.
pub fn post(body: &Value) -> Request<Body> {
    post_raw(body.to_string())
}

pub fn post_raw(body: impl Into<Body>) -> Request<Body> {
    Request::post("/v1/embeddings")
        .header("authorization", KEY)
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

/// The same request with one more header.
pub fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}
