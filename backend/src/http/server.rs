//! The accept loop: connections with time-outs, and an orderly end.
//!
//! `axum::serve` installs no timer, so a client that never finishes its headers would stay for
//! ever. Hence this loop.

mod stall_guard;
mod timer;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::SetOnce;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::stall_guard::StallGuard;
use self::timer::ReusedTimer;
use crate::config::Limits;

/// Pause after a failed accept: while no file descriptor is free, the next one fails too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Most headers of an HTTP/1 request, as many as Varnish takes (`http_max_hdr`): behind it stand
/// 200 of a client and what the proxies add. hyper's own limit is 100.
const MAX_HEADERS: usize = 256;

/// Bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// All headers of a request together.
    pub header_bytes: usize,
    /// For receiving a request's headers, for staying idle, and for reading none of an answer.
    pub header_timeout: Duration,
}

impl From<&Limits> for ConnectionLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            header_bytes: limits.header_bytes,
            header_timeout: limits.header_timeout,
        }
    }
}

/// What all connections share.
struct Connections<S> {
    builder: Builder<TokioExecutor>,
    service: S,
    patience: Duration,
    stopping: CancellationToken,
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
    let shared = Arc::new(Connections {
        builder: connection_builder(limits),
        service,
        patience: limits.header_timeout,
        stopping: CancellationToken::new(),
    });
    let mut running = JoinSet::new();
    tokio::pin!(stop);
    let deadline = loop {
        tokio::select! {
            deadline = &mut stop => break deadline,
            stream = accept(&listener) => {
                running.spawn(Arc::clone(&shared).serve(stream));
            }
            Some(_) = running.join_next() => {}
        }
    };
    drop(listener);
    shared.stopping.cancel();
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

impl<S, B> Connections<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error = axum::Error> + Send + Unpin + 'static,
{
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "small answers may be late");
        }
        let (begun, reader) = (Arc::new(SetOnce::new()), Arc::new(StallGuard::default()));
        let (service, begins) = (self.service.clone(), Arc::clone(&begun));
        let reading = Arc::clone(&reader);
        let service = service_fn(move |request| {
            // Fails for all but the first request, which is the one that counts.
            let _known = begins.set(());
            let reader = Arc::clone(&reading);
            let answer = service.call(request);
            answer.map_ok(move |answer| answer.map(|body| reader.reads(body)))
        });
        let mut builder = self.builder.clone();
        builder.http1().timer(ReusedTimer::default());
        let mut connection =
            pin!(builder.serve_connection(TokioIo::new(reader.at(stream)), service));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = runs_out(self.patience, &begun) => return,
            () = reader.stalls(self.patience) => {
                tracing::debug!("a client does not take its answers");
                return;
            }
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }
}

/// Returns if no request begins in time: hyper tells HTTP/1 from HTTP/2 without a time-out, and a
/// client may stop in the middle of its first line.
async fn runs_out(patience: Duration, begun: &SetOnce<()>) {
    if timeout(patience, begun.wait()).await.is_ok() {
        std::future::pending().await
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "no connection accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn connection_builder(limits: ConnectionLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.header_timeout)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    builder
}
