//! Tests that need a socket: clients that are slow, or send more than they should.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::support::Setup;
use crate::support::clock::StoppedClock;
use crate::support::sockets::exchange;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn a_client_that_does_not_finish_its_headers_is_cut_off() {
    let (_upstream, gateway) = Setup::new().with("HEADER_TIMEOUT", "10s").start().await;
    let (address, _serving) = gateway.serve().await;
    let clock = StoppedClock::stop();
    for begun in [
        "",
        "P",
        "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nx-slow: ",
    ] {
        clock.passes_until(exchange(address, begun)).await;
    }
    let whole = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    for more in ["", whole, "GET /healthz HTTP/1.1\r\nx-slow: "] {
        let sent = format!("{whole}{more}");
        let seen = clock.passes_until(exchange(address, &sent)).await;
        let answers = seen.matches("HTTP/1.1 200").count();
        assert_eq!(answers, if more == whole { 2 } else { 1 }, "{more}: {seen}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_with_408() {
    let (_upstream, gateway) = Setup::new().with("BODY_TIMEOUT", "100ms").start().await;
    let (address, _serving) = gateway.serve().await;
    let begun = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    let answer = exchange(address, begun).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("body_timeout"));
}

#[tokio::test]
async fn an_announced_body_over_the_limit_is_answered_before_it_comes() {
    let (_upstream, gateway) = Setup::new().start().await;
    let (address, _serving) = gateway.serve().await;
    let begun = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 99999999\r\n\r\n";
    let answer = exchange(address, begun).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_body_over_the_limit_may_be_sent_before_its_answer_is_read() {
    let (_upstream, gateway) = Setup::new().with("MAX_BODY_BYTES", "4MiB").start().await;
    let (address, _serving) = gateway.serve().await;
    // More than the buffers of a connection hold.
    let body = "x".repeat(12 << 20);
    let length = body.len();
    let head =
        format!("POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    let next = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answers = exchange(address, &[&head, &body, next].concat()).await;
    assert!(answers.starts_with("HTTP/1.1 413"), "{answers}");
    assert!(answers.contains("body_too_large"), "{answers}");
    assert!(answers.contains("HTTP/1.1 200"), "{answers}");
}

#[tokio::test]
async fn headers_have_room_and_a_limit() {
    let upstream = Upstream::start().await;
    upstream.answers(|_| std::future::ready(Response::new(Body::empty())));
    let gateway = Setup::new().before(&upstream).await;
    let (address, _serving) = gateway.serve().await;
    let with = |bytes: usize| {
        let long = "x".repeat(bytes);
        format!("GET /v1/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-long: {long}\r\n\r\n")
    };
    assert!(
        exchange(address, &with(60 * 1024))
            .await
            .starts_with("HTTP/1.1 200")
    );
    let refused = exchange(address, &with(100 * 1024)).await;
    assert!(refused.starts_with("HTTP/1.1 431") && refused.contains("headers_too_large"));
    let many = |count: usize| {
        let lines = "x-one: 1\r\n".repeat(count);
        format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}\r\n")
    };
    assert!(
        exchange(address, &many(240))
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        exchange(address, &many(300))
            .await
            .starts_with("HTTP/1.1 431")
    );
    // The gateway does not read a body that is far too large.
    assert!(
        exchange(address, &with(1024 * 1024))
            .await
            .starts_with("HTTP/1.1 431")
    );
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_cut() {
    let (upstream, gateway) = Setup::new()
        .with("UPSTREAM_IDLE_TIMEOUT", "10s")
        .start()
        .await;
    upstream.answers(|_| {
        let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from("data: one\n\n"))]);
        let body = Body::from_stream(first.chain(stream::pending()));
        std::future::ready(Response::new(body))
    });
    let (address, _serving) = gateway.serve().await;
    let events = exchange(address, "GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n");
    let answer = StoppedClock::stop().passes_until(events).await;
    assert!(answer.contains("data: one"), "{answer}");
    assert!(
        !answer.ends_with("0\r\n\r\n"),
        "the end must not look like one"
    );
}

#[tokio::test]
async fn small_answers_have_a_length() {
    let (_upstream, gateway) = Setup::new().start().await;
    let (address, _serving) = gateway.serve().await;
    let body = r#"{"model":"m","input":"a"}"#;
    let head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    for request in [
        format!("{head}content-length: {}\r\n\r\n{body}", body.len()),
        format!("{head}content-length: 1\r\n\r\n{{"),
    ] {
        let answer = exchange(address, &request).await;
        assert!(answer.contains("\r\ncontent-length: "), "{answer}");
    }
}

#[tokio::test]
async fn http_2_is_spoken_too() {
    let (_upstream, gateway) = Setup::new().start().await;
    let (address, _serving) = gateway.serve().await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .build()
        .unwrap();
    let request = client.post(format!("http://{address}/v1/embeddings"));
    let answer = request
        .body(r#"{"model":"m","input":"a"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    assert_eq!(answer.status(), 200);
}

/// A request hidden behind another one's end.
const HIDDEN: &str = "GET /v1/hidden HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn two_lengths_in_one_request_are_refused_and_hide_nothing() {
    let (upstream, gateway) = Setup::new().start().await;
    let (address, _serving) = gateway.serve().await;
    let body = r#"{"model":"m","input":"a"}"#;
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let te = "transfer-encoding: chunked\r\n";
    let cl = &format!("Content-Length: {}\r\n", body.len());
    let before = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nno";
    for path in ["/v1/embeddings", "/v1/chat/completions", "/healthz"] {
        for (earlier, lengths) in [
            ("", format!("{te}{cl}")),
            ("", format!("{cl}{te}")),
            ("", format!("{cl}{te}{cl}")),
            // Sent together with the request before it.
            (before, format!("{te}{cl}")),
        ] {
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{lengths}\r\n");
            let answer = exchange(address, &format!("{earlier}{head}{chunks}{HIDDEN}")).await;
            assert!(answer.contains("two_lengths"), "{lengths}: {answer}");
            let answers = 1 + usize::from(!earlier.is_empty());
            assert_eq!(answer.matches("HTTP/1.1 ").count(), answers, "{answer}");
        }
    }
    let other = format!("content-length: {}\r\n", body.len() + 1);
    for lengths in [
        format!("{cl}{other}"),
        "content-length: 1, 2\r\n".to_owned(),
    ] {
        let head = format!("POST /v1/embeddings HTTP/1.1\r\nhost: x\r\n{lengths}\r\n");
        let answer = exchange(address, &format!("{head}{body}{HIDDEN}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lengths}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    assert_eq!(upstream.call_count(), 0);
    // The same length twice says one thing; and so does a request in chunks whose body names a length.
    let ended = "connection: close\r\n";
    for framed in [
        format!("{cl}{cl}{ended}\r\n{body}"),
        format!("{te}{ended}\r\n{chunks}"),
    ] {
        let head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\n";
        let answer = exchange(address, &format!("{head}{framed}")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}
