//! Requests over a limit, and faults of the upstream: a clear error, and nothing stored.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::Setup;
use crate::support::gateway::{post, post_raw, with};
use crate::support::upstream::{Upstream, embeddings_body, json_answer};
use crate::support::waiting::until;

#[tokio::test]
async fn what_is_not_json_is_refused_by_us() {
    let (upstream, gateway) = Setup::new().start().await;
    for body in ["", "{", "not json", "{\"input\":\"\u{0}\"}", "{} {}"] {
        let answer = gateway.send(post_raw(body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.error_code(), "invalid_json");
    }
    assert_eq!(upstream.call_count(), 0);
}

#[tokio::test]
async fn json_that_we_do_not_understand_is_the_upstreams_to_judge() {
    let (upstream, gateway) = Setup::new().start().await;
    let refusal = json!({"error": {"message": "you must provide a model parameter"}});
    upstream.answers_json(StatusCode::BAD_REQUEST, refusal.clone());
    for body in [
        "{}",
        "[]",
        "\"\"",
        "null",
        r#"{"model":"m","input":"a","input":"b"}"#,
    ] {
        let answer = gateway.send(post_raw(body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.json(), refusal);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(
            answer.header("cache-status"),
            "embedding-gateway; fwd=bypass"
        );
        assert_eq!(upstream.calls().last().unwrap().body, body);
    }
}

#[tokio::test]
async fn a_query_or_an_encoded_body_is_not_cached() {
    let (upstream, gateway) = Setup::new().start().await;
    for _ in 0..2 {
        let mut request = post(&json!({"model": "m", "input": "a"}));
        *request.uri_mut() = "/v1/embeddings?key=secret".parse().unwrap();
        let answer = gateway.send(request).await;
        assert_eq!(
            answer.header("cache-status"),
            "embedding-gateway; fwd=bypass"
        );
    }
    assert_eq!(upstream.call_count(), 2);
    assert_eq!(upstream.calls()[0].target, "/v1/embeddings?key=secret");

    upstream.answers(|_| std::future::ready(json_answer(StatusCode::OK, &json!({}))));
    let plain = json!({"model": "m", "input": "a"}).to_string();
    // The second one is no JSON, nor is it meant to be.
    for body in [plain.as_bytes(), b"\x1f\x8b\x08\x00\xff"] {
        let request = with(post_raw(body.to_vec()), "content-encoding", "gzip");
        let answer = gateway.send(request).await;
        assert_eq!(
            answer.header("cache-status"),
            "embedding-gateway; fwd=bypass"
        );
        let call = upstream.calls().pop().unwrap();
        assert_eq!(call.body, body);
        assert_eq!(call.headers["content-encoding"], "gzip");
    }
    assert_eq!(upstream.call_count(), 4);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let (upstream, gateway) = Setup::new().with("MAX_BODY_BYTES", "100").start().await;
    let long = json!({"model": "m", "input": "x".repeat(100)}).to_string();
    let chunked = futures_util::stream::iter([Ok::<_, std::io::Error>(long.clone())]);
    for body in [Body::from(long), Body::from_stream(chunked)] {
        let answer = gateway.send(post_raw(body)).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer.error_code(), "body_too_large");
    }
    let fits = format!("{:100}", json!({"model": "m", "input": "x"}).to_string());
    assert_eq!(gateway.send(post_raw(fits)).await.status, StatusCode::OK);
    assert_eq!(upstream.call_count(), 1);
}

#[tokio::test]
async fn too_many_or_too_large_inputs_are_refused() {
    let variables = [("MAX_INPUTS", "2"), ("MAX_INPUT_BYTES", "5")];
    let (upstream, gateway) = Setup::new().with_all(&variables).start().await;
    let many = gateway
        .embed(json!({"model": "m", "input": ["a", "b", "c"]}))
        .await;
    assert_eq!(many.status, StatusCode::BAD_REQUEST);
    assert_eq!(many.error_code(), "too_many_inputs");
    let large = gateway
        .embed(json!({"model": "m", "input": ["abc", "abcd"]}))
        .await;
    assert_eq!(large.error_code(), "input_too_large");
    assert_eq!(upstream.call_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let (_upstream, gateway) = Setup::new().start().await;
    let never = Body::from_stream(futures_util::stream::pending::<
        Result<String, std::io::Error>,
    >());
    let answer = gateway.send(post_raw(never)).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(answer.error_code(), "body_timeout");
}

#[tokio::test]
async fn a_wrong_method_and_an_unknown_path_are_refused() {
    let (upstream, gateway) = Setup::new().start().await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let request = Request::builder().method(method).uri("/v1/embeddings");
        let answer = gateway.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.header("allow"), "POST");
        assert_eq!(answer.error_code(), "method_not_allowed");
    }
    for path in [
        "/v1",
        "/status",
        "/v2/embeddings",
        "/embeddings",
        "/v1embeddings",
        "//v1/models",
    ] {
        let answer = gateway
            .send(Request::get(path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.error_code(), "not_found");
    }
    assert_eq!(upstream.call_count(), 0);
}

#[tokio::test]
async fn an_upstream_that_is_down_is_502() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let gateway = Setup::new().at(&url).await;
    let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.error_code(), "upstream_unreachable");
    let other = gateway
        .send(Request::get("/v1/models").body(Body::empty()).unwrap())
        .await;
    assert_eq!(other.status, StatusCode::BAD_GATEWAY);
    assert_eq!(other.error_code(), "upstream_unreachable");
}

#[tokio::test]
async fn an_upstream_that_hangs_is_504() {
    let upstream = Upstream::start().await;
    upstream.answers(|_| std::future::pending());
    let variables = [
        ("UPSTREAM_TIMEOUT", "50ms"),
        ("UPSTREAM_IDLE_TIMEOUT", "50ms"),
    ];
    let gateway = Setup::new().with_all(&variables).before(&upstream).await;
    let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.error_code(), "upstream_timeout");
    let other = gateway
        .send(Request::get("/v1/models").body(Body::empty()).unwrap())
        .await;
    assert_eq!(other.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn an_unsound_answer_is_502_and_nothing_of_it_is_kept() {
    let (upstream, gateway) = Setup::new().start().await;
    let good = json!({"index": 0, "embedding": [1.0]});
    let unsound = [
        json!({}),
        json!({"data": []}),
        json!({"data": [good]}),
        json!({"data": [good, good]}),
        json!({"data": [good, {"index": 1, "embedding": [0.0]}]}),
        json!({"data": [good, {"index": 1, "embedding": [1.0, 2.0]}]}),
        json!({"data": [good, {"index": 1, "embedding": "?"}]}),
        json!({"data": [good, {"index": 1, "embedding": "AADAfw=="}]}),
    ];
    for body in unsound {
        upstream.answers_json(StatusCode::OK, body.clone());
        let answer = gateway
            .embed(json!({"model": "m", "input": ["a", "b"]}))
            .await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{body}");
        assert_eq!(answer.error_code(), "upstream_unusable");
    }
    upstream
        .answers(|call| std::future::ready(json_answer(StatusCode::OK, &embeddings_body(&call))));
    let answer = gateway
        .embed(json!({"model": "m", "input": ["a", "b"]}))
        .await;
    assert_eq!(
        answer.header("cache-status"),
        "embedding-gateway; fwd=miss; stored"
    );
}

#[tokio::test]
async fn too_many_requests_at_a_time_are_refused_at_once() {
    let (upstream, gateway) = Setup::new()
        .with("MAX_CONCURRENT_REQUESTS", "1")
        .start()
        .await;
    upstream.answers(|_| std::future::pending());
    let hanging = gateway.embed(json!({"model": "m", "input": "a"}));
    tokio::select! {
        _ = hanging => panic!("the upstream does not answer"),
        answer = async {
            until(|| upstream.call_count() > 0).await;
            gateway.embed(json!({"model": "m", "input": "b"})).await
        } => {
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answer.header("retry-after"), "1");
            assert_eq!(answer.error_code(), "busy");
        }
    }
}
