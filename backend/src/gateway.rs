//! The whole service: every request on its way to whoever answers it.
//!
//! Requests for vectors are handed on here and not by a router: a hit in memory takes some
//! microseconds, and layers that box and move each request would be a good part of them.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, ready};
use http::{Method, Request};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;

use crate::app::App;
use crate::error::Error;
use crate::routes::{embeddings, health, page, passthrough, purge};
use crate::running::{self, Content, Running, Ticket};
use crate::status::ErrorKind;
use crate::telemetry::exchange::Facts;
use crate::telemetry::{Exchange, Route};

/// The service of an application.
#[derive(Debug)]
pub struct Gateway {
    app: Arc<App>,
    /// For kubelets, scrapers and people's browsers: they must get an answer however busy we
    /// are, and nobody wants to read of them.
    pages: TowerToHyperService<Router>,
}

impl Gateway {
    /// The service of `app`.
    pub fn new(app: Arc<App>) -> Arc<Self> {
        let status = match app.status {
            Some(_) => page::routes(),
            None => Router::new(),
        };
        let pages = health::routes()
            .merge(status)
            .method_not_allowed_fallback(health::only_read)
            .with_state(Arc::clone(&app));
        Arc::new(Self {
            app,
            pages: TowerToHyperService::new(pages),
        })
    }

    /// As [`crate::server`] drives it.
    pub fn into_service(
        self: Arc<Self>,
    ) -> impl Service<
        Request<Incoming>,
        Response = http::Response<Running>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static {
        service_fn(move |request| self.answer(request).map(Ok))
    }

    /// Answers one request.
    pub fn answer<B>(
        &self,
        request: Request<B>,
    ) -> impl Future<Output = http::Response<Running>> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        match self.route(&request) {
            Some(route) => Either::Left(self.watch(route, request)),
            None => {
                let answer = self.pages.call(request);
                Either::Right(Box::pin(async {
                    let Ok(answer) = answer.await;
                    answer.map(Running::unwatched)
                }))
            }
        }
    }

    /// Where a request belongs; `None` if it is for one of the pages.
    fn route<B>(&self, request: &Request<B>) -> Option<Route> {
        match request.uri().path() {
            _ if purge::is_purge(request.method()) => Some(Route::Purge),
            embeddings::PATH => Some(Route::Embeddings),
            path if path.starts_with("/v1/") => Some(Route::Passthrough),
            path if health::PATHS.contains(&path) => None,
            path if self.app.status.is_some() && page::is_of_page(path) => None,
            _ => Some(Route::Other),
        }
    }

    /// Answers a request, and watches it to its end.
    fn watch<B>(
        &self,
        route: Route,
        request: Request<B>,
    ) -> impl Future<Output = http::Response<Running>> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let app = Arc::clone(&self.app);
        let is_head = request.method() == Method::HEAD;
        let mut exchange = Exchange::begin(&app.metrics, app.tracer.as_ref(), route, &request);
        let ticket = running::admit(&app, route, request.headers(), exchange.trace());
        let slot = ticket.as_ref().ok().and_then(|ticket| ticket.slot.clone());
        hand_on(&app, route, request, ticket).map(move |(answer, facts)| {
            if let (Some(board), Some(kind)) = (&app.status, ErrorKind::of(&answer)) {
                board.note(kind);
            }
            exchange.answer(answer.status(), facts);
            answer.map(|content| match is_head {
                // Nobody polls what has no content.
                true => Running::ended(content, exchange, slot),
                false => Running::new(content, exchange, slot),
            })
        })
    }
}

/// Has a request answered by whom it is for. All but requests for vectors go into a box: whoever
/// finds all in memory has no use for the room that the others take.
fn hand_on<B>(
    app: &Arc<App>,
    route: Route,
    request: Request<B>,
    ticket: Result<Ticket, Error>,
) -> impl Future<Output = (http::Response<Content>, Option<Facts>)> + Send + use<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let (parts, body) = request.into_parts();
    let app = Arc::clone(app);
    let answer: BoxFuture<'static, Response> = match (ticket, route) {
        (Ok(ticket), Route::Embeddings) => {
            return Either::Left(embeddings::handle(app, parts, body, ticket));
        }
        (Ok(_), Route::Purge) => Box::pin(async move { purge::handle(&app, &parts).await }),
        (Ok(ticket), Route::Passthrough | Route::Other) => Box::pin(async move {
            let request = Request::from_parts(parts, Body::new(body));
            passthrough::handle(&app, request, &ticket.trace).await
        }),
        (Err(error), _) => Box::pin(ready(error.into_response())),
    };
    Either::Right(answer.map(|answer| (answer.map(Content::Stream), None)))
}
