//! Clients that send their bodies slowly, or not at all: they hold no request's place, and no other
//! client notices.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::support::Setup;
use crate::support::clock::StoppedClock;
use crate::support::gateway::KEY;
use crate::support::sockets::exchange;
use crate::support::waiting::until;

/// More than may run at a time.
const MANY: usize = 1100;

/// On a machine that does other things too. A client that waits for a place waits for 30 s.
const AT_ONCE: Duration = Duration::from_secs(10);

async fn begin_bodies(address: SocketAddr, path: &str) -> Vec<TcpStream> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{{");
    let begin = |_| async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    stream::iter(0..MANY)
        .map(begin)
        .buffer_unordered(50)
        .collect()
        .await
}

fn request(line: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {KEY}\r\n{headers}\
         content-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn slow_bodies_hold_no_place_on_any_route() {
    let setup = Setup::new().with("ALLOW_ANONYMOUS_PURGE", "true");
    let (_upstream, gateway) = setup.start().await;
    let body = json!({"model": "m", "input": "a"});
    gateway.embed(body.clone()).await;
    let (address, _serving) = gateway.serve().await;
    let mut slow = Vec::new();
    for path in ["/v1/embeddings", "/v1/chat/completions"] {
        slow.extend(begin_bodies(address, path).await);
        let held = gateway.app.budget.in_use();
        assert!(held > 0 && gateway.app.gauges().in_flight_requests == 0);
        for asked in [
            request("GET /healthz", "", ""),
            request("GET /metrics", "", ""),
            request("POST /v1/embeddings", "", &body.to_string()),
            request("POST /v1/chat/completions", "", &body.to_string()),
            request("PURGE /", "surrogate-key: model:other\r\n", ""),
        ] {
            let began = Instant::now();
            let answer = exchange(address, &asked).await;
            assert!(answer.starts_with("HTTP/1.1 20"), "{asked}: {answer}");
            assert!(began.elapsed() < AT_ONCE, "{asked}");
        }
    }
    drop(slow);
    until(|| gateway.app.budget.in_use() == 0).await;
}

#[tokio::test]
async fn a_body_that_trickles_is_answered_with_408_on_any_route() {
    let (upstream, gateway) = Setup::new().with("BODY_TIMEOUT", "200ms").start().await;
    let (address, _serving) = gateway.serve().await;
    for path in ["/v1/embeddings", "/v1/chat/completions"] {
        let begun = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{");
        let answer = exchange(address, &begun).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("body_timeout"), "{answer}");
    }
    assert_eq!(upstream.call_count(), 0);
}

fn upload(count: usize, each: usize, pause: Duration) -> Request<Body> {
    let pieces = stream::iter(0..count).then(move |_| async move {
        sleep(pause).await;
        Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; each]))
    });
    let body = Body::from_stream(pieces);
    Request::post("/v1/files").body(body).unwrap()
}

#[tokio::test]
async fn a_slow_upload_that_makes_progress_goes_on() {
    // Longer than a body may pause and an upstream may be silent.
    let variables = [("BODY_TIMEOUT", "30s"), ("UPSTREAM_IDLE_TIMEOUT", "30s")];
    let (upstream, gateway) = Setup::new().with_all(&variables).start().await;
    upstream.answers_json(StatusCode::OK, json!({}));
    let upload = gateway.send(upload(30, 40 << 10, Duration::from_secs(3)));
    let answer = StoppedClock::stop().passes_until(upload).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(upstream.calls()[0].body.len(), 30 * (40 << 10));
}

#[tokio::test]
async fn an_upload_that_stalls_half_way_is_no_failure_of_the_upstream() {
    let (_upstream, gateway) = Setup::new().with("BODY_TIMEOUT", "200ms").start().await;
    let pieces = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1 << 20]))]);
    let body = Body::from_stream(pieces.chain(stream::pending()));
    let request = Request::post("/v1/files").body(body).unwrap();
    let answer = gateway.send(request).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(answer.error_code(), "body_timeout");
    until(|| gateway.app.gauges().in_flight_requests == 0).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_clients_fault() {
    let (_upstream, gateway) = Setup::new().start().await;
    for sent in [10, 1 << 20] {
        for path in ["/v1/embeddings", "/v1/files"] {
            let pieces = [
                Ok(Bytes::from(vec![b' '; sent])),
                Err(std::io::Error::other("gone")),
            ];
            let body = Body::from_stream(stream::iter(pieces));
            let request = Request::post(path).body(body).unwrap();
            let answer = gateway.send(request).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {sent}");
            assert_eq!(answer.error_code(), "body_broken");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_given_up() {
    let variables = [("UPSTREAM_IDLE_TIMEOUT", "200ms")];
    let (upstream, gateway) = Setup::new().with_all(&variables).start().await;
    upstream.answers(|_| std::future::pending());
    let answer = gateway.send(upload(1, 10, Duration::ZERO)).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
}
