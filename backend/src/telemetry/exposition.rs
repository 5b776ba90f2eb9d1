//! `GET /metrics`: all metrics, in the format that the scraper asks for.

use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::classic;
use crate::http::error::NO_STORE;

/// The `OpenMetrics` text format.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Prometheus's older text format.
const CLASSIC: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Answers with `page`, which is `OpenMetrics`. A client that accepts text and not `OpenMetrics`
/// gets the older format: older scrapers, and browsers, which save the newer one as a file.
pub fn exposition(page: String, request: &HeaderMap) -> Response {
    let accepted = request.get_all(ACCEPT).iter();
    let accepted: Vec<_> = accepted.filter_map(|value| value.to_str().ok()).collect();
    let accepts = |kind: &str| accepted.iter().any(|value| value.contains(kind));
    let text = accepts("text/plain") || accepts("text/html");
    let (kind, page) = match text && !accepts("application/openmetrics-text") {
        true => (CLASSIC, classic::from_open_metrics(&page)),
        false => (OPEN_METRICS, page),
    };
    ([(CACHE_CONTROL, NO_STORE), (CONTENT_TYPE, kind)], page).into_response()
}
