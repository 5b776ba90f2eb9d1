//! `GET /`: the status page's answers. Browser tests of its look are in tests/page.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::support::Setup;
use crate::support::gateway::{Answer, Gateway, post, post_raw, with};

const PATHS: [&str; 6] = [
    "/",
    "/status.css",
    "/status.js",
    "/status-totals.js",
    "/status.svg",
    "/status.json",
];

async fn get(gateway: &Gateway, path: &str) -> Answer {
    let request = Request::get(path).body(Body::empty()).unwrap();
    gateway.send(request).await
}

async fn figures(gateway: &Gateway) -> Value {
    get(gateway, "/status.json").await.json()
}

#[tokio::test]
async fn it_is_there_and_nothing_of_it_is_kept_or_framed() {
    let (_upstream, gateway) = Setup::new().start().await;
    for path in PATHS {
        let answer = get(&gateway, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
    let policy = get(&gateway, "/").await;
    let policy = policy.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn it_is_only_looked_at() {
    let (_upstream, gateway) = Setup::new().start().await;
    for path in PATHS.iter().chain(&["/metrics", "/healthz", "/readyz"]) {
        let head = Request::head(*path).body(Body::empty()).unwrap();
        let head = gateway.send(head).await;
        assert_eq!(head.status, StatusCode::OK, "{path}");
        assert!(head.body.is_empty(), "{path}");
        for method in [Method::OPTIONS, Method::POST] {
            let mut request = Request::get(*path).body(Body::empty()).unwrap();
            *request.method_mut() = method;
            let answer = gateway.send(request).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            assert_eq!(answer.header("allow"), "GET, HEAD", "{path}");
            assert_eq!(answer.error_code(), "method_not_allowed", "{path}");
        }
    }
}

#[tokio::test]
async fn turned_off_there_is_nothing() {
    let (_upstream, gateway) = Setup::new().with("STATUS_PAGE", "false").start().await;
    for path in PATHS {
        let answer = get(&gateway, path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.error_code(), "not_found");
    }
}

#[tokio::test]
async fn its_figures_are_those_of_the_metrics() {
    let (_upstream, gateway) = Setup::new()
        .with("STORE", "memory:")
        .with("TOKEN_PRICE", "0.13")
        .start()
        .await;
    gateway.warm_up().await;
    let inputs = json!({"model": "m", "input": ["a", "b", "b"]});
    gateway.embed(inputs.clone()).await;
    gateway.embed(inputs).await;

    let status = figures(&gateway).await;
    for outcome in ["memory", "store", "collapsed", "repeat", "miss"] {
        let line = format!("embedding_gateway_inputs_total{{outcome=\"{outcome}\"}}");
        assert_eq!(
            status["inputs"][outcome],
            gateway.metric(&line),
            "{outcome}"
        );
    }
    assert_eq!(status["inputs"]["memory"], 2);
    assert_eq!(status["requests"]["embeddings"], 3);
    assert_eq!(status["upstream"]["calls"], 2);
    assert_eq!(status["upstream"]["failed"], 0);
    assert_eq!(status["memory"]["entries"], 3);
    let saved = gateway.metric("embedding_gateway_memory_saved_bytes");
    assert_eq!(status["memory"]["saved_bytes"], saved);
    assert_eq!(status["store"]["kind"], "memory");
    assert_eq!(status["store"]["reads"], "closed");
    assert_eq!(status["store"]["writes"], "closed");
    assert_eq!(status["token_price"], 0.13);
    let tokens = |kind: &str| status["tokens"][kind].as_u64().unwrap();
    assert!(tokens("saved") > 0);
    assert_eq!(tokens("nominal"), tokens("billed") + tokens("saved"));
}

#[tokio::test]
async fn what_goes_past_the_cache_is_told_by_its_reason() {
    let (_upstream, gateway) = Setup::new().start().await;
    for _ in 0..2 {
        let answer = gateway.embed(json!({"model": "m", "input": "a", "stranger": 1}));
        assert_eq!(answer.await.status, StatusCode::OK);
    }
    gateway
        .embed(json!({"model": "m", "input": {"a": 1}}))
        .await;
    let mut keyed = post(&json!({"model": "m", "input": "a"}));
    *keyed.uri_mut() = "/v1/embeddings?api_key=k".parse().unwrap();
    gateway.send(keyed).await;
    let compressed = with(post_raw("no json"), "content-encoding", "gzip");
    gateway.send(compressed).await;
    let told = &figures(&gateway).await["requests"]["bypassed"];
    let expected = json!({"field": 2, "shape": 1, "query": 1, "encoding": 1});
    assert_eq!(*told, expected);
    for (reason, count) in expected.as_object().unwrap() {
        let line = format!("embedding_gateway_bypassed_requests_total{{reason=\"{reason}\"}}");
        assert_eq!(gateway.metric(&line), count.as_u64().unwrap(), "{reason}");
    }
}

#[tokio::test]
async fn page_loads_are_not_counted() {
    let (_upstream, gateway) = Setup::new().start().await;
    for path in PATHS {
        get(&gateway, path).await;
    }
    let line = "embedding_gateway_requests_total{route=\"other\",status=\"200\"}";
    assert_eq!(gateway.metric(line), 0);
}

#[tokio::test]
async fn an_error_is_told_by_kind_and_never_in_words() {
    let (_upstream, gateway) = Setup::new().start().await;
    assert_eq!(figures(&gateway).await["errors"], json!([]));
    for body in ["{secret words", "{other secret words"] {
        assert_eq!(
            gateway.send(post_raw(body)).await.error_code(),
            "invalid_json"
        );
    }
    let mut elsewhere = post_raw("");
    *elsewhere.method_mut() = Method::GET;
    assert_eq!(
        gateway.send(elsewhere).await.error_code(),
        "method_not_allowed"
    );

    let status = figures(&gateway).await;
    let kinds: Vec<_> = status["errors"].as_array().unwrap().iter().collect();
    assert_eq!(kinds[0]["code"], "method_not_allowed");
    assert_eq!(
        (&kinds[1]["code"], &kinds[1]["status"], &kinds[1]["count"]),
        (&json!("invalid_json"), &json!(400), &json!(2))
    );
    assert!(kinds[1]["last_ms"].as_u64() <= status["now_ms"].as_u64());
    assert!(!status.to_string().contains("secret"), "{status}");
}

#[tokio::test]
async fn an_error_that_is_passed_on_is_the_upstreams() {
    let gateway = Setup::new().at("http://127.0.0.1:9/v1").await;
    gateway.embed(json!({"model": "m", "input": "x"})).await;
    let errors = figures(&gateway).await["errors"].clone();
    assert_eq!(errors[0]["code"], "upstream_unreachable");
    let upstream = figures(&gateway).await["upstream"].clone();
    assert_eq!(
        (&upstream["failed"], &upstream["faulty"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn an_upstream_that_refuses_clients_is_not_at_fault() {
    let (upstream, gateway) = Setup::new().start().await;
    for (status, faulty) in [(401, 0), (404, 0), (429, 1), (500, 2), (302, 3)] {
        upstream.answers_json(StatusCode::from_u16(status).unwrap(), json!({}));
        gateway.embed(json!({"model": "m", "input": "x"})).await;
        assert_eq!(figures(&gateway).await["upstream"]["faulty"], faulty);
    }
    assert_eq!(figures(&gateway).await["upstream"]["failed"], 5);
}
