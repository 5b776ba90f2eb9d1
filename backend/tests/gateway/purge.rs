//! Purged vectors are misses, at this gateway and at every other one on the same store.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;

use crate::support::Setup;
use crate::support::bucket::{Bucket, Mood};
use crate::support::clock::StoppedClock;
use crate::support::gateway::{Answer, Gateway};
use crate::support::upstream::Upstream;
use crate::support::waiting::{PATIENCE, until};

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
    for tag in ["m*", "model:", "model:m; x", "model:m *", "model:m\""] {
        let answer = purge(&gateway, "/v1/embeddings", &[("surrogate-key", tag)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{tag}");
        assert_eq!(answer.error_code(), "invalid_tag");
    }
    assert_eq!(status(&gateway, "m").await, HIT);
}

#[tokio::test]
async fn a_tag_that_no_vector_carries_purges_nothing_and_is_no_mistake() {
    let (_upstream, gateway) = Setup::new().with_all(&[ANONYMOUS]).start().await;
    status(&gateway, "m").await;
    for (tags, purged) in [
        ("docs", json!([])),
        ("m", json!([])),
        ("all", json!([])),
        ("all:m kind:m docs, docs", json!([])),
        ("docs model:other docs", json!(["model:other"])),
    ] {
        let answer = purge(&gateway, "/v1/embeddings", &[("surrogate-key", tags)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{tags}");
        assert_eq!(answer.json(), json!({ "purged": purged }), "{tags}");
        assert_eq!(status(&gateway, "m").await, HIT, "{tags}");
    }
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
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
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

/// A gateway that may purge, on a bucket.
async fn on(bucket: &Bucket, upstream: &Upstream) -> Gateway {
    let mut variables = bucket.variables();
    variables.push(ANONYMOUS);
    Setup::new().with_all(&variables).before(upstream).await
}

/// Unix milliseconds, some hours from now or before.
fn in_hours(hours: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_millis()).unwrap() + hours * 3_600_000
}

#[tokio::test]
async fn one_purge_writes_one_marker_for_each_tag_and_all_side_by_side() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    let gateway = on(&bucket, &upstream).await;
    knows_purges(&gateway).await;
    let tags = |from, to| {
        (from..to)
            .map(|n| format!("model:{n} "))
            .collect::<String>()
    };
    let answer = purge(&gateway, "/", &[("surrogate-key", &tags(0, 460))]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(bucket.markers().len(), 460);

    // Few: the bucket tells the time of day, from which a stopped clock moves away.
    bucket.set(Mood::Unhurried);
    let clock = StoppedClock::by(Duration::from_millis(1));
    let tags = tags(460, 500);
    let headers = [("surrogate-key", &*tags)];
    let answer = clock.passes_until(purge(&gateway, "/", &headers)).await;
    assert_eq!(answer.status, StatusCode::OK);
    drop(clock);
    assert!(bucket.most_at_once() > 8, "{}", bucket.most_at_once());
    assert_eq!(bucket.markers().len(), 500);

    let again = ["model:x"; 500].join(",");
    purge(&gateway, "/", &[("surrogate-key", &again)]).await;
    purge(&gateway, "/", &[("surrogate-key", "docs kind:x")]).await;
    assert_eq!(bucket.markers().len(), 501);
}

#[tokio::test]
async fn a_marker_of_the_future_counts_from_its_writing_on() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    let first = on(&bucket, &upstream).await;
    status(&first, "m").await;
    first.app.finish().await;
    bucket.put(&format!("purge/all/all/{}", in_hours(1)));
    let second = on(&bucket, &upstream).await;
    second.warm_up().await;
    knows_purges(&second).await;
    assert_eq!(status(&second, "m").await, MISS, "it is a purge");
    let kept = async {
        while status(&second, "m").await != HIT {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, kept).await.unwrap();
}

#[tokio::test]
async fn old_markers_that_a_later_one_repeats_are_deleted() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    for minute in 0..600 {
        bucket.put(&format!("purge/model/m/{}", in_hours(-20) + minute));
    }
    bucket.put(&format!("purge/all/all/{}", in_hours(-30)));
    bucket.put(&format!("purge/model/old/{}", in_hours(-40)));
    bucket.put(&format!("purge/model/new/{}", in_hours(0)));
    let _gateway = on(&bucket, &upstream).await;
    until(|| bucket.markers().len() == 3).await;
}

#[tokio::test]
async fn purges_that_cannot_be_listed_are_told() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    let gateway = on(&bucket, &upstream).await;
    knows_purges(&gateway).await;
    let age = || gateway.app.gauges().store.unwrap().purges_age.unwrap();
    until(|| age() < Duration::from_secs(4)).await;
    bucket.set(Mood::GetAndPutOnly);
    until(|| age() > Duration::from_secs(4)).await;
    bucket.set(Mood::Healthy);
    until(|| age() < Duration::from_secs(4)).await;
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
