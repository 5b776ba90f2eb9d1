//! `GET /`: the status page and its files, all compiled in.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};

use crate::gateway::app::App;
use crate::gateway::status::Status;
use crate::http::error::{Error, NO_STORE};

/// Allows the page nothing inline, nothing from other origins, no form, and no frame around it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// The page's files by path, with their type. Links among them are relative.
const FILES: [(&str, &str, &str); 5] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("page/status.html"),
    ),
    (
        "/status.css",
        "text/css; charset=utf-8",
        include_str!("page/status.css"),
    ),
    (
        "/status.js",
        "text/javascript; charset=utf-8",
        include_str!("page/status.js"),
    ),
    (
        "/status-totals.js",
        "text/javascript; charset=utf-8",
        include_str!("page/status-totals.js"),
    ),
    (
        "/status.svg",
        "image/svg+xml",
        include_str!("page/status.svg"),
    ),
];

/// The path of the page's figures.
const FIGURES: &str = "/status.json";

/// Whether the page loads this path, so that it must leave no record.
pub fn is_of_page(path: &str) -> bool {
    path == FIGURES || FILES.iter().any(|(file, _, _)| *file == path)
}

/// The page's routes.
pub fn routes() -> Router<Arc<App>> {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, kind, text)| {
            router.route(path, get(async move || file(kind, text)))
        })
        .route(FIGURES, get(status))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    guarded((headers, text))
}

/// `GET /status.json`: the page's figures.
async fn status(State(app): State<Arc<App>>) -> Response {
    match &app.status {
        Some(status) => json(&status.read(&app.metrics, &app.gauges(), app.is_ready())),
        None => Error::NotFound.into_response(),
    }
}

fn json(status: &Status<'_>) -> Response {
    match serde_json::to_string(status) {
        Ok(text) => guarded(([(CONTENT_TYPE, JSON)], text)),
        Err(_) => Error::Internal.into_response(),
    }
}

/// Adds the headers that keep an answer in this origin, out of caches, and of its own type.
fn guarded(answer: impl IntoResponse) -> Response {
    let headers = [
        (CACHE_CONTROL, NO_STORE),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (
            CROSS_ORIGIN_RESOURCE_POLICY,
            HeaderValue::from_static("same-origin"),
        ),
    ];
    (headers, answer).into_response()
}
