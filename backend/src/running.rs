//! Requests while they run: how many may, and what is told of each.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::Method;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::error::Error;
use crate::routes::{health, page, purge};
use crate::status::ErrorKind;
use crate::telemetry::{Exchange, Route};
use crate::{EMBEDDINGS, headers};

/// Bounds the requests that run, watches each of them to its end, and takes every `PURGE` out of
/// the way. Those of kubelets, scrapers and the page are let through: they must get an answer
/// however busy we are, and nobody wants to read of them.
pub(crate) async fn watch(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = match request.uri().path() {
        _ if purge::is_purge(&request) => Route::Purge,
        path if health::PATHS.contains(&path) => return next.run(request).await,
        EMBEDDINGS => Route::Embeddings,
        path if path.starts_with("/v1/") => Route::Passthrough,
        path if app.status.is_some() && page::is_of_page(path) => return next.run(request).await,
        _ => Route::Other,
    };
    let is_head = request.method() == Method::HEAD;
    let mut exchange = Exchange::begin(&app.metrics, app.tracer.as_ref(), route, &request);
    if app.tracer.is_some() {
        request.extensions_mut().insert(exchange.trace().clone());
    }
    let (mut response, slot) = match admit(&app, route, &mut request) {
        Ok(slot) if route == Route::Purge => (purge::handle(&app, request).await, slot),
        Ok(slot) => (next.run(request).await, slot),
        Err(error) => (error.into_response(), None),
    };
    if let (Some(board), Some(kind)) = (&app.status, ErrorKind::of(&response)) {
        board.note(kind);
    }
    let facts = response.extensions_mut().remove();
    exchange.answer(response.status(), facts);
    response.map(|body| {
        // Nobody polls what has no content.
        let exchange = match is_head || body.is_end_stream() {
            true => {
                exchange.complete();
                None
            }
            false => Some(exchange),
        };
        Body::new(Running {
            body,
            exchange,
            _slot: slot,
        })
    })
}

/// A place among the requests that run. A purge needs none: it must come through.
fn admit(app: &App, route: Route, request: &mut Request) -> Result<Option<Slot>, Error> {
    if route == Route::Purge {
        return Ok(None);
    }
    let limit = app.limits.header_bytes;
    if headers::size(request.headers()) > limit {
        return Err(Error::HeadersTooLarge { limit });
    }
    let slot = Arc::clone(&app.slots).try_acquire_owned();
    let slot = Arc::new(slot.map_err(|_| Error::Busy)?);
    request.extensions_mut().insert(Arc::clone(&slot));
    Ok(Some(slot))
}

type Slot = Arc<OwnedSemaphorePermit>;

/// An answer under way. It holds its request's place until its last byte is sent.
struct Running {
    body: Body,
    /// Ends with the last frame, before anybody has seen it: who has got an answer finds it
    /// counted.
    exchange: Option<Exchange>,
    _slot: Option<Slot>,
}

impl http_body::Body for Running {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let ended = frame.is_none() || self.body.is_end_stream();
        match (&frame, self.exchange.take()) {
            (Some(Err(_)), broken) => drop(broken),
            (frame, Some(mut exchange)) => {
                let data = frame
                    .as_ref()
                    .and_then(|frame| frame.as_ref().ok()?.data_ref());
                exchange.add(data.map_or(0, Bytes::len));
                match ended {
                    true => exchange.complete(),
                    false => self.exchange = Some(exchange),
                }
            }
            (_, None) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
