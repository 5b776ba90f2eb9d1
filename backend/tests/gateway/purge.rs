//! Purged vectors are misses, at this gateway and at every other one on the same store.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;

use crate::support::Setup;
use crate::support::bucket::{Bucket, Mood};
use crate::support::gateway::{Answer, Gateway};
use crate::support::upstream::Upstream;
use crate::support::waiting::until;

const MISS: &str = "embedding-gateway; fwd=miss; stored";
const HIT: &str = "embedding-gateway; hit";
const ANONYMOUS: (&str, &str) = ("ALLOW_ANONYMOUS_PURGE", "true");

async fn purge(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method("PURGE").uri(path);
    for &(name, value) in headers {
        request = request.header(name, value);
    }
    gateway.send(request.body(Body::empty()).unwrap()).await
}

/// A gateway serves nothing from the store before it knows other gateways' purges.
async fn knows_purges(gateway: &Gateway) {
    until(|| gateway.app.resolver.cache().purges().are_known()).await;
}

async fn status(gateway: &Gateway, model: &str) -> String {
    let answer = gateway.embed(json!({"model": model, "input": "a"})).await;
    answer.header("cache-status").to_owned()
}

#[tokio::test]
async fn a_tag_purges_what_carries_it_and_nothing_else() {
    let (_upstream, gateway) = Setup::new().with_all(&[ANONYMOUS]).start().await;
    for model in ["m", "mm"] {
        status(&gateway, model).await;
    }
    let answer = purge(&gateway, "/v1/embeddings", &[("surrogate-key", "model:m")]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json(), json!({"purged": ["model:m"]}));
    assert_eq!(status(&gateway, "mm").await, HIT);
    assert_eq!(status(&gateway, "m").await, MISS);
    assert_eq!(status(&gateway, "m").await, HIT);
}

#[tokio::test]
async fn the_scope_of_an_answer_purges_it() {
    let (_upstream, gateway) = Setup::new().with_all(&[ANONYMOUS]).start().await;
    let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
    let tags = answer.header("surrogate-key").to_owned();
    let scope = tags
        .split(' ')
        .find(|tag| tag.starts_with("scope:"))
        .unwrap();
    purge(&gateway, "/", &[("surrogate-key", scope)]).await;
    assert_eq!(status(&gateway, "m").await, MISS);
}

#[tokio::test]
async fn everything_is_purged_by_header_or_by_the_one_path_that_is_cached() {
    let (_upstream, gateway) = Setup::new().with_all(&[ANONYMOUS]).start().await;
    status(&gateway, "m").await;
    assert_eq!(
        purge(&gateway, "/v1/models", &[]).await.json(),
        json!({"purged": []})
    );
    assert_eq!(status(&gateway, "m").await, HIT);
    for (path, headers) in [
        ("/", &[("x-purge-all", "true")][..]),
        ("/v1/embeddings", &[]),
    ] {
        assert_eq!(
            purge(&gateway, path, headers).await.json(),
            json!({"purged": ["all:all"]})
        );
        assert_eq!(status(&gateway, "m").await, MISS);
    }
}

#[tokio::test]
async fn what_is_no_tag_is_refused() {
    let (_upstream, gateway) = Setup::new().with_all(&[ANONYMOUS]).start().await;
    status(&gateway, "m").await;
    let no = purge(&gateway, "/", &[("x-purge-all", "no")]).await;
    assert_eq!(no.status, StatusCode::BAD_REQUEST);
    for tag in ["m", "model:", "model:m; x", "model:m *", "model:m\""] {
        let answer = purge(&gateway, "/v1/embeddings", &[("surrogate-key", tag)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{tag}");
        assert_eq!(answer.error_code(), "invalid_tag");
    }
    assert_eq!(status(&gateway, "m").await, HIT);
}

#[tokio::test]
async fn only_who_may_purge_purges() {
    let upstream = Upstream::start().await;
    let closed = Setup::new().before(&upstream).await;
    assert_eq!(
        purge(&closed, "/v1/embeddings", &[]).await.status,
        StatusCode::FORBIDDEN
    );

    let gateway = Setup::new()
        .with("ADMIN_TOKEN", "token")
        .before(&upstream)
        .await;
    for token in ["", "Bearer", "Bearer tokens", "Bearer Token", "token"] {
        let answer = purge(&gateway, "/v1/embeddings", &[("authorization", token)]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{token}");
    }
    let right = [("authorization", "Bearer token")];
    assert_eq!(
        purge(&gateway, "/v1/embeddings", &right).await.status,
        StatusCode::OK
    );
    assert_eq!(upstream.call_count(), 0);
}

#[tokio::test]
async fn another_gateway_on_the_same_bucket_sees_the_purge_in_memory_and_store() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    let mut variables = bucket.variables();
    variables.push(ANONYMOUS);
    let first = Setup::new().with_all(&variables).before(&upstream).await;
    let second = Setup::new().with_all(&variables).before(&upstream).await;
    assert_eq!(status(&first, "m").await, MISS);
    first.app.finish().await;
    second.warm_up().await;
    knows_purges(&second).await;
    assert_eq!(status(&second, "m").await, HIT);

    purge(&first, "/v1/embeddings", &[("surrogate-key", "model:m")]).await;
    let seen = async {
        while status(&second, "m").await == HIT {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), seen)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_gateway_that_starts_after_the_purge_does_not_serve_what_was_purged() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    let mut variables = bucket.variables();
    variables.push(ANONYMOUS);
    let first = Setup::new().with_all(&variables).before(&upstream).await;
    status(&first, "m").await;
    purge(&first, "/v1/embeddings", &[]).await;
    first.app.finish().await;
    let second = Setup::new().with_all(&variables).before(&upstream).await;
    second.warm_up().await;
    knows_purges(&second).await;
    assert_eq!(status(&second, "m").await, MISS);
}

#[tokio::test]
async fn a_purge_that_cannot_spread_says_so() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    let mut variables = bucket.variables();
    variables.push(ANONYMOUS);
    let gateway = Setup::new().with_all(&variables).before(&upstream).await;
    status(&gateway, "m").await;
    bucket.set(Mood::Refusing);
    let answer = purge(&gateway, "/v1/embeddings", &[]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.error_code(), "purge_not_spread");
    assert_eq!(status(&gateway, "m").await, MISS);
}

#[tokio::test]
async fn a_vector_asked_for_before_the_purge_is_not_shared_after_it() {
    let (upstream, gateway) = Setup::new().with_all(&[ANONYMOUS]).start().await;
    let (began, mut begins) = tokio::sync::mpsc::channel(2);
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let held = std::sync::Arc::clone(&gate);
    upstream.answers(move |call| {
        let (began, held) = (began.clone(), std::sync::Arc::clone(&held));
        async move {
            began.send(()).await.unwrap();
            held.acquire().await.unwrap().forget();
            crate::support::upstream::embeddings(&call)
        }
    });
    let early = status(&gateway, "m");
    let late = async {
        begins.recv().await.unwrap();
        purge(&gateway, "/v1/embeddings", &[]).await;
        gate.add_permits(10);
        status(&gateway, "m").await
    };
    let (early, late) = tokio::join!(early, late);
    assert_eq!((&*early, &*late), (MISS, MISS));
    assert_eq!(upstream.call_count(), 2);
}
