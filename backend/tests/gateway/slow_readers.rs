//! Clients that send requests and do not read: the gateway cuts them off and frees what they held.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::Setup;
use crate::support::clock::StoppedClock;
use crate::support::gateway::{Gateway, KEY};
use crate::support::upstream::Upstream;
use crate::support::waiting::until;

fn large() -> Value {
    json!({"model": "m", "input": vec!["a"; 1000], "dimensions": 1536})
}

async fn until_no_permit_is_taken(gateway: &Gateway) {
    until(|| gateway.app.gauges().in_flight_requests == 0).await;
}

async fn until_a_permit_is_taken(gateway: &Gateway) {
    until(|| gateway.app.gauges().in_flight_requests > 0).await;
}

async fn ask_on_http_1(gateway: &Gateway, body: &Value) -> (TcpStream, JoinSet<()>) {
    let (address, serving) = gateway.serve().await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let (body, key) = (body.to_string(), KEY);
    let head = format!("POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nauthorization: {key}\r\n");
    let length = format!("content-length: {}\r\n\r\n", body.len());
    let request = [head, length, body].concat();
    client.write_all(request.as_bytes()).await.unwrap();
    (client, serving)
}

#[tokio::test]
async fn who_reads_nothing_of_a_large_answer_is_cut_off() {
    let (_upstream, gateway) = Setup::new().start().await;
    let clock = StoppedClock::stop();
    let (_client, _serving) = ask_on_http_1(&gateway, &large()).await;
    until_a_permit_is_taken(&gateway).await;
    let cut_off = until_no_permit_is_taken(&gateway);
    clock.passes_until(cut_off).await;
}

#[tokio::test]
async fn who_opens_no_window_is_cut_off_however_small_the_answer_is() {
    let (_upstream, gateway) = Setup::new().start().await;
    let (address, _serving) = gateway.serve().await;
    let clock = StoppedClock::stop();
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(0);
    let (mut sender, connection) = client.handshake(stream).await.unwrap();
    let mut connected = JoinSet::new();
    connected.spawn(async { connection.await.map_or_else(drop, drop) });
    let body = json!({"model": "m", "input": "a"}).to_string();
    let request = Request::post(format!("http://{address}/v1/embeddings"));
    let request = request.header("authorization", KEY);
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(gateway.app.gauges().in_flight_requests, 1);
    clock.passes_until(until_no_permit_is_taken(&gateway)).await;
    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test]
async fn who_reads_slowly_gets_it_all() {
    let (_upstream, gateway) = Setup::new().start().await;
    let (mut client, _serving) = ask_on_http_1(&gateway, &large()).await;
    // In all many times as long as a client may read nothing.
    let clock = StoppedClock::stop();
    let (mut seen, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
    while !seen.ends_with(b"}}\r\n0\r\n\r\n") {
        clock.passes_until(sleep(Duration::from_secs(40))).await;
        let read = client.read(&mut buffer).await.unwrap();
        assert!(read > 0, "cut off after {} bytes", seen.len());
        seen.extend_from_slice(&buffer[..read]);
    }
    assert!(seen.len() > 10_000_000);
}

/// A silent upstream does not make its client a slow reader.
#[tokio::test]
async fn who_waits_for_a_silent_stream_is_not_cut_off() {
    let upstream = Upstream::start().await;
    upstream.answers(|_| {
        let events = futures_util::stream::unfold(0, |sent| async move {
            sleep(Duration::from_secs(300 * u64::from(sent > 0))).await;
            (sent < 2).then(|| (Ok::<_, std::io::Error>(Bytes::from("event")), sent + 1))
        });
        let body = axum::body::Body::from_stream(events);
        std::future::ready(axum::response::Response::new(body))
    });
    let gateway = Setup::new().before(&upstream).await;
    let (address, _serving) = gateway.serve().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://{address}/v1/events"));
    let read = async { answer.send().await.unwrap().text().await.unwrap() };
    let answer = StoppedClock::stop().passes_until(read).await;
    assert_eq!(answer, "eventevent");
}
