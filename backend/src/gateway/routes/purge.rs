//! `PURGE`: the gateway no longer serves entries that are older than this request.
//!
//! `Surrogate-Key`, a list of tags, says what to purge, or `X-Purge-All: true`. Without either it
//! is the path: all cached answers have one path, so that means everything or nothing, or one model
//! if it is the path of a deployment.

use axum::response::{IntoResponse, Response};
use http::Method;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::request::Parts;
use serde_json::json;

use crate::config::PurgeRule;
use crate::gateway::app::App;
use crate::gateway::azure::Deployment;
use crate::http::error::{Error, NO_STORE};
use crate::http::headers::PURGE;
use crate::http::paths::EMBEDDINGS;
use crate::http::tags::{self, Tag};

/// Answers a `PURGE`, whatever its path.
pub(crate) async fn handle(app: &App, request: &Parts) -> Response {
    purge(app, request)
        .await
        .unwrap_or_else(Error::into_response)
}

/// Whether a request is a `PURGE`.
pub(crate) fn is_purge(method: &Method) -> bool {
    method.as_str() == PURGE
}

async fn purge(app: &App, request: &Parts) -> Result<Response, Error> {
    admit(app.purge_rule.as_ref(), &request.headers)?;
    let tags = tags(request)?;
    app.resolver
        .cache()
        .purges()
        .purge(&tags)
        .await
        .map_err(|_| Error::PurgeNotSpread)?;
    let tags: Vec<String> = tags.iter().map(Tag::to_string).collect();
    tracing::info!(?tags, "purged");
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, NO_STORE),
    ];
    Ok((headers, json!({ "purged": tags }).to_string()).into_response())
}

fn admit(rule: Option<&PurgeRule>, headers: &HeaderMap) -> Result<(), Error> {
    match rule {
        None => Err(Error::RouteNotAllowed),
        Some(rule) if rule.admits(headers) => Ok(()),
        Some(_) => Err(Error::UnknownKey),
    }
}

fn tags(request: &Parts) -> Result<Vec<Tag>, Error> {
    let mut tags = tags::to_purge(&request.headers)?;
    if tags.is_empty() && request.uri.path() == EMBEDDINGS {
        let deployment = request.extensions.get::<Deployment>();
        tags.push(deployment.map_or_else(Tag::all, |named| Tag::model(&named.0)));
    }
    // Varnish may hold answers with other tags. No vector carries one.
    tags.retain(Tag::is_of_vectors);
    Ok(tags)
}
