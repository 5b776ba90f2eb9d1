//! Connections as such: how many there may be, how HTTP/2 shares one, and what is no request.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::Setup;
use crate::support::clock::StoppedClock;
use crate::support::gateway::{Gateway, KEY};
use crate::support::sockets::exchange;
use crate::support::upstream::Upstream;
use crate::support::waiting::until;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn beyond_the_bound_there_is_room_for_what_must_get_through() {
    let variables = [("MAX_CONNECTIONS", "2"), ("ALLOW_ANONYMOUS_PURGE", "true")];
    let (upstream, gateway) = Setup::new().with_all(&variables).start().await;
    let (address, _serving) = gateway.serve().await;
    let held = [
        TcpStream::connect(address).await.unwrap(),
        TcpStream::connect(address).await.unwrap(),
    ];
    let body = r#"{"model":"m","input":"a"}"#;
    let embed = format!(
        "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for (sent, status) in [
        ("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", "200"),
        ("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n", "200"),
        (
            "PURGE / HTTP/1.1\r\nhost: x\r\nx-purge-all: true\r\n\r\n",
            "200",
        ),
        (&embed, "503"),
    ] {
        let answer = exchange(address, sent).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    assert_eq!(upstream.call_count(), 0);
    drop(held);
    let closing = embed.replace("host: x", "host: x\r\nconnection: close");
    let served = async {
        while !exchange(address, &closing)
            .await
            .starts_with("HTTP/1.1 200")
        {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, served).await.unwrap();
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let (_upstream, gateway) = Setup::new().start().await;
    let (address, _serving) = gateway.serve().await;
    let close = "connection: close\r\n\r\n";
    for (sent, status) in [
        (format!("GET /healthz HTTP/1.1\r\n{close}"), "1 400"),
        (
            format!("GET /healthz HTTP/1.1\r\nhost: x\r\nhost: x\r\n{close}"),
            "1 400",
        ),
        (
            format!("GET /v1/models HTTP/1.1\r\nhost: x\r\nHost: y\r\n{close}"),
            "1 400",
        ),
        (
            format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{close}"),
            "1 200",
        ),
        ("GET /healthz HTTP/1.0\r\n\r\n".to_owned(), "0 200"),
    ] {
        let answer = exchange(address, &sent).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.{status}")),
            "{sent}: {answer}"
        );
    }
}

type Client = (SendRequest<Full<Bytes>>, JoinSet<()>);

async fn http_2(gateway: &Gateway) -> (Client, JoinSet<()>, String) {
    // One answer that is not read must not fill the window of all.
    with_window(gateway, 16 << 20).await
}

async fn with_window(gateway: &Gateway, window: u32) -> (Client, JoinSet<()>, String) {
    let (address, serving) = gateway.serve().await;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let mut client = Builder::new(TokioExecutor::new());
    client
        .initial_stream_window_size(64 << 10)
        .initial_connection_window_size(window);
    let (sender, connection) = client.handshake(stream).await.unwrap();
    let mut connected = JoinSet::new();
    connected.spawn(async { connection.await.map_or_else(drop, drop) });
    ((sender, connected), serving, format!("http://{address}"))
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_alone() {
    let upstream = Upstream::start().await;
    let gateway = Setup::new().before(&upstream).await;
    let clock = StoppedClock::stop();
    let ((mut sender, _connected), _serving, url) = http_2(&gateway).await;
    let body = json!({"model": "m", "input": vec!["a"; 1000], "dimensions": 1536}).to_string();
    let large = Request::post(format!("{url}/v1/embeddings")).header("authorization", KEY);
    let large = large.body(Full::new(Bytes::from(body))).unwrap();
    let unread = sender.send_request(large).await.unwrap();
    assert_eq!(unread.status(), StatusCode::OK);

    upstream.answers(|_| {
        let events = futures_util::stream::unfold(0, |sent| async move {
            sleep(Duration::from_secs(300 * u64::from(sent > 0))).await;
            (sent < 2).then(|| (Ok::<_, std::io::Error>(Bytes::from("event")), sent + 1))
        });
        let body = axum::body::Body::from_stream(events);
        std::future::ready(axum::response::Response::new(body))
    });
    let neighbour = Request::get(format!("{url}/v1/events"));
    let neighbour = neighbour.body(Full::default()).unwrap();
    let neighbour = sender.send_request(neighbour).await.unwrap();
    let read = neighbour.into_body().collect();
    let events = clock.passes_until(read).await;
    assert_eq!(events.unwrap().to_bytes(), "eventevent");
    assert!(unread.into_body().collect().await.is_err());
}

#[tokio::test]
async fn an_answer_that_fills_the_window_of_all_ends_before_its_neighbours() {
    // The neighbours' time is up in the same moment, or later.
    for later in [0, 40] {
        ends_before_its_neighbours(Duration::from_secs(later)).await;
    }
}

async fn ends_before_its_neighbours(later: Duration) {
    let upstream = Upstream::start().await;
    let gateway = Setup::new().before(&upstream).await;
    let clock = StoppedClock::stop();
    let ((sender, _connected), _serving, url) = with_window(&gateway, 65_535).await;
    let ask = async |inputs: Vec<String>| {
        let body = json!({"model": "m", "input": inputs, "dimensions": 1536}).to_string();
        let request = Request::post(format!("{url}/v1/embeddings")).header("authorization", KEY);
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        sender.clone().send_request(request).await.unwrap()
    };
    let texts = |from: usize, count: usize| (from..from + count).map(|n| n.to_string()).collect();
    gateway.warm_up().await;
    let unread = ask(texts(0, 100)).await;
    if !later.is_zero() {
        clock.passes_until(sleep(later)).await;
    }
    let neighbours = [ask(texts(100, 3)).await, ask(texts(200, 3)).await];
    assert_eq!(gateway.app.permits.in_use(), 3);
    let waiting = until(|| gateway.app.permits.in_use() < 3);
    clock.passes_until(waiting).await;
    drop(unread);
    for neighbour in neighbours {
        assert!(neighbour.into_body().collect().await.is_ok());
    }
}

#[tokio::test]
async fn an_idle_http_2_connection_ends() {
    let (_upstream, gateway) = Setup::new().start().await;
    let clock = StoppedClock::stop();
    let ((mut sender, mut connected), _serving, url) = http_2(&gateway).await;
    let health = Request::get(format!("{url}/healthz"));
    let health = health.body(Full::default()).unwrap();
    let answer = sender.send_request(health).await.unwrap();
    answer.into_body().collect().await.unwrap();
    clock.passes_until(connected.join_next()).await;
}
