//! A request body that a second attempt can have, if it is short or the first did not touch it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::silence::Silence;
use crate::http::error::Error;

/// Bodies of calls are shorter; of a longer one the pieces are not kept.
const KEPT: usize = 64 << 10;

/// A body that two attempts share.
#[derive(Clone)]
pub(super) struct SharedBody {
    shared: Arc<Mutex<SharedState>>,
    silence: Silence,
}

struct SharedState {
    body: Body,
    /// What the first attempt took, and the second takes first.
    taken: VecDeque<Bytes>,
    /// Whether `taken` is all of that.
    is_kept: bool,
    is_again: bool,
    failure: Option<Error>,
}

impl SharedBody {
    pub(super) fn new(body: Body, silence: &Silence) -> Self {
        Self {
            shared: Arc::new(Mutex::new(SharedState {
                body,
                taken: VecDeque::new(),
                is_kept: true,
                is_again: false,
                failure: None,
            })),
            silence: silence.clone(),
        }
    }

    /// Begins the body anew, if what was taken of it is kept.
    pub(super) fn rewind(&self) -> bool {
        let mut shared = self.shared();
        let is_first = !std::mem::replace(&mut shared.is_again, true);
        is_first && shared.is_kept && shared.failure.is_none()
    }

    /// Why the client did not send all of it, if it did not.
    pub(super) fn failure(&self) -> Option<Error> {
        self.shared().failure.clone()
    }

    fn shared(&self) -> MutexGuard<'_, SharedState> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedState {
    /// The next piece that the first attempt took already.
    fn again(&mut self) -> Option<Bytes> {
        self.is_again.then(|| self.taken.pop_front()).flatten()
    }

    /// Bytes that the second attempt has yet to take of the first one's.
    fn awaited(&self) -> usize {
        match self.is_again {
            true => self.taken.iter().map(Bytes::len).sum(),
            false => 0,
        }
    }

    fn keep(&mut self, frame: Option<&Frame<Bytes>>) {
        let (false, Some(frame)) = (self.is_again, frame) else {
            return;
        };
        let kept: usize = self.taken.iter().map(Bytes::len).sum();
        let piece = frame.data_ref();
        self.is_kept &= piece.is_some_and(|piece| kept + piece.len() <= KEPT);
        match piece.filter(|_| self.is_kept) {
            Some(piece) => self.taken.push_back(piece.clone()),
            None => self.taken.clear(),
        }
    }
}

impl http_body::Body for SharedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut shared = self.shared();
        if let Some(piece) = shared.again() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let Poll::Ready(frame) = Pin::new(&mut shared.body).poll_frame(context) else {
            self.silence.note_client();
            return Poll::Pending;
        };
        self.silence.note();
        shared.keep(frame.as_ref().and_then(|frame| frame.as_ref().ok()));
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| {
                let error = Error::of_body(error.into_inner());
                shared.failure = Some(error.clone());
                error
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.shared();
        shared.awaited() == 0 && shared.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let shared = self.shared();
        let (awaited, rest) = (shared.awaited() as u64, shared.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(awaited + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(awaited + upper);
        }
        hint
    }
}
