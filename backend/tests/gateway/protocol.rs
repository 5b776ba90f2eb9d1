//! The promises that SDKs rely on: encodings, errors in the upstream's own words, headers.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::response::Response;
use http::{Request, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::Setup;
use crate::support::gateway::post;
use crate::support::upstream::vectors;

#[tokio::test]
async fn both_encodings_come_from_one_entry_bit_for_bit() {
    let (upstream, gateway) = Setup::new().start().await;
    let float = gateway.embed(json!({"model": "m", "input": "a"})).await;
    let base64 = gateway
        .embed(json!({"model": "m", "input": "a", "encoding_format": "base64"}))
        .await;
    let text = base64.json()["data"][0]["embedding"]
        .as_str()
        .unwrap()
        .to_owned();
    let bytes = base64_simd::STANDARD.decode_to_vec(text).unwrap();
    let expected: Vec<u8> = float.vectors()[0]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    assert_eq!(bytes, expected);
    assert_eq!(upstream.call_count(), 1);
    assert_eq!(upstream.calls()[0].json()["encoding_format"], "base64");
}

#[tokio::test]
async fn the_upstreams_model_name_is_returned_on_hits_as_on_misses() {
    let (upstream, gateway) = Setup::new().start().await;
    for _ in 0..2 {
        let answer = gateway.embed(json!({"model": "ada", "input": "a"})).await;
        assert_eq!(answer.json()["model"], "ada-v2");
    }
    assert_eq!(upstream.call_count(), 1);
}

#[tokio::test]
async fn an_upstreams_error_reaches_the_caller_verbatim_and_is_not_remembered() {
    let (upstream, gateway) = Setup::new().with("RATE_WAIT", "0s").start().await;
    let body = r#"{"error": {"message":"Rate limit reached", "type":"tokens"}} "#;
    upstream.answers(move |_| {
        std::future::ready(
            Response::builder()
                .status(429)
                .header("content-type", "application/json; charset=utf-8")
                .header("retry-after", "7")
                .header("x-ratelimit-reset-tokens", "6s")
                .header("x-request-id", "req_9")
                .header("openai-processing-ms", "3")
                .header("set-cookie", "a=b")
                .body(Body::from(body))
                .unwrap(),
        )
    });
    for _ in 0..2 {
        let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.body, body);
        assert_eq!(
            answer.header("content-type"),
            "application/json; charset=utf-8"
        );
        assert_eq!(answer.header("retry-after"), "7");
        assert_eq!(answer.header("x-ratelimit-reset-tokens"), "6s");
        assert_eq!(answer.header("x-request-id"), "req_9");
        assert_eq!(answer.header("openai-processing-ms"), "3");
        assert_eq!(answer.header("set-cookie"), "");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!(upstream.call_count(), 2);
}

#[tokio::test]
async fn a_miss_shows_the_calls_headers_and_a_hit_does_not() {
    let (_upstream, gateway) = Setup::new().start().await;
    let request = || post(&json!({"model": "m", "input": "a"}));
    let miss = gateway.send(request()).await;
    assert_eq!(miss.header("x-request-id"), "req_1");
    assert_eq!(miss.header("x-ratelimit-remaining-requests"), "99");
    assert_eq!(miss.header("set-cookie"), "");
    let hit = gateway.send(request()).await;
    for name in [
        "x-request-id",
        "x-ratelimit-remaining-requests",
        "openai-organization",
    ] {
        assert_eq!(hit.header(name), "", "{name}");
    }
    assert_eq!(hit.header("content-type"), "application/json");
}

#[tokio::test]
async fn only_listed_headers_go_upstream_on_the_cached_route() {
    let (upstream, gateway) = Setup::new().start().await;
    let mut request = post(&json!({"model": "m", "input": "a"}));
    for name in [
        "x-secret-credential",
        "cookie",
        "x-body-hash",
        "traceparent",
        "user-agent",
    ] {
        request.headers_mut().insert(name, "1".parse().unwrap());
    }
    request
        .headers_mut()
        .insert("openai-project", "p".parse().unwrap());
    gateway.send(request).await;
    let call = &upstream.calls()[0];
    let mut names: Vec<_> = call.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "accept-encoding",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "openai-project"
        ]
    );
    assert_eq!(call.target, "/v1/embeddings");
}

#[tokio::test]
async fn token_lists_are_embedded_like_text() {
    let (upstream, gateway) = Setup::new().start().await;
    let one = gateway
        .embed(json!({"model": "m", "input": [5, 6, 7]}))
        .await;
    assert_eq!(one.json()["usage"]["prompt_tokens"], 3);
    let two = gateway
        .embed(json!({"model": "m", "input": [[1], [5, 6, 7]]}))
        .await;
    assert_eq!(two.vectors()[1], one.vectors()[0]);
    assert_eq!(two.json()["usage"]["prompt_tokens"], 4);
    assert_eq!(upstream.inputs(), [json!([5, 6, 7]), json!([1])]);
}

#[tokio::test]
async fn a_large_batch_goes_in_several_calls() {
    for (variables, count, expected) in [
        (&[][..], 5000, [904, 2048, 2048]),
        (&[("UPSTREAM_MAX_INPUTS", "32")], 70, [6, 32, 32]),
    ] {
        let (upstream, gateway) = Setup::new().with_all(variables).start().await;
        let texts: Vec<String> = (0..count).map(|n| format!("text {n}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let answer = gateway.embed(json!({"model": "m", "input": texts})).await;
        assert_eq!(answer.vectors(), vectors("m", &texts));
        let calls = upstream.calls();
        let mut sizes: Vec<_> = calls.iter().map(|call| call.inputs().len()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, expected);
    }
}

#[tokio::test]
async fn health_and_readiness_are_told() {
    let (_upstream, gateway) = Setup::new().start().await;
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(gateway.send(get("/healthz")).await.status, StatusCode::OK);
    assert_eq!(gateway.send(get("/readyz")).await.status, StatusCode::OK);
    gateway.app.start_draining();
    assert_eq!(gateway.send(get("/healthz")).await.status, StatusCode::OK);
    assert_eq!(
        gateway.send(get("/readyz")).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let metrics = gateway.send(get("/metrics")).await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    assert!(metrics.body.ends_with(b"# EOF\n"));
}

/// Counts connections, and closes each before a word is said.
async fn hangs_up_at_once() -> (String, std::sync::Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // With TLS, a connection counts only once the handshake is done.
    let url = format!("https://{}/v1", listener.local_addr().unwrap());
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&count);
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (url, count, accepting)
}

#[tokio::test]
async fn a_connection_that_fails_is_tried_once_more() {
    let (url, connections, _accepting) = hangs_up_at_once().await;
    let gateway = Setup::new().at(&url).await;
    let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(answer.error_code(), "upstream_unreachable");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    let chat = Request::post("/v1/chat/completions")
        .body(Body::from("{}"))
        .unwrap();
    assert_eq!(
        gateway.send(chat).await.error_code(),
        "upstream_unreachable"
    );
    assert_eq!(connections.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn an_answer_is_never_tried_again() {
    for status in [408, 409, 429, 500, 502, 503] {
        let (upstream, gateway) = Setup::new().start().await;
        upstream.answers_json(StatusCode::from_u16(status).unwrap(), json!({"error": {}}));
        assert_eq!(
            gateway
                .embed(json!({"model": "m", "input": "a"}))
                .await
                .status,
            status
        );
        assert_eq!(upstream.call_count(), 1);
    }
}

#[tokio::test]
async fn large_batches_are_answered_whole() {
    let (upstream, gateway) = Setup::new().start().await;
    for count in [1_usize, 2048, 2049, 10_000] {
        let texts: Vec<String> = (0..count).map(|n| format!("{count} {n}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let before = upstream.call_count();
        let answer = gateway.embed(json!({"model": "m", "input": texts})).await;
        assert_eq!(answer.vectors(), vectors("m", &texts));
        assert_eq!(upstream.call_count() - before, count.div_ceil(2048));
        let total = texts.iter().map(|text| text.len()).sum::<usize>();
        assert_eq!(answer.json()["usage"]["total_tokens"], total);
    }
}
