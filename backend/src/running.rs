//! Requests while they run: how many may, and what is told of each.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::header::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::app::App;
use crate::embeddings::response::{PIECE_BYTES, Pieces};
use crate::error::Error;
use crate::headers;
use crate::telemetry::{Exchange, Route, Trace};

/// A place among the requests that run, held until the last work for the request has ended.
pub type Slot = Arc<OwnedSemaphorePermit>;

/// What a request takes along to whoever works for it.
#[derive(Clone, Debug, Default)]
pub struct Ticket {
    /// Its place; a purge needs none.
    pub slot: Option<Slot>,
    /// Its trace.
    pub trace: Trace,
}

/// Lets a request in, if there is a place for it. A purge needs none: it must come through.
pub(crate) fn admit(
    app: &App,
    route: Route,
    headers: &HeaderMap,
    trace: &Trace,
) -> Result<Ticket, Error> {
    let trace = trace.clone();
    if route == Route::Purge {
        return Ok(Ticket { slot: None, trace });
    }
    let limit = app.limits.header_bytes;
    if headers::size(headers) > limit {
        return Err(Error::HeadersTooLarge { limit });
    }
    let slot = Arc::clone(&app.slots).try_acquire_owned();
    let slot = Some(Arc::new(slot.map_err(|_| Error::Busy)?));
    Ok(Ticket { slot, trace })
}

/// What an answer holds.
#[derive(Debug)]
pub enum Content {
    /// All of it, or what is left of it.
    Whole(Bytes),
    /// Vectors, written as they are taken.
    Pieces(Box<Pieces>),
    /// What comes and goes piece by piece.
    Stream(Body),
}

/// An answer under way. It holds its request's place until its last byte is sent.
#[derive(Debug)]
pub struct Running {
    content: Content,
    /// Ends with the last frame, before anybody has seen it: who has got an answer finds it
    /// counted. Without it the answer is not watched.
    exchange: Option<Exchange>,
    /// Since when there is more, and nobody has room for it.
    ready: Option<Instant>,
    _slot: Option<Slot>,
}

impl Running {
    /// An answer that is watched as it goes out.
    pub(crate) fn new(content: Content, exchange: Exchange, slot: Option<Slot>) -> Self {
        if content.is_end_stream() {
            return Self::ended(content, exchange, slot);
        }
        Self {
            content,
            exchange: Some(exchange),
            ready: None,
            _slot: slot,
        }
    }

    /// An answer that is complete without its content.
    pub(crate) fn ended(content: Content, exchange: Exchange, slot: Option<Slot>) -> Self {
        exchange.complete();
        Self {
            content,
            exchange: None,
            ready: None,
            _slot: slot,
        }
    }

    /// A reader that takes its time is none of our latency. What comes from elsewhere is not
    /// there just because we are asked for it.
    fn note_reader(&mut self, ended: bool) {
        if let (Some(since), Some(exchange)) = (self.ready.take(), &mut self.exchange) {
            exchange.add_wait(since.elapsed());
        }
        let is_ours = !matches!(self.content, Content::Stream(_));
        self.ready = (is_ours && !ended).then(Instant::now);
    }

    /// An answer of which nothing is told.
    pub(crate) fn unwatched(body: Body) -> Self {
        Self {
            content: Content::Stream(body),
            exchange: None,
            ready: None,
            _slot: None,
        }
    }
}

impl http_body::Body for Content {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => {
                // HTTP/2 takes all that it is given, room or no room: the place of the request
                // is to be held while most of the answer is.
                let rest = bytes.split_off(bytes.len().min(PIECE_BYTES));
                let piece = std::mem::replace(bytes, rest);
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Self::Pieces(pieces) => {
                Poll::Ready(pieces.next().map(|piece| Ok(Frame::data(piece.into()))))
            }
            Self::Stream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Pieces(pieces) => pieces.is_ended(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(pieces) => pieces
                .length()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

impl http_body::Body for Running {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.content).poll_frame(context));
        let ended = frame.is_none() || self.content.is_end_stream();
        self.note_reader(ended);
        match (&frame, &mut self.exchange) {
            (_, None) => {}
            (Some(Err(_)), broken) => drop(broken.take()),
            (frame, Some(exchange)) => {
                let data = frame
                    .as_ref()
                    .and_then(|frame| frame.as_ref().ok()?.data_ref());
                exchange.add(data.map_or(0, Bytes::len));
                if ended && let Some(exchange) = self.exchange.take() {
                    exchange.complete();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
