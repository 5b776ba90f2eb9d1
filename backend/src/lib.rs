//! An OpenAI-compatible gateway that pays for an embedding once.
//!
//! [`build_router`] makes the service out of an [`app::App`]; [`server`] runs it on a socket.
#![forbid(unsafe_code)]

pub mod acceptance;
pub mod access;
pub mod app;
pub mod body_hash;
pub mod cache;
pub mod client_keys;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod embeddings;
pub mod error;
pub mod headers;
mod hex;
pub mod openai;
mod percent;
pub mod resolve;
pub mod routes;
pub mod server;
pub mod tags;
pub mod telemetry;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::error::Error;
use crate::routes::{health, passthrough, purge};
use crate::telemetry::{RequestLabels, Route};

/// Where embeddings are.
pub(crate) const EMBEDDINGS: &str = "/v1/embeddings";

/// The whole service, as tests and the server drive it.
pub fn build_router(app: Arc<App>) -> Router {
    let embeddings = post(routes::embeddings::handle).fallback(routes::embeddings::refuse_method);
    Router::new()
        .route(EMBEDDINGS, embeddings)
        .fallback(passthrough::handle)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            admit_and_count,
        ))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            purge::handle,
        ))
        .with_state(app)
}

/// Bounds the requests that run, and counts all answers.
async fn admit_and_count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = match request.uri().path() {
        EMBEDDINGS => Route::Embeddings,
        path if path.starts_with("/v1/") => Route::Passthrough,
        _ => Route::Other,
    };
    let response = admit(&app, request, next)
        .await
        .unwrap_or_else(Error::into_response);
    let labels = RequestLabels {
        route,
        status: response.status().as_u16(),
    };
    app.metrics.requests.get_or_create(&labels).inc();
    response
}

async fn admit(app: &App, mut request: Request, next: Next) -> Result<Response, Error> {
    let limit = app.limits.header_bytes;
    if headers::size(request.headers()) > limit {
        return Err(Error::HeadersTooLarge { limit });
    }
    let slot = Arc::clone(&app.slots)
        .try_acquire_owned()
        .map_err(|_| Error::Busy)?;
    let slot = Arc::new(slot);
    request.extensions_mut().insert(Arc::clone(&slot));
    let response = next.run(request).await;
    Ok(response.map(|body| Body::new(Running { body, _slot: slot })))
}

/// An answer holds its slot until its last byte is sent.
struct Running {
    body: Body,
    _slot: Arc<OwnedSemaphorePermit>,
}

impl http_body::Body for Running {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
