//! Watches whether a client reads its answers.
//!
//! An answer holds a request's permit, and memory, until the client has read it. A client that
//! stops reading shows over HTTP/1 by a full socket; over HTTP/2 by answers without flow-control
//! window, while the connection itself may be busy: there each stream has a guard of its own.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::activity::Running;

/// What one client reads.
#[derive(Debug, Default)]
pub(super) struct StallGuard {
    /// How often the client took something.
    steps: AtomicUsize,
    /// Answers that wait for the client.
    unread: AtomicUsize,
    /// Answers that are not written to their end.
    unfinished: AtomicUsize,
    /// Whether the socket is full.
    full: AtomicBool,
    /// What a stream has of its own. A connection is not compared with others.
    stream: Option<StreamProgress>,
}

/// One stream among those of its connection.
#[derive(Debug, Default)]
struct StreamProgress {
    /// Bytes of its answer that the client's connection took.
    taken: AtomicUsize,
    moved: Mutex<Option<Instant>>,
    /// Ends it, for its neighbours' sake.
    cut: Notify,
}

/// An answer's body, watched.
#[derive(Debug)]
pub(super) struct Read<B> {
    body: B,
    reader: Arc<StallGuard>,
    is_unread: bool,
    _running: Option<Running>,
}

impl StallGuard {
    /// The guard of a stream of HTTP/2.
    pub(super) fn of_stream() -> Self {
        Self {
            stream: Some(StreamProgress::default()),
            ..Self::default()
        }
    }

    /// Returns when the client has taken nothing for `patience`, or up to twice that, although
    /// something waited for it.
    pub(super) async fn stalls(&self, patience: Duration) {
        let mut before = None;
        loop {
            let steps = self.steps.load(Relaxed);
            let waits = self.full.load(Relaxed) || self.unread.load(Relaxed) > 0;
            if waits && before == Some(steps) {
                return;
            }
            before = waits.then_some(steps);
            sleep(patience).await;
        }
    }

    /// Whether something has waited for the client for so long.
    pub(super) fn is_idle(&self, patience: Duration) -> bool {
        let moved = self.stream.as_ref().and_then(StreamProgress::moved);
        self.unread.load(Relaxed) > 0 && moved.is_some_and(|moved| moved.elapsed() >= patience)
    }

    pub(super) fn steps(&self) -> usize {
        self.steps.load(Relaxed)
    }

    pub(super) fn taken(&self) -> usize {
        let stream = self.stream.as_ref();
        stream.map_or(0, |stream| stream.taken.load(Relaxed))
    }

    /// Ends what waits for [`Self::is_cut`].
    pub(super) fn cut(&self) {
        if let Some(stream) = &self.stream {
            stream.cut.notify_one();
        }
    }

    pub(super) async fn is_cut(&self) {
        match &self.stream {
            Some(stream) => stream.cut.notified().await,
            None => std::future::pending().await,
        }
    }

    fn step(&self, bytes: usize) {
        self.steps.fetch_add(1, Relaxed);
        if let Some(stream) = &self.stream {
            stream.step(bytes);
        }
    }

    /// Watches an answer to the client.
    pub(super) fn reads<B>(self: &Arc<Self>, body: B, running: Option<Running>) -> Read<B> {
        let mut read = Read {
            _running: running,
            is_unread: false,
            reader: Arc::clone(self),
            body,
        };
        read.set_unread(true);
        self.unfinished.fetch_add(1, Relaxed);
        read
    }

    /// Notes whether the socket has room for what was written.
    pub(super) fn note_room(&self, has_room: bool) {
        let was_full = self.full.swap(!has_room, Relaxed);
        // Only a full socket that takes bytes again is progress: HTTP/2 writes pings in any case.
        if was_full && has_room {
            self.steps.fetch_add(1, Relaxed);
        }
    }

    /// Whether an answer is not written to its end.
    pub(super) fn answers(&self) -> bool {
        self.unfinished.load(Relaxed) > 0
    }
}

impl StreamProgress {
    fn step(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Relaxed);
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn moved(&self) -> Option<Instant> {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Read<B> {
    fn set_unread(&mut self, is_unread: bool) {
        match (self.is_unread, is_unread) {
            (false, true) => drop(self.reader.unread.fetch_add(1, Relaxed)),
            (true, false) => drop(self.reader.unread.fetch_sub(1, Relaxed)),
            _ => {}
        }
        self.is_unread = is_unread;
    }
}

impl<B> Drop for Read<B> {
    fn drop(&mut self) {
        self.set_unread(false);
        self.reader.unfinished.fetch_sub(1, Relaxed);
    }
}

impl<B: Body + Unpin> Body for Read<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.reader.step(length(&frame));
        // While the body has no frame, the answer does not wait for the client. Its last frame may
        // still wait in hyper: an answer counts as read when hyper drops it.
        self.set_unread(frame.is_ready());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn length<D: Buf, E>(frame: &Poll<Option<Result<Frame<D>, E>>>) -> usize {
    match frame {
        Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, Buf::remaining),
        _ => 0,
    }
}
