//! A request body that a second attempt can have if the first did not touch it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::silence::Silence;
use crate::http::error::Error;

/// A body that two attempts share.
#[derive(Clone)]
pub(super) struct SharedBody {
    shared: Arc<Mutex<Shared>>,
    silence: Silence,
}

struct Shared {
    body: Body,
    failure: Option<Error>,
}

impl SharedBody {
    pub(super) fn new(body: Body, silence: &Silence) -> Self {
        let failure = None;
        Self {
            shared: Arc::new(Mutex::new(Shared { body, failure })),
            silence: silence.clone(),
        }
    }

    /// Why the client did not send all of it, if it did not.
    pub(super) fn failure(&self) -> Option<Error> {
        self.shared().failure.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
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
        let Poll::Ready(frame) = Pin::new(&mut shared.body).poll_frame(context) else {
            self.silence.note_client();
            return Poll::Pending;
        };
        self.silence.note();
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| {
                let error = Error::of_body(error.into_inner());
                shared.failure = Some(error.clone());
                error
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.shared().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.shared().body.size_hint()
    }
}
