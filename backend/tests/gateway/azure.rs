//! Azure's URLs are answered and cached like OpenAI's.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::support::Setup;
use crate::support::gateway::{Answer, Gateway, KEY, post};
use crate::support::upstream::vectors;

const HIT: &str = "embedding-gateway; hit";
const DEPLOYMENT: &str = "/openai/deployments/m/embeddings?api-version=2024-02-01";

fn at(target: &str, body: &Value) -> Request<Body> {
    let mut request = post(body);
    *request.uri_mut() = target.parse().unwrap();
    request
}

async fn ask(gateway: &Gateway, target: &str, body: Value) -> Answer {
    gateway.send(at(target, &body)).await
}

#[tokio::test]
async fn a_deployment_is_the_model_of_a_body_that_names_none() {
    let (upstream, gateway) = Setup::new().start().await;
    let answer = ask(&gateway, DEPLOYMENT, json!({"input": "a"})).await;
    assert_eq!(answer.vectors(), vectors("m", &["a"]));
    let call = &upstream.calls()[0];
    assert_eq!(call.target, "/v1/embeddings");
    assert_eq!(call.json()["model"], "m");

    // One vector, whichever URL asks for it, in whichever version of Azure's API.
    let later = "/openai/deployments/m/embeddings?api-version=2024-10-21";
    for (target, body) in [
        (later, json!({"input": "a"})),
        (DEPLOYMENT, json!({"input": "a", "model": "m"})),
        ("/openai/v1/embeddings", json!({"input": "a", "model": "m"})),
        ("/v1/embeddings", json!({"input": ["a"], "model": "m"})),
    ] {
        let answer = ask(&gateway, target, body).await;
        assert_eq!(answer.header("cache-status"), HIT, "{target}");
        assert_eq!(answer.vectors(), vectors("m", &["a"]), "{target}");
    }
    assert_eq!(upstream.call_count(), 1);
}

/// As at Azure: two deployments share nothing, whatever their bodies name.
#[tokio::test]
async fn the_deployment_decides_and_not_the_bodys_model() {
    let (upstream, gateway) = Setup::new().start().await;
    for deployment in ["m", "other", "with%20blank"] {
        let target = format!("/openai/deployments/{deployment}/embeddings");
        let answer = ask(&gateway, &target, json!({"model": "m", "input": "a"})).await;
        let name = deployment.replace("%20", " ");
        assert_eq!(answer.vectors(), vectors(&name, &["a"]), "{deployment}");
    }
    assert_eq!(upstream.call_count(), 3);
}

/// What is not understood goes upstream with the deployment's name, too.
#[tokio::test]
async fn a_bypass_names_the_deployment() {
    let (upstream, gateway) = Setup::new().start().await;
    let body = json!({"input": "a", "unknown_field": 1});
    let answer = ask(&gateway, DEPLOYMENT, body).await;
    assert_eq!(
        answer.header("cache-status"),
        "embedding-gateway; fwd=bypass"
    );
    let call = &upstream.calls()[0];
    assert_eq!(call.target, "/v1/embeddings");
    assert_eq!(
        call.json(),
        json!({"model": "m", "input": "a", "unknown_field": 1})
    );
}

#[tokio::test]
async fn a_query_beside_the_version_is_kept_apart() {
    let (upstream, gateway) = Setup::new().start().await;
    for query in ["", "?x=1", "?x=1&api-version=2024-02-01"] {
        let target = format!("/openai/deployments/m/embeddings{query}");
        ask(&gateway, &target, json!({"input": "a"})).await;
    }
    let targets: Vec<_> = upstream
        .calls()
        .into_iter()
        .map(|call| call.target)
        .collect();
    assert_eq!(targets, ["/v1/embeddings", "/v1/embeddings?x=1"]);
}

#[tokio::test]
async fn allowed_models_hold_for_deployments() {
    let (upstream, gateway) = Setup::new()
        .with("ALLOWED_EMBEDDING_MODELS", "m")
        .start()
        .await;
    let answer = ask(&gateway, DEPLOYMENT, json!({"input": "a"})).await;
    assert_eq!(answer.status, StatusCode::OK);
    let target = "/openai/deployments/other/embeddings";
    let answer = ask(&gateway, target, json!({"model": "m", "input": "a"})).await;
    assert_eq!(answer.error_code(), "model_not_allowed");
    assert_eq!(upstream.call_count(), 1);
}

#[tokio::test]
async fn allowed_routes_hold_for_azures_urls() {
    let gateways_key = [
        ("OPENAI_API_KEY", "sk-own-key"),
        ("ALLOW_ANONYMOUS", "true"),
    ];
    let (upstream, gateway) = Setup::new().with_all(&gateways_key).start().await;
    let answer = ask(&gateway, DEPLOYMENT, json!({"input": "a"})).await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = ask(&gateway, "/openai/v1/files", json!({})).await;
    assert_eq!(answer.error_code(), "route_not_allowed");
    assert_eq!(upstream.call_count(), 1);
}

#[tokio::test]
async fn everything_else_below_openai_v1_is_forwarded_and_other_paths_are_not() {
    let (upstream, gateway) = Setup::new().start().await;
    ask(
        &gateway,
        "/openai/v1/chat/completions?api-version=preview",
        json!({}),
    )
    .await;
    assert_eq!(
        upstream.calls()[0].target,
        "/v1/chat/completions?api-version=preview"
    );
    for target in [
        "/openai/deployments/m/chat/completions",
        "/openai/deployments/a%2fb/embeddings",
        "/openai/models",
    ] {
        let answer = ask(&gateway, target, json!({})).await;
        assert_eq!(answer.error_code(), "not_found", "{target}");
    }
    let dots = ask(&gateway, "/openai/v1/../x", json!({})).await;
    assert_eq!(dots.error_code(), "invalid_path");
    assert_eq!(upstream.call_count(), 1);
}

#[tokio::test]
async fn a_purge_of_a_deployments_url_purges_its_model() {
    let (_upstream, gateway) = Setup::new()
        .with("ALLOW_ANONYMOUS_PURGE", "true")
        .start()
        .await;
    for model in ["m", "other"] {
        gateway.embed(json!({"model": model, "input": "a"})).await;
    }
    let purge = Request::builder().method("PURGE").uri(DEPLOYMENT);
    let answer = gateway.send(purge.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.json(), json!({"purged": ["model:m"]}));
    let kept = gateway.embed(json!({"model": "other", "input": "a"})).await;
    assert_eq!(kept.header("cache-status"), HIT);
    let gone = ask(&gateway, DEPLOYMENT, json!({"input": "a"})).await;
    assert_ne!(gone.header("cache-status"), HIT);
}

/// `api-key` is the credential of Azure's clients.
#[tokio::test]
async fn an_api_key_is_a_credential_there_too() {
    let (upstream, gateway) = Setup::new().start().await;
    let mut request = at(DEPLOYMENT, &json!({"input": "a"}));
    request.headers_mut().remove("authorization");
    let key = KEY.trim_start_matches("Bearer ");
    request
        .headers_mut()
        .insert("api-key", key.parse().unwrap());
    assert_eq!(gateway.send(request).await.status, StatusCode::OK);
    assert_eq!(upstream.calls()[0].headers["api-key"], key);
}
