//! Varnish may store an answer only under the hash of the body that it answers.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::Setup;
use crate::support::gateway::{Answer, Gateway, post, with};
use crate::support::upstream::{self, Upstream};

fn body() -> Value {
    json!({"model": "m", "input": "a"})
}

fn hash(body: &Value) -> String {
    Sha256::digest(body.to_string())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn hashed() -> Request<Body> {
    with(post(&body()), "x-body-hash", &hash(&body()))
}

/// A purge arrives while the call to the upstream runs.
async fn is_purged_on_the_way(
    upstream: &Upstream,
    gateway: &Arc<Gateway>,
    what: Option<String>,
) -> Answer {
    let purging = Arc::clone(gateway);
    upstream.answers(move |call| {
        let (gateway, what) = (Arc::clone(&purging), what.clone());
        async move {
            let purge = Request::builder().method("PURGE").uri("/v1/embeddings");
            let purge = what
                .into_iter()
                .fold(purge, |purge, what| purge.header("surrogate-key", what));
            gateway.send(purge.body(Body::empty()).unwrap()).await;
            upstream::embeddings(&call)
        }
    });
    let answer = gateway.send(hashed()).await;
    assert_eq!(answer.status, StatusCode::OK);
    upstream.answers(|call| async move { upstream::embeddings(&call) });
    answer
}

async fn purgeable(upstream: &Upstream, variables: &[(&str, &str)]) -> Arc<Gateway> {
    let purge = ("ALLOW_ANONYMOUS_PURGE", "true");
    let gateway = Setup::new()
        .with_all(&[&[purge], variables].concat())
        .before(upstream)
        .await;
    gateway.warm_up().await;
    Arc::new(gateway)
}

#[tokio::test]
async fn an_answer_that_is_purged_on_its_way_is_not_storable() {
    let upstream = Upstream::start().await;
    let gateway = purgeable(&upstream, &[]).await;
    let answer = is_purged_on_the_way(&upstream, &gateway, None).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    for status in [
        "embedding-gateway; fwd=miss; stored",
        "embedding-gateway; hit",
    ] {
        let answer = gateway.send(hashed()).await;
        assert_eq!(answer.header("cache-status"), status);
        assert_eq!(answer.header("cache-control"), "max-age=3600");
    }
}

/// Each tag of an answer purges it, also that of the credential beside a shared scope.
#[tokio::test]
async fn an_answer_that_is_purged_on_its_way_by_any_of_its_tags_is_not_storable() {
    let upstream = Upstream::start().await;
    let shared = [("CACHE_SCOPE", "shared")];
    let tags = purgeable(&upstream, &shared).await.send(hashed()).await;
    let tags: Vec<&str> = tags.header("surrogate-key").split(' ').collect();
    assert_eq!(tags.len(), 3);
    for tag in tags {
        let gateway = purgeable(&upstream, &shared).await;
        let answer = is_purged_on_the_way(&upstream, &gateway, Some(tag.to_owned())).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{tag}");
        let later = gateway.send(hashed()).await;
        assert_eq!(later.header("cache-control"), "max-age=3600", "{tag}");
    }
}

#[tokio::test]
async fn the_right_hash_makes_an_answer_storable() {
    let (_upstream, gateway) = Setup::new().with("RESPONSE_MAX_AGE", "10m").start().await;
    let answer = gateway
        .send(with(post(&body()), "x-body-hash", &hash(&body())))
        .await;
    assert_eq!(answer.header("cache-control"), "max-age=600");
    let tags = answer.header("surrogate-key");
    assert!(tags.starts_with("model:m scope:"), "{tags}");
    assert_eq!(
        tags.split(' ').count(),
        2,
        "a credential's own scope stands once: {tags}"
    );
    assert_eq!(
        gateway.metric("embedding_gateway_body_hashes_total{verdict=\"match\"}"),
        1
    );
}

#[tokio::test]
async fn a_false_hash_is_answered_counted_and_not_storable() {
    let (_upstream, gateway) = Setup::new().start().await;
    let other = hash(&json!({"model": "m", "input": "b"}));
    let answer = gateway
        .send(with(post(&body()), "x-body-hash", &other))
        .await;
    assert_eq!(answer.vectors().len(), 1);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        gateway.metric("embedding_gateway_body_hashes_total{verdict=\"mismatch\"}"),
        1
    );
}

#[tokio::test]
async fn without_a_hash_an_answer_is_not_storable() {
    let (_upstream, gateway) = Setup::new().start().await;
    let answer = gateway.embed(body()).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        gateway.metric("embedding_gateway_body_hashes_total{verdict=\"absent\"}"),
        1
    );
}

#[tokio::test]
async fn no_store_wins_over_the_right_hash() {
    let (_upstream, gateway) = Setup::new().start().await;
    let request = with(post(&body()), "x-body-hash", &hash(&body()));
    let answer = gateway
        .send(with(request, "cache-control", "no-store"))
        .await;
    assert_eq!(answer.header("cache-control"), "no-store");
}
