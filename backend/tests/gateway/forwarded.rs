//! `FORWARD_HEADERS`: headers that the operator makes a part of callers' credentials.

use axum::body::Body;
use embedding_gateway::config::Config;
use http::{Request, StatusCode};
use serde_json::json;

use crate::support::Setup;
use crate::support::gateway::{Gateway, post};

const KEY: &str = "ocp-apim-subscription-key";
const FIRST: &str = "sk-first-subscription-key";
const SECOND: &str = "sk-second-subscription-key";

async fn status(gateway: &Gateway, values: &[&str]) -> String {
    let mut request = post(&json!({"model": "m", "input": "a"}));
    for value in values {
        request.headers_mut().append(KEY, value.parse().unwrap());
    }
    let answer = gateway.send(request).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.header("cache-status").to_owned()
}

#[tokio::test]
async fn each_value_is_a_credential_of_its_own_and_goes_upstream() {
    let listed = "X-Team, Ocp-Apim-Subscription-Key";
    let (upstream, gateway) = Setup::new().with("FORWARD_HEADERS", listed).start().await;
    let credentials: [&[&str]; 5] = [&[], &[FIRST], &[SECOND], &[FIRST, SECOND], &[""]];
    for values in credentials {
        let first = status(&gateway, values).await;
        assert_eq!(first, "embedding-gateway; fwd=miss; stored", "{values:?}");
        let again = status(&gateway, values).await;
        assert_eq!(again, "embedding-gateway; hit", "{values:?}");
    }
    for (call, values) in upstream.calls().iter().zip(credentials) {
        let sent: Vec<_> = call.headers.get_all(KEY).iter().collect();
        assert_eq!(sent, values);
    }
    assert_eq!(upstream.call_count(), credentials.len());
}

#[tokio::test]
async fn in_a_shared_cache_each_value_earns_its_hits() {
    let variables = [("FORWARD_HEADERS", KEY), ("CACHE_SCOPE", "shared")];
    let (upstream, gateway) = Setup::new().with_all(&variables).start().await;
    status(&gateway, &[FIRST]).await;
    upstream.answers_json(
        StatusCode::UNAUTHORIZED,
        json!({"error": {"message": "no"}}),
    );
    let mut request = post(&json!({"model": "m", "input": "a"}));
    request.headers_mut().insert(KEY, SECOND.parse().unwrap());
    let refused = gateway.send(request).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_header_that_is_not_listed_stays_here() {
    let (upstream, gateway) = Setup::new().with("FORWARD_HEADERS", "x-team").start().await;
    status(&gateway, &[FIRST]).await;
    status(&gateway, &[SECOND]).await;
    assert_eq!(upstream.call_count(), 1);
    assert!(!upstream.calls()[0].headers.contains_key(KEY));
}

#[tokio::test]
async fn other_routes_get_it_once_as_before() {
    let (upstream, gateway) = Setup::new().with("FORWARD_HEADERS", KEY).start().await;
    let chat = Request::post("/v1/chat/completions").header(KEY, FIRST);
    gateway.send(chat.body(Body::from("{}")).unwrap()).await;
    let sent: Vec<_> = upstream.calls()[0]
        .headers
        .get_all(KEY)
        .iter()
        .cloned()
        .collect();
    assert_eq!(sent, [FIRST]);
}

#[test]
fn a_header_that_identifies_no_client_is_refused_at_the_start() {
    for wrong in [
        "Host",
        "Content-Length",
        "content-type",
        "Cache-Control",
        "X-Body-Hash",
        "X-Client-Cache-Control",
        "Connection",
        "Transfer-Encoding",
        "TE",
        "x-forwarded-for",
        "Cookie",
        "X-Key:v",
    ] {
        let given = [("FORWARD_HEADERS".into(), format!("X-Team, {wrong}"))];
        let problems = Config::from_variables(given).unwrap_err();
        let said = problems[0].to_string();
        assert!(said.starts_with("FORWARD_HEADERS: "), "{said}");
    }
}

#[test]
fn with_a_key_of_its_own_the_gateway_forwards_none() {
    let given = [
        ("OPENAI_API_KEY", "sk-gateway"),
        ("ALLOW_ANONYMOUS", "true"),
        ("FORWARD_HEADERS", KEY),
    ];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let problems = Config::from_variables(given).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].variable, "FORWARD_HEADERS");
}

/// An answer's headers may be kept in the memory of its request's.
#[tokio::test]
async fn no_answer_has_a_header_of_its_request() {
    let (_upstream, gateway) = Setup::new().start().await;
    let inputs = [json!("a"), json!(["a", "b"])];
    for input in inputs.iter().chain(&inputs) {
        let mut request = post(&json!({"model": "m", "input": input}));
        request
            .headers_mut()
            .insert("cookie", "session=mine".parse().unwrap());
        request
            .headers_mut()
            .insert("x-request-of", "mine".parse().unwrap());
        let answer = gateway.send(request).await;
        assert_eq!(answer.status, StatusCode::OK);
        for name in ["cookie", "x-request-of", "content-length", "accept"] {
            assert!(!answer.headers.contains_key(name), "{name}");
        }
    }
}
