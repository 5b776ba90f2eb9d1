//! How long the upstream is silent: it neither takes of a request nor gives of its answer, and
//! what it waits for is not the client.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::error::Error;

/// Since when one call is silent, and how long it may be.
#[derive(Clone, Debug)]
pub(super) struct Silence {
    patience: Duration,
    /// `None`: the client is waited for.
    since: Arc<Mutex<Option<Instant>>>,
}

/// An answer under way, which breaks off when it is silent for too long.
#[derive(Debug)]
pub(super) struct WatchedBody<B> {
    body: B,
    silence: Silence,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether more was asked for and did not come. A client that does not read asks for nothing.
    is_awaited: bool,
}

impl Silence {
    pub(super) fn begin(patience: Duration) -> Self {
        Self {
            patience,
            since: Arc::new(Mutex::new(Some(Instant::now()))),
        }
    }

    /// Something moved.
    pub(super) fn note(&self) {
        self.set(Some(Instant::now()));
    }

    /// The upstream takes more than the client has sent.
    pub(super) fn note_client(&self) {
        self.set(None);
    }

    fn set(&self, since: Option<Instant>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// When it has lasted too long, as it looks now.
    fn deadline(&self) -> Instant {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.unwrap_or_else(Instant::now) + self.patience
    }

    /// Returns when it has lasted too long.
    pub(super) async fn lasts(&self) {
        loop {
            let deadline = self.deadline();
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }

    /// Watches an answer.
    pub(super) fn heard<B>(&self, body: B) -> WatchedBody<B> {
        self.note();
        WatchedBody {
            body,
            silence: self.clone(),
            timer: None,
            is_awaited: false,
        }
    }
}

impl<B> WatchedBody<B> {
    /// Ready when nothing came for too long.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = self.silence.deadline();
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            // Set when less had been heard.
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

impl<B: Body<Data = Bytes, Error: Into<axum::BoxError>> + Unpin> Body for WatchedBody<B> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.is_awaited = false;
            self.silence.note();
            return Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)));
        }
        if !std::mem::replace(&mut self.is_awaited, true) {
            self.silence.note();
        }
        self.poll_silence(context)
            .map(|()| Some(Err(axum::Error::new(Error::UpstreamTimeout))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
