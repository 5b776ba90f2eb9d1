//! The yardstick of the benchmarks: a bare handler of hyper that reads a request's body and answers
//! with the bytes of a file. It does nothing else, so no gateway can be faster.
//!
//! It has what the gateway has of sockets and of hyper (the limits of a head, the time-out for
//! headers, HTTP/1 and HTTP/2 on one port), and its answers have as many headers of the same length.
//!
//! usage: `bare_handler ADDRESS FILE`

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use embedding_gateway::http::headers::{CACHE_STATUS, SURROGATE_KEY, X_EMBEDDING_BILLED_TOKENS};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use mimalloc::MiMalloc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The gateway's own defaults.
const HEADER_BYTES: usize = 96 << 10;
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// As many as the gateway takes.
const MAX_HEADERS: usize = 256;

/// As those of a hit.
const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_TYPE, "application/json"),
    (CACHE_CONTROL, "max-age=3600"),
    (CACHE_STATUS, "embedding-gateway; hit"),
    (X_EMBEDDING_BILLED_TOKENS, "0"),
    (
        SURROGATE_KEY,
        "model:text-embedding-3-small \
         scope:0000000000000000000000000000000000000000000000000000000000000000",
    ),
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(file)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: bare_handler ADDRESS FILE");
    };
    let answer = Bytes::from(std::fs::read(file)?);
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let builder = builder();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (builder, answer) = (builder.clone(), answer.clone());
        connections.spawn(async move {
            let service = service_fn(|request| respond(request, answer.clone()));
            builder
                .serve_connection(TokioIo::new(stream), service)
                .await
        });
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .max_headers(MAX_HEADERS);
    builder
}

async fn respond(
    request: Request<Incoming>,
    answer: Bytes,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let _body = request.into_body().collect().await;
    let mut response = Response::new(Full::new(answer));
    let headers = HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
    *response.headers_mut() = HeaderMap::from_iter(headers);
    Ok(response)
}
