//! Connections to the upstream: which are kept, which are shared, and what a lost one means.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::support::Setup;
use crate::support::gateway::Gateway;
use crate::trust;

const VECTOR: &str = r#"{"data":[{"index":0,"embedding":[1.5]}]}"#;

/// The streams that a server has to offer at least (RFC 9113, 6.5.2).
const MOST_STREAMS: u32 = 100;

/// Requests as they came, each with the number of its connection.
type Seen = Arc<Mutex<Vec<(usize, String)>>>;

/// An HTTP/1 upstream, whose connections end when `most` requests on one were answered: the next
/// is read and not answered.
async fn mortal(most: usize) -> (SocketAddr, Seen, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, mut serving) = (Seen::default(), JoinSet::new());
    let all = Arc::clone(&seen);
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(answer_some(stream, number, most, Arc::clone(&all)));
        }
    });
    (address, seen, serving)
}

async fn answer_some(mut stream: TcpStream, number: usize, most: usize, seen: Seen) {
    let mut request = vec![0; 65536];
    for answered in 0.. {
        let Ok(read @ 1..) = stream.read(&mut request).await else {
            return;
        };
        let head = String::from_utf8_lossy(&request[..read]);
        let line = head.lines().next().unwrap_or_default().to_owned();
        seen.lock().unwrap().push((number, line));
        if answered == most {
            return;
        }
        let length = VECTOR.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{VECTOR}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

async fn send(gateway: &Gateway, method: &str, path: &str) -> StatusCode {
    let request = Request::builder().method(method).uri(path);
    gateway
        .send(request.body(Body::empty()).unwrap())
        .await
        .status
}

/// A connection means that the upstream's name was resolved.
#[tokio::test]
async fn a_connection_takes_no_more_requests_at_its_age() {
    for (age, connections) in [("1h", 1), ("1ms", 2)] {
        let (address, seen, _serving) = mortal(usize::MAX).await;
        let setup = Setup::new().with("UPSTREAM_CONNECTION_AGE", age);
        let gateway = setup.at(&format!("http://{address}/v1")).await;
        for _ in 0..2 {
            assert_eq!(send(&gateway, "GET", "/v1/models").await, StatusCode::OK);
            sleep(Duration::from_millis(20)).await;
        }
        let numbers: BTreeSet<_> = seen
            .lock()
            .unwrap()
            .iter()
            .map(|(number, _)| *number)
            .collect();
        assert_eq!(numbers.len(), connections, "{age}");
    }
}

fn lines(seen: &Seen, method: &str) -> usize {
    let seen = seen.lock().unwrap();
    seen.iter()
        .filter(|(_, line)| line.starts_with(method))
        .count()
}

#[tokio::test]
async fn what_does_nothing_is_sent_once_more_if_its_connection_ends_and_nothing_else_is() {
    let (address, seen, _serving) = mortal(1).await;
    let gateway = Setup::new().at(&format!("http://{address}/v1")).await;
    for method in ["GET", "HEAD"] {
        // The first opens a connection, the second is read on it and not answered.
        for _ in 0..4 {
            assert_eq!(
                send(&gateway, method, "/v1/models").await,
                StatusCode::OK,
                "{method}"
            );
        }
        assert!(lines(&seen, method) > 4, "{method}");
    }
    let (address, seen, _serving) = mortal(0).await;
    let gateway = Setup::new().at(&format!("http://{address}/v1")).await;
    for method in ["POST", "DELETE"] {
        assert_eq!(
            send(&gateway, method, "/v1/files/x").await,
            StatusCode::BAD_GATEWAY
        );
        assert_eq!(lines(&seen, method), 1, "{method}");
    }
    // It may be paid for already.
    let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(answer.error_code(), "upstream_broken");
    assert_eq!(lines(&seen, "POST /v1/embeddings"), 1);
    // One that ends each connection unanswered is asked twice and no more.
    assert_eq!(
        send(&gateway, "GET", "/v1/models").await,
        StatusCode::BAD_GATEWAY
    );
    assert_eq!(lines(&seen, "GET"), 2);
}

#[tokio::test]
async fn a_connection_is_kept_for_as_long_as_the_operator_says() {
    let (address, seen, _serving) = mortal(usize::MAX).await;
    let url = format!("http://{address}/v1");
    for (idle, opened) in [("1ms", 3), ("1h", 1)] {
        seen.lock().unwrap().clear();
        let gateway = Setup::new().with("UPSTREAM_POOL_IDLE", idle).at(&url).await;
        for input in ["a", "b", "c"] {
            let answer = gateway.embed(json!({"model": "m", "input": input})).await;
            assert_eq!(answer.status, StatusCode::OK);
            sleep(Duration::from_millis(20)).await;
        }
        let mut connections: Vec<_> = seen.lock().unwrap().iter().map(|it| it.0).collect();
        connections.dedup();
        assert_eq!(connections.len(), opened, "{idle}");
    }
}

/// Ends connections that were idle for this long, as uvicorn does after 5 s.
async fn closing(idle: Duration) -> (SocketAddr, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (arrived, mut serving) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let count = Arc::clone(&arrived);
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            connections.spawn(async move {
                let mut request = vec![0; 65536];
                while let Ok(Ok(1..)) = timeout(idle, stream.read(&mut request)).await {
                    count.fetch_add(1, Ordering::Relaxed);
                    let length = VECTOR.len();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                    let answer = [head.as_bytes(), VECTOR.as_bytes()].concat();
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    (address, arrived, serving)
}

#[tokio::test]
async fn an_upstream_that_closes_idle_connections_loses_no_request_and_gets_none_twice() {
    const ROUNDS: usize = 60;
    let (address, arrived, _serving) = closing(Duration::from_millis(400)).await;
    let gateway = Setup::new()
        .with("UPSTREAM_POOL_IDLE", "20ms")
        .at(&format!("http://{address}/v1"))
        .await;
    for round in 0..ROUNDS {
        // Before and after the gateway gives a connection up.
        sleep(Duration::from_millis(10 + round as u64 % 20)).await;
        let answer = gateway
            .embed(json!({"model": "m", "input": format!("{round}")}))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{round}");
    }
    assert_eq!(arrived.load(Ordering::Relaxed), ROUNDS);
}

/// Answers one request on each connection, and closes it without reading when another arrives, as
/// a server whose time for idle connections ends just then. Returns what it read.
async fn leaving() -> (SocketAddr, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (read, mut serving) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let count = Arc::clone(&read);
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            connections.spawn(async move {
                if read_request(&mut stream).await {
                    count.fetch_add(1, Ordering::Relaxed);
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                        VECTOR.len()
                    );
                    let answer = [head.as_bytes(), VECTOR.as_bytes()].concat();
                    stream.write_all(&answer).await.unwrap();
                    let _arrives = stream.peek(&mut [0]).await;
                }
            });
        }
    });
    (address, read, serving)
}

/// Reads a head and what it announces.
async fn read_request(stream: &mut TcpStream) -> bool {
    let (mut request, mut piece) = (Vec::new(), vec![0; 65536]);
    loop {
        let Ok(read @ 1..) = stream.read(&mut piece).await else {
            return false;
        };
        request.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.to_lowercase();
        let length = length.split_once("content-length: ");
        let length = length.and_then(|(_, rest)| rest.lines().next()?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return true;
        }
    }
}

#[tokio::test]
async fn what_its_upstream_did_not_read_is_sent_once_more() {
    let (address, read, _serving) = leaving().await;
    let gateway = Setup::new().at(&format!("http://{address}/v1")).await;
    for round in 0..5 {
        let answer = gateway.embed(json!({"model": "m", "input": format!("{round}")}));
        assert_eq!(answer.await.status, StatusCode::OK, "{round}");
    }
    assert_eq!(read.load(Ordering::Relaxed), 5);
    for (round, (method, length)) in [("POST", 10), ("POST", 60_000), ("DELETE", 0), ("GET", 0)]
        .into_iter()
        .cycle()
        .take(8)
        .enumerate()
    {
        let request = Request::builder().method(method).uri("/v1/files");
        let request = request.header("content-length", length);
        let answer = gateway.send(request.body(Body::from(vec![b'x'; length])).unwrap());
        assert_eq!(answer.await.status, StatusCode::OK, "{method} {length}");
        assert_eq!(read.load(Ordering::Relaxed), 6 + round);
    }
}

type Content = BoxBody<Bytes, Infallible>;

/// Embeddings at once, `/v1/endless` as fast as it is read, all else never.
async fn answer_h2(request: Request<Incoming>) -> Result<http::Response<Content>, Infallible> {
    let body: Content = match request.uri().path() {
        "/v1/embeddings" => Full::new(Bytes::from_static(VECTOR.as_bytes())).boxed(),
        "/v1/endless" => {
            let piece = || Ok(Frame::data(Bytes::from_static(&[b'x'; 16384])));
            BodyExt::boxed(StreamBody::new(stream::repeat_with(piece)))
        }
        _ => BodyExt::boxed(StreamBody::new(stream::pending())),
    };
    Ok(http::Response::new(body))
}

/// An upstream that speaks HTTP/2 alone, and a gateway in front of it.
async fn over_h2() -> (Gateway, Arc<AtomicUsize>, JoinSet<()>) {
    let (pem, mut config) = trust::authority();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/v1", listener.local_addr().unwrap());
    let (opened, mut serving) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let count = Arc::clone(&opened);
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut server = http2::Builder::new(TokioExecutor::new());
                server.max_concurrent_streams(MOST_STREAMS);
                let io = TokioIo::new(stream);
                drop(server.serve_connection(io, service_fn(answer_h2)).await);
            });
        }
    });
    let (_folder, file) = trust::file_of(&pem);
    let gateway = Setup::new().with("UPSTREAM_CA_FILE", &file).at(&url).await;
    (gateway, opened, serving)
}

async fn begin(gateway: &Gateway, path: &str) -> impl Sized + use<> {
    let request = Request::post(path).body(Body::from("{}")).unwrap();
    let answer = timeout(Duration::from_secs(20), gateway.begin(request)).await;
    answer.unwrap_or_else(|_| panic!("{path} waits for another stream"))
}

/// A busy machine takes its time; what waits for another answer here waits for ever.
async fn assert_answered(gateway: &Gateway) {
    let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(answer.vectors(), [[1.5]]);
}

#[tokio::test]
async fn embeddings_do_not_wait_for_long_answers_and_those_not_for_each_other() {
    let (gateway, opened, _serving) = over_h2().await;
    let mut running = Vec::new();
    for _ in 0..3 * MOST_STREAMS {
        running.push(begin(&gateway, "/v1/chat/completions").await);
    }
    assert_answered(&gateway).await;
    // Shared they are all the same.
    let opened = opened.load(Ordering::Relaxed);
    assert!((4..=32).contains(&opened), "{opened}");
}

#[tokio::test]
async fn downloads_that_their_clients_do_not_read_hold_up_none_but_themselves() {
    let (gateway, _opened, _serving) = over_h2().await;
    let mut unread = Vec::new();
    for _ in 0..40 {
        unread.push(begin(&gateway, "/v1/endless").await);
    }
    // All that the windows take is there.
    sleep(Duration::from_millis(500)).await;
    let read = Request::get("/v1/endless").body(Body::empty()).unwrap();
    let mut body = gateway.begin(read).await.into_body();
    let mut bytes = 0;
    while bytes < 4 << 20 {
        let frame = timeout(Duration::from_secs(20), body.frame())
            .await
            .unwrap();
        bytes += frame.unwrap().unwrap().data_ref().map_or(0, Bytes::len);
    }
    assert_answered(&gateway).await;
}
