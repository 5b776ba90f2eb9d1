//! Whether whoever is at the other end of a connection takes what we have for it.
//!
//! Answers hold a place among the requests, and memory, until they are read. HTTP/1 shows a reader
//! that does not read by a socket that takes no more; HTTP/2 by answers that nobody asks to go on,
//! while the connection itself is as lively as you like.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;

/// What one reader takes.
#[derive(Debug, Default)]
pub(super) struct StallGuard {
    /// How often it took something.
    steps: AtomicUsize,
    /// Answers that could go on if it wanted them to.
    unread: AtomicUsize,
    /// Whether its socket is full.
    full: AtomicBool,
}

/// An answer, watched for whether it is read.
#[derive(Debug)]
pub(super) struct Read<B> {
    body: B,
    reader: Arc<StallGuard>,
    is_unread: bool,
}

/// A stream, watched for whether it takes what is written.
#[derive(Debug)]
pub(super) struct Written<S> {
    stream: S,
    reader: Arc<StallGuard>,
}

impl StallGuard {
    /// Returns when it has taken nothing for so long, or up to twice as long, although there
    /// was something.
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

    /// Watches an answer that goes to it.
    pub(super) fn reads<B>(self: &Arc<Self>, body: B) -> Read<B> {
        let mut read = Read {
            is_unread: false,
            reader: Arc::clone(self),
            body,
        };
        read.set_unread(true);
        read
    }

    /// Watches the stream that leads to it.
    pub(super) fn at<S>(self: &Arc<Self>, stream: S) -> Written<S> {
        let reader = Arc::clone(self);
        Written { stream, reader }
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
        self.reader.steps.fetch_add(1, Relaxed);
        // While there is nothing, it is not the reader that is waited for. The end may have been
        // taken and wait for room: an answer is read when it is dropped.
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

impl<S> Written<S> {
    fn note<T>(&self, written: &Poll<T>) {
        let was_full = self.reader.full.swap(written.is_pending(), Relaxed);
        // Room that was always there says nothing: HTTP/2 writes pings, whoever reads or not.
        if was_full && written.is_ready() {
            self.reader.steps.fetch_add(1, Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Written<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Written<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
