//! Everything but embeddings: streamed both ways, byte for byte.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::Setup;
use crate::support::upstream::Upstream;
use crate::support::waiting::PATIENCE;

fn answer_with(builder: http::response::Builder, body: &'static [u8]) -> Response {
    builder.body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn requests_and_answers_cross_unchanged() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers(|_| {
        let builder = Response::builder()
            .status(StatusCode::IM_A_TEAPOT)
            .header("content-encoding", "gzip")
            .header("set-cookie", "a=b")
            .header("set-cookie", "c=d")
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("cache-control", "public, max-age=99");
        std::future::ready(answer_with(builder, b"\x1f\x8b not really"))
    });
    let request = Request::builder()
        .method("PATCH")
        .uri("/v1/files/a%20b?x=1&y=%2F")
        .header("authorization", "Bearer k")
        .header("accept-encoding", "gzip, br")
        .header("connection", "x-private")
        .header("x-private", "1")
        .header("x-forwarded-for", "10.0.0.1")
        .header("x-custom", "kept")
        .body(Body::from("\u{0}binary"))
        .unwrap();
    let answer = gateway.send(request).await;
    assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(answer.body, &b"\x1f\x8b not really"[..]);
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!answer.headers.contains_key("x-hop"));

    let call = &upstream.calls()[0];
    assert_eq!(
        (call.method.as_str(), &*call.target),
        ("PATCH", "/v1/files/a%20b?x=1&y=%2F")
    );
    assert_eq!(call.body, "\u{0}binary");
    assert_eq!(call.headers["accept-encoding"], "gzip, br");
    assert_eq!(call.headers["authorization"], "Bearer k");
    assert_eq!(call.headers["x-custom"], "kept");
    assert!(!call.headers.contains_key("x-private"));
    assert!(!call.headers.contains_key("x-forwarded-for"));
}

#[tokio::test]
async fn paths_cannot_leave_the_base_url() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers(|_| std::future::ready(Response::new(Body::empty())));
    for path in [
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/a%2f..%2f..%2fadmin",
        "/v1/.%2E/x",
    ] {
        let answer = gateway
            .send(Request::get(path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(answer.error_code(), "invalid_path");
    }
    assert_eq!(upstream.call_count(), 0);
    for target in ["/v1//evil.example/x", "http://evil.example/v1/models"] {
        gateway
            .send(Request::get(target).body(Body::empty()).unwrap())
            .await;
    }
    let targets: Vec<_> = upstream
        .calls()
        .into_iter()
        .map(|call| call.target)
        .collect();
    assert_eq!(targets, ["/v1//evil.example/x", "/v1/models"]);
}

type Pieces = mpsc::Sender<Result<Bytes, std::io::Error>>;

/// Sends the upstream's pieces when the test says so, and ends as it says.
fn answers_piece_by_piece(upstream: &Upstream) -> Pieces {
    let (sender, receiver) = mpsc::channel(1);
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    upstream.answers(move |_| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        let pieces = stream::unfold(receiver, |mut receiver: mpsc::Receiver<_>| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        });
        let builder = Response::builder().header("content-type", "text/event-stream");
        std::future::ready(builder.body(Body::from_stream(pieces)).unwrap())
    });
    sender
}

const CHAT: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (upstream, gateway) = Setup::new().start().await;
    let events = answers_piece_by_piece(&upstream);
    let (address, _serving) = gateway.serve().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(CHAT).await.unwrap();
    for event in ["data: one\n\n", "data: two\n\n"] {
        // The next event is sent only after the last one was seen at the other end.
        events.send(Ok(Bytes::from(event))).await.unwrap();
        read_until(&mut stream, event.trim_end()).await;
    }
    drop(stream);
    // The hang-up reaches the upstream: its stream is dropped.
    tokio::time::timeout(PATIENCE, events.closed())
        .await
        .unwrap();
}

async fn read_until(stream: &mut TcpStream, text: &str) {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut seen));
        assert_ne!(read.await.unwrap().unwrap(), 0);
    }
}

#[tokio::test]
async fn request_bodies_are_streamed() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers(|_| std::future::ready(answer_with(Response::builder(), b"")));
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    let pieces = stream::iter(0..40).map(move |_| Ok::<_, std::io::Error>(piece.clone()));
    let request = Request::post("/v1/files")
        .body(Body::from_stream(pieces))
        .unwrap();
    assert_eq!(gateway.send(request).await.status, StatusCode::OK);
    assert_eq!(upstream.calls()[0].body.len(), 40 << 20);
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off() {
    let (upstream, gateway) = Setup::new().start().await;
    let pieces = answers_piece_by_piece(&upstream);
    let (address, _serving) = gateway.serve().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(CHAT).await.unwrap();
    pieces.send(Ok(Bytes::from("begin"))).await.unwrap();
    read_until(&mut stream, "begin").await;
    pieces
        .send(Err(std::io::Error::other("broken")))
        .await
        .unwrap();
    let mut rest = Vec::new();
    let _end = stream.read_to_end(&mut rest).await;
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "the end must not look like one"
    );
}

#[tokio::test]
async fn a_hang_up_before_the_answer_cancels_the_call() {
    let (upstream, gateway) = Setup::new().start().await;
    let (began, mut begins) = mpsc::channel::<()>(1);
    upstream.answers(move |_| {
        let began = began.clone();
        async move {
            began.send(()).await.unwrap();
            // Dropped with the call: that is what closes the channel below.
            let _held = began;
            std::future::pending().await
        }
    });
    let (address, _serving) = gateway.serve().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(CHAT).await.unwrap();
    begins.recv().await.unwrap();
    drop(stream);
    upstream.answers(|_| std::future::ready(Response::new(Body::empty())));
    let ended = tokio::time::timeout(PATIENCE, begins.recv());
    assert_eq!(ended.await.unwrap(), None);
}

#[tokio::test]
async fn a_get_has_no_body() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers(|_| std::future::ready(answer_with(Response::builder(), b"")));
    gateway
        .send(Request::get("/v1/models").body(Body::empty()).unwrap())
        .await;
    let call = &upstream.calls()[0];
    assert!(!call.headers.contains_key("content-length"));
    assert!(!call.headers.contains_key("transfer-encoding"));
    let body = Body::empty().collect().await.unwrap().to_bytes();
    assert_eq!(call.body, body);
}
