//! The accept loop: connections with time-outs, and an orderly end.
//!
//! `axum::serve` installs no timer, so a client that never finishes its headers would stay for
//! ever. Hence this loop.

mod activity;
mod places;
mod stall_guard;
mod streams;
mod timer;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt;
use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::SetOnce;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::activity::Activity;
pub use self::places::BeyondBound;
use self::places::{Place, Places};
use self::stall_guard::StallGuard;
use self::streams::Streams;
use self::timer::ReusedTimer;
use crate::config::Limits;

/// Pause after a failed accept: while no file descriptor is free, the next one fails too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Most headers of an HTTP/1 request, as many as Varnish takes (`http_max_hdr`): behind it stand
/// 200 of a client and what the proxies add. hyper's own limit is 100.
const MAX_HEADERS: usize = 256;

/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 128;

/// What a client may send on one stream, or on all, while no request reads it. It is held outside
/// the budget of requests.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// What hyper takes of an answer before the client has room for it.
const SEND_BUFFER: usize = 128 << 10;

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

/// What all connections share.
struct Connections<S> {
    builder: Builder<Streams>,
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
    async fn serve(self: Arc<Self>, stream: TcpStream, place: Place) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "small answers may be late");
        }
        let (begun, reader) = (Arc::new(SetOnce::new()), Arc::new(StallGuard::default()));
        let (service, begins) = (self.service.clone(), Arc::clone(&begun));
        let (reading, activity) = (Arc::clone(&reader), Activity::new());
        let (acting, is_reserve) = (Arc::clone(&activity), place.is_reserve);
        let patience = place.patience(self.patience);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let is_http_2 = request.version() == Version::HTTP_2;
            // Fails for all but the first request, which is the one that counts.
            let _known = begins.set(is_http_2);
            if is_reserve {
                request.extensions_mut().insert(BeyondBound);
            }
            let reader = Arc::clone(&reading);
            let running = is_http_2.then(|| acting.begin());
            let answer = service.call(request);
            answer.map_ok(move |answer| {
                let reader = streams::current().unwrap_or(reader);
                answer.map(|body| reader.reads(body, running))
            })
        });
        let mut builder = self.builder.clone();
        let mut http1 = builder.http1();
        http1.timer(ReusedTimer::default());
        if is_reserve {
            http1.keep_alive(false).header_read_timeout(patience);
        }
        let mut connection =
            pin!(builder.serve_connection(TokioIo::new(reader.at(stream)), service));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = runs_out(patience, &begun) => return,
            () = reader.stalls(patience) => {
                tracing::debug!("a client does not take its answers");
                return;
            }
            () = idles(patience, &begun, &activity) => {
                connection.as_mut().graceful_shutdown();
                timeout(patience, connection).await.unwrap_or(Ok(()))
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
async fn runs_out(patience: Duration, begun: &SetOnce<bool>) {
    if timeout(patience, begun.wait()).await.is_ok() {
        std::future::pending().await
    }
}

/// Returns if an HTTP/2 connection has no request for so long. HTTP/1 has hyper's time-out for
/// headers.
async fn idles(patience: Duration, begun: &SetOnce<bool>, activity: &Activity) {
    match begun.wait().await {
        true => activity.idles(patience).await,
        false => std::future::pending().await,
    }
}

/// Accepts a connection when there is a place for it.
async fn accept(listener: &TcpListener, places: &Places) -> Option<(TcpStream, Place)> {
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

fn connection_builder(limits: ConnectionLimits) -> Builder<Streams> {
    let mut builder = Builder::new(Streams::new(limits.header_timeout));
    builder
        .http1()
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.header_timeout)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    builder
}
