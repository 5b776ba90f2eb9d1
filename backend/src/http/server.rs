//! The accept loop: connections with time-outs, and an orderly end.
//!
//! `axum::serve` installs no timer, so a client that never finishes its headers would stay for
//! ever. Hence this loop.

mod activity;
mod connection;
mod head;
mod places;
mod socket;
mod stall_guard;
mod streams;
mod timer;
mod watched_stream;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use self::connection::Connections;
pub use self::head::TwoLengths;
pub use self::places::BeyondBound;
use self::places::{ConnectionPlace, Places};
use crate::config::Limits;

/// Pause after a failed accept: while no file descriptor is free, the next one fails too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// All headers of a request together.
    pub header_bytes: usize,
    /// For receiving a request's headers, for staying idle, and for reading none of an answer.
    pub header_timeout: Duration,
    /// Connections at a time.
    pub connections: usize,
}

impl From<&Limits> for ConnectionLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            header_bytes: limits.header_bytes,
            header_timeout: limits.header_timeout,
            connections: limits.connections,
        }
    }
}

/// Serves until `stop` resolves to a deadline, by which running requests may finish. Returns it.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    limits: impl Into<ConnectionLimits>,
    stop: impl Future<Output = Instant>,
) -> Instant
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error = axum::Error> + Send + Unpin + 'static,
{
    let limits = limits.into();
    let shared = Arc::new(Connections::new(service, limits));
    let places = Places::new(limits.connections);
    let mut running = JoinSet::new();
    tokio::pin!(stop);
    let deadline = loop {
        tokio::select! {
            deadline = &mut stop => break deadline,
            Some((stream, place)) = accept(&listener, &places) => {
                running.spawn(Arc::clone(&shared).serve(stream, place));
            }
            Some(_) = running.join_next() => {}
        }
    };
    drop(listener);
    shared.stop();
    drain(running, deadline).await;
    deadline
}

/// Waits for running connections until the deadline, then cuts them off.
async fn drain(mut running: JoinSet<()>, deadline: Instant) {
    let all = async { while running.join_next().await.is_some() {} };
    if timeout_at(deadline, all).await.is_err() {
        tracing::warn!(
            connections = running.len(),
            "connections cut off after the grace period"
        );
    }
    running.shutdown().await;
}

/// Waits for SIGTERM or SIGINT, calls `start_draining`, and resolves to the deadline for all work.
pub fn stop_signal(
    grace: Duration,
    start_draining: impl FnOnce(),
) -> std::io::Result<impl Future<Output = Instant>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        start_draining();
        tracing::info!(grace_ms = grace.as_millis(), "stopping");
        Instant::now() + grace
    })
}

/// Accepts a connection when there is a place for it.
async fn accept(listener: &TcpListener, places: &Places) -> Option<(TcpStream, ConnectionPlace)> {
    let place = places.next().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, place)),
            Err(error) => {
                tracing::warn!(%error, "no connection accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
