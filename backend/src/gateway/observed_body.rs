//! The body of an answer, and the record of how the client reads it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use crate::embeddings::response::{PIECE_BYTES, Pieces};
use crate::resolver::permits::RequestHold;
use crate::telemetry::RequestRecord;

/// The content of an answer.
#[derive(Debug)]
pub enum ResponseBody {
    /// Bytes in memory, less those that were sent.
    Whole(Bytes),
    /// Vectors, written when the client has room for them.
    Pieces(Box<Pieces>),
    /// A stream, forwarded piece by piece.
    Stream(Body),
}

/// An answer's body with its record. It holds the request's place and bytes until its last byte is
/// sent.
#[derive(Debug)]
pub struct ObservedBody {
    content: ResponseBody,
    /// Ends with the last frame, before hyper sends it, so that a client that has its answer finds
    /// it counted. `None` for answers that are not recorded.
    record: Option<Box<RequestRecord>>,
    /// Since when the next frame waits for the client.
    ready: Option<Instant>,
    _hold: Option<Arc<RequestHold>>,
}

impl ObservedBody {
    /// A recorded answer.
    pub(crate) fn new(
        content: ResponseBody,
        record: Box<RequestRecord>,
        hold: Option<Arc<RequestHold>>,
    ) -> Self {
        if content.is_end_stream() {
            return Self::ended(content, record, hold);
        }
        Self {
            content,
            record: Some(record),
            ready: None,
            _hold: hold,
        }
    }

    /// A recorded answer that ends here: to HEAD, or without content.
    pub(crate) fn ended(
        content: ResponseBody,
        record: Box<RequestRecord>,
        hold: Option<Arc<RequestHold>>,
    ) -> Self {
        record.complete();
        Self {
            content,
            record: None,
            ready: None,
            _hold: hold,
        }
    }

    /// Excludes client backpressure from the added latency. A stream's next frame may be late for
    /// the upstream's reasons, so waits for streams count.
    fn note_backpressure(&mut self, ended: bool) {
        if let (Some(since), Some(record)) = (self.ready.take(), &mut self.record) {
            record.add_wait(since.elapsed());
        }
        let is_in_memory = !matches!(self.content, ResponseBody::Stream(_));
        self.ready = (is_in_memory && !ended).then(Instant::now);
    }

    /// An answer without a record, for probes and pages.
    pub(crate) fn unwatched(body: Body) -> Self {
        Self {
            content: ResponseBody::Stream(body),
            record: None,
            ready: None,
            _hold: None,
        }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => {
                // hyper takes whole frames over HTTP/2, with or without window. Small frames keep
                // the permit until most of the answer is sent.
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

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.content).poll_frame(context));
        let ended = frame.is_none() || self.content.is_end_stream();
        self.note_backpressure(ended);
        match (&frame, &mut self.record) {
            (_, None) => {}
            (Some(Err(_)), broken) => drop(broken.take()),
            (frame, Some(record)) => {
                let data = frame
                    .as_ref()
                    .and_then(|frame| frame.as_ref().ok()?.data_ref());
                record.add(data.map_or(0, Bytes::len));
                if ended && let Some(record) = self.record.take() {
                    record.complete();
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
