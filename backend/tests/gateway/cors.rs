//! `CORS_ORIGINS`: pages in browsers, their preflights, and what they may read.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;

use crate::support::Setup;
use crate::support::gateway::{Answer, Gateway, post};

const PAGE: &str = "https://app.example";
const OTHER: &str = "https://other.example";
const PATHS: [&str; 3] = [
    "/v1/embeddings",
    "/v1/chat/completions",
    "/v1/files/x/content",
];

async fn preflight(gateway: &Gateway, path: &str, origin: &str) -> Answer {
    let request = Request::options(path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,x-stainless-os",
        );
    gateway.send(request.body(Body::empty()).unwrap()).await
}

async fn embed(gateway: &Gateway, origin: Option<&str>) -> Answer {
    let mut request = post(&json!({"model": "m", "input": "a"}));
    if let Some(origin) = origin {
        request
            .headers_mut()
            .insert("origin", origin.parse().unwrap());
    }
    gateway.send(request).await
}

fn allowed(answer: &Answer) -> Option<&str> {
    let origin = answer.headers.get("access-control-allow-origin")?;
    Some(origin.to_str().unwrap())
}

fn varies(answer: &Answer) -> bool {
    answer
        .headers
        .get_all("vary")
        .iter()
        .any(|vary| vary == "Origin")
}

#[tokio::test]
async fn preflights_are_answered_here_on_every_path_without_a_key() {
    let variables = [
        ("OPENAI_API_KEY", "sk-gateway"),
        ("ALLOW_ANONYMOUS", "true"),
        ("CORS_ORIGINS", PAGE),
    ];
    let (upstream, gateway) = Setup::new().with_all(&variables).start().await;
    for path in PATHS {
        let answer = preflight(&gateway, path, PAGE).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(allowed(&answer), Some(PAGE));
        assert!(
            answer
                .header("access-control-allow-methods")
                .contains("POST")
        );
        let headers = answer.header("access-control-allow-headers");
        assert_eq!(headers, "authorization,x-stainless-os");
        assert_eq!(answer.header("access-control-max-age"), "7200");
        assert!(varies(&answer));
        let foreign = preflight(&gateway, path, OTHER).await;
        assert_eq!(allowed(&foreign), None);
        assert!(!foreign.headers.contains_key("access-control-allow-headers"));
        assert!(varies(&foreign));
    }
    assert_eq!(upstream.call_count(), 0);
}

#[tokio::test]
async fn a_page_reads_vectors_errors_and_all_that_passes() {
    let (upstream, gateway) = Setup::new().with("CORS_ORIGINS", PAGE).start().await;
    for _ in ["miss", "hit"] {
        let answer = embed(&gateway, Some(PAGE)).await;
        assert_eq!(allowed(&answer), Some(PAGE));
        assert!(varies(&answer));
        let exposed = answer.header("access-control-expose-headers");
        for name in [
            "x-request-id",
            "cache-status",
            "retry-after",
            "x-embedding-billed-tokens",
        ] {
            assert!(exposed.contains(name), "{name}");
        }
    }
    for origin in [None, Some(OTHER)] {
        let answer = embed(&gateway, origin).await;
        assert_eq!(allowed(&answer), None);
        assert!(varies(&answer), "a cache in front must tell origins apart");
    }
    let chat = Request::post("/v1/chat/completions").header("origin", PAGE);
    let passed = gateway.send(chat.body(Body::from("{}")).unwrap()).await;
    assert_eq!(allowed(&passed), Some(PAGE));
    let broken = Request::post("/v1/embeddings").header("origin", PAGE);
    let broken = gateway.send(broken.body(Body::from("{")).unwrap()).await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert_eq!(allowed(&broken), Some(PAGE));
    upstream.answers_json(StatusCode::TOO_MANY_REQUESTS, json!({"error": {}}));
    let mut refused = post(&json!({"model": "m", "input": "b"}));
    refused
        .headers_mut()
        .insert("origin", PAGE.parse().unwrap());
    let refused = gateway.send(refused).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(allowed(&refused), Some(PAGE));
}

#[tokio::test]
async fn all_origins_get_one_answer() {
    let (_upstream, gateway) = Setup::new().with("CORS_ORIGINS", "*").start().await;
    for origin in [None, Some(PAGE)] {
        let answer = embed(&gateway, origin).await;
        assert_eq!(allowed(&answer), Some("*"));
        assert!(!varies(&answer));
    }
    assert_eq!(
        allowed(&preflight(&gateway, PATHS[1], OTHER).await),
        Some("*")
    );
}

#[tokio::test]
async fn without_the_variable_nothing_changes() {
    let (upstream, gateway) = Setup::new().start().await;
    let answer = embed(&gateway, Some(PAGE)).await;
    assert_eq!(allowed(&answer), None);
    assert!(!answer.headers.contains_key("vary"));
    let calls = upstream.call_count();
    upstream.answers_json(StatusCode::OK, json!({}));
    preflight(&gateway, PATHS[1], PAGE).await;
    assert_eq!(upstream.call_count(), calls + 1);
    let refused = preflight(&gateway, PATHS[0], PAGE).await;
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
}
