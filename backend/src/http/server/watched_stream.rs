//! A client's stream, watched: what came of a request, whether the client reads, and whether it
//! shut its own direction down.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::head::HeadBytes;
use super::stall_guard::StallGuard;

/// A client that shut down its sending direction after a whole request gets its answer if that
/// comes so soon. A client that closed the connection looks the same until something is written to
/// it: for so long the gateway works on for nothing.
const HALF_CLOSED: Duration = Duration::from_secs(3);

/// A connection's stream, watched.
#[derive(Debug)]
pub(super) struct WatchedStream<S> {
    stream: S,
    reader: Arc<StallGuard>,
    head: Arc<HeadBytes>,
    /// Runs from the end of what the client sends, and anew from each write of an answer.
    half_closed: Option<Pin<Box<Sleep>>>,
}

impl<S> WatchedStream<S> {
    pub(super) fn new(stream: S, reader: Arc<StallGuard>, head: Arc<HeadBytes>) -> Self {
        Self {
            stream,
            reader,
            head,
            half_closed: None,
        }
    }

    /// Holds the end back from hyper, which ends a connection at once if no more can come.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.head.is_whole() && !self.reader.answers() {
            return Poll::Ready(());
        }
        let grace = self
            .half_closed
            .get_or_insert_with(|| Box::pin(sleep(HALF_CLOSED)));
        grace.as_mut().poll(context)
    }

    fn note(&mut self, written: &Poll<io::Result<usize>>) {
        self.reader.note_room(written.is_ready());
        if let Some(grace) = &mut self.half_closed {
            grace.as_mut().reset(Instant::now() + HALF_CLOSED);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let came = &buffer.filled()[before..];
        self.head.note(came);
        if came.is_empty() && matches!(read, Poll::Ready(Ok(()))) {
            return self.poll_end(context).map(Ok);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
