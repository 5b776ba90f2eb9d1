//! The body of an answer: what it holds, and what is told of it as the client reads it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use crate::embeddings::response::{PIECE_BYTES, Pieces};
use crate::resolver::permits::ConcurrencyPermit;
use crate::telemetry::RequestRecord;

/// What an answer holds.
#[derive(Debug)]
pub enum ResponseBody {
    /// All of it, or what is left of it.
    Whole(Bytes),
    /// Vectors, written as they are taken.
    Pieces(Box<Pieces>),
    /// What comes and goes piece by piece.
    Stream(Body),
}

/// An answer under way. It holds its request's place until its last byte is sent.
#[derive(Debug)]
pub struct ObservedBody {
    content: ResponseBody,
    /// Ends with the last frame, before anybody has seen it: who has got an answer finds it
    /// counted. Without it the answer is not watched.
    record: Option<RequestRecord>,
    /// Since when there is more, and nobody has room for it.
    ready: Option<Instant>,
    _permit: Option<ConcurrencyPermit>,
}

impl ObservedBody {
    /// An answer that is watched as it goes out.
    pub(crate) fn new(
        content: ResponseBody,
        record: RequestRecord,
        permit: Option<ConcurrencyPermit>,
    ) -> Self {
        if content.is_end_stream() {
            return Self::ended(content, record, permit);
        }
        Self {
            content,
            record: Some(record),
            ready: None,
            _permit: permit,
        }
    }

    /// An answer that is complete without its content.
    pub(crate) fn ended(
        content: ResponseBody,
        record: RequestRecord,
        permit: Option<ConcurrencyPermit>,
    ) -> Self {
        record.complete();
        Self {
            content,
            record: None,
            ready: None,
            _permit: permit,
        }
    }

    /// A reader that takes its time is none of our latency. What comes from elsewhere is not
    /// there just because we are asked for it.
    fn note_reader(&mut self, ended: bool) {
        if let (Some(since), Some(record)) = (self.ready.take(), &mut self.record) {
            record.add_wait(since.elapsed());
        }
        let is_ours = !matches!(self.content, ResponseBody::Stream(_));
        self.ready = (is_ours && !ended).then(Instant::now);
    }

    /// An answer of which nothing is told.
    pub(crate) fn unwatched(body: Body) -> Self {
        Self {
            content: ResponseBody::Stream(body),
            record: None,
            ready: None,
            _permit: None,
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

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.content).poll_frame(context));
        let ended = frame.is_none() || self.content.is_end_stream();
        self.note_reader(ended);
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
