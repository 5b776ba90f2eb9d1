//! Clients that shut down their sending direction after a request, and wait for its answer.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::support::Setup;
use crate::support::clock::StoppedClock;
use crate::support::upstream::embeddings;

const BODY: &str = r#"{"model":"m","input":"a"}"#;
/// Within the time that a half-closed client is waited for.
const SHORT: Duration = Duration::from_millis(2900);
/// How time passes.
const STEP: Duration = Duration::from_millis(50);

async fn half_closed(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn post(path: &str, framed: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\n{framed}")
}

fn with_length(body: &str) -> String {
    format!("content-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answer() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers(|call| async move {
        sleep(SHORT).await;
        embeddings(&call)
    });
    let (address, _serving) = gateway.serve().await;
    let clock = StoppedClock::by(STEP);
    let chunks = format!(
        "transfer-encoding: chunked\r\n\r\n{:x}\r\n{BODY}\r\n0\r\n\r\n",
        BODY.len()
    );
    // A miss, a hit, and a miss without a length.
    for framed in [
        with_length(BODY),
        with_length(BODY),
        chunks.replace("\"a\"", "\"b\""),
    ] {
        let request = post("/v1/embeddings", &framed);
        let answer = clock.passes_until(half_closed(address, &request)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("\"usage\""), "{answer}");
    }
    let health = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = clock.passes_until(half_closed(address, health)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_half_closed_client_gets_a_stream_to_its_end() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers(|_| {
        let events = stream::iter(0..5).then(|number| async move {
            sleep(SHORT).await;
            Ok::<_, std::convert::Infallible>(Bytes::from(format!("data: {number}\n\n")))
        });
        std::future::ready(Response::new(Body::from_stream(events)))
    });
    let (address, _serving) = gateway.serve().await;
    let request = post("/v1/chat/completions", &with_length("{}"));
    let clock = StoppedClock::by(STEP);
    let answer = clock.passes_until(half_closed(address, &request)).await;
    assert!(answer.contains("data: 4\n\n"), "{answer}");
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn half_a_request_is_not_waited_for() {
    let (upstream, gateway) = Setup::new().start().await;
    let (address, _serving) = gateway.serve().await;
    let clock = StoppedClock::by(STEP);
    for framed in [
        format!("content-length: 100\r\n\r\n{BODY}"),
        format!("transfer-encoding: chunked\r\n\r\n64\r\n{BODY}"),
    ] {
        let began = Instant::now();
        let request = post("/v1/embeddings", &framed);
        clock.passes_until(half_closed(address, &request)).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{framed}");
    }
    assert_eq!(upstream.call_count(), 0);
}
