//! One connection, from its first byte to its end: its limits, its time-outs and its guards.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::header::TRANSFER_ENCODING;
use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::SetOnce;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::ConnectionLimits;
use super::activity::Activity;
use super::head::{Framing, HeadBytes, TwoLengths};
use super::places::{BeyondBound, ConnectionPlace};
use super::socket;
use super::stall_guard::{Read, StallGuard};
use super::streams::{self, Streams};
use super::timer::ReusedTimer;
use super::watched_stream::WatchedStream;
use crate::http::headers;

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

/// What all connections share.
pub(super) struct Connections<S> {
    limits: ConnectionLimits,
    service: S,
    patience: Duration,
    stopping: CancellationToken,
}

/// What a connection does.
#[derive(Clone, Default)]
struct Watch {
    /// Whether its first request is one of HTTP/2, once that is known.
    begun: Arc<SetOnce<bool>>,
    reader: Arc<StallGuard>,
    activity: Arc<Activity>,
    head: Arc<HeadBytes>,
}

/// Why a connection ends, if not by itself.
enum End {
    /// Its first request did not begin in time.
    NoRequest,
    /// Its client does not take its answers.
    Stalled,
    /// It has no request of HTTP/2.
    Idle,
    /// The program stops.
    Stopping,
}

impl<S> Connections<S> {
    pub(super) fn new(service: S, limits: ConnectionLimits) -> Self {
        Self {
            limits,
            service,
            patience: limits.header_timeout,
            stopping: CancellationToken::new(),
        }
    }

    /// Lets every connection end with the requests that run on it.
    pub(super) fn stop(&self) {
        self.stopping.cancel();
    }

    fn builder(&self, place: &ConnectionPlace) -> Builder<Streams> {
        let mut builder = connection_builder(self.limits);
        let mut http1 = builder.http1();
        http1.timer(ReusedTimer::default());
        if place.is_reserve {
            let patience = place.patience(self.patience);
            http1.keep_alive(false).header_read_timeout(patience);
        }
        builder
    }
}

impl<S, B> Connections<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error = axum::Error> + Send + Unpin + 'static,
{
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream, place: ConnectionPlace) {
        if let Err(error) = socket::set_options(&stream) {
            tracing::debug!(%error, "a connection without its socket's options");
        }
        let (watch, patience) = (Watch::default(), place.patience(self.patience));
        let service = watch.over(self.service.clone(), place.is_reserve);
        let builder = self.builder(&place);
        let (reader, head) = (Arc::clone(&watch.reader), Arc::clone(&watch.head));
        let stream = TokioIo::new(WatchedStream::new(stream, reader, head));
        let mut connection = pin!(builder.serve_connection(stream, service));
        // Polled only when one of them has something to say, and not after each request.
        let mut ends = FuturesUnordered::from_iter([self.ends(&watch, patience)]);
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            Some(end) = ends.next() => match end {
                End::NoRequest => return,
                End::Stalled => {
                    tracing::debug!("a client does not take its answers");
                    return;
                }
                End::Idle => {
                    connection.as_mut().graceful_shutdown();
                    timeout(patience, connection).await.unwrap_or(Ok(()))
                }
                End::Stopping => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }
}

impl<S> Connections<S> {
    /// Returns when a connection must end, and why.
    async fn ends(&self, watch: &Watch, patience: Duration) -> End {
        tokio::select! {
            biased;
            () = watch.runs_out(patience) => End::NoRequest,
            () = watch.reader.stalls(patience) => End::Stalled,
            () = watch.idles(patience) => End::Idle,
            () = self.stopping.cancelled() => End::Stopping,
        }
    }
}

impl Watch {
    /// The service, watched.
    fn over<S, B>(
        &self,
        service: S,
        is_reserve: bool,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<Read<B>>,
        Error = Infallible,
        Future: Send,
    > + use<S, B>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>,
        B: Body + Unpin,
    {
        let watch = self.clone();
        service_fn(move |mut request: Request<Incoming>| {
            let is_http_2 = request.version() == Version::HTTP_2;
            // Fails for all but the first request, which is the one that counts.
            let _known = watch.begun.set(is_http_2);
            if is_reserve {
                request.extensions_mut().insert(BeyondBound);
            }
            if ends_head(&watch.head, &request) {
                request.extensions_mut().insert(TwoLengths);
            }
            let (reader, head) = (Arc::clone(&watch.reader), Arc::clone(&watch.head));
            let running = is_http_2.then(|| watch.activity.begin());
            let answer = service.call(request);
            answer.map_ok(move |answer| {
                let stream = is_http_2.then(streams::current).flatten();
                if !is_http_2 {
                    head.begin();
                }
                let reader = stream.unwrap_or(reader);
                answer.map(|body| reader.reads(body, running))
            })
        })
    }

    /// Returns if no request begins in time: hyper tells HTTP/1 from HTTP/2 without a time-out,
    /// and a client may stop in the middle of its first line.
    async fn runs_out(&self, patience: Duration) {
        if timeout(patience, self.begun.wait()).await.is_ok() {
            std::future::pending().await
        }
    }

    /// Returns if an HTTP/2 connection has no request for so long. HTTP/1 has hyper's time-out for
    /// headers.
    async fn idles(&self, patience: Duration) {
        match self.begun.wait().await {
            true => self.activity.idles(patience).await,
            false => std::future::pending().await,
        }
    }
}

/// Ends the head of a request. Returns whether two headers of it say how long its body is.
fn ends_head(head: &HeadBytes, request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    head.end(match request.version() {
        Version::HTTP_2 => Framing::Http2,
        _ if headers::has(headers, &TRANSFER_ENCODING) => Framing::Chunks,
        _ => Framing::Length(headers::content_length(headers).unwrap_or(0)),
    })
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
