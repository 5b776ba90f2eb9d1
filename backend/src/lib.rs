//! An OpenAI-compatible gateway that pays for an embedding once.
//!
//! [`build_router`] makes the service out of an [`app::App`]; [`server`] runs it on a socket.
#![forbid(unsafe_code)]

pub mod acceptance;
pub mod access;
pub mod app;
pub mod body_hash;
pub mod broadcast;
pub mod cache;
pub mod client_keys;
pub mod clock;
pub mod command_line;
pub mod config;
pub mod credentials;
pub mod embeddings;
pub mod error;
pub mod headers;
mod hex;
pub mod openai;
mod percent;
mod purge_rule;
pub mod resolve;
pub mod routes;
mod running;
pub mod server;
pub mod status;
pub mod tags;
pub mod telemetry;
pub mod trust;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};

use crate::app::App;
use crate::routes::{health, page, passthrough};

/// Where embeddings are.
pub(crate) const EMBEDDINGS: &str = "/v1/embeddings";

/// The whole service, as tests and the server drive it.
pub fn build_router(app: Arc<App>) -> Router {
    let embeddings = post(routes::embeddings::handle).fallback(routes::embeddings::refuse_method);
    let pages = match app.status {
        Some(_) => page::routes(),
        None => Router::new(),
    };
    Router::new()
        .route(EMBEDDINGS, embeddings)
        .fallback(passthrough::handle)
        .route(health::HEALTHZ, get(health::healthz))
        .route(health::READYZ, get(health::readyz))
        .route(health::METRICS, get(health::metrics))
        .merge(pages)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            running::watch,
        ))
        .with_state(app)
}
