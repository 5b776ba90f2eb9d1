//! An answer's body, which keeps its place in a lane until it is read or dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::lanes::Place;

/// The body and its place.
#[derive(Debug)]
pub(super) struct PlacedBody<B> {
    body: B,
    _place: Place,
}

impl<B> PlacedBody<B> {
    pub(super) fn new(body: B, place: Place) -> Self {
        Self {
            body,
            _place: place,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for PlacedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
