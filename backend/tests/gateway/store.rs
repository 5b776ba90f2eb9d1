//! The store fails in every way, and every request still gets the right answer in time.

use std::time::Duration;

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::Setup;
use crate::support::bucket::{Bucket, Mood};
use crate::support::clock::StoppedClock;
use crate::support::gateway::Gateway;
use crate::support::upstream::{Upstream, vectors};
use crate::support::waiting::until;

fn operations(gateway: &Gateway, operation: &str, result: &str) -> u64 {
    gateway.metric(&format!(
        "embedding_gateway_store_operations_total{{operation=\"{operation}\",result=\"{result}\"}}"
    ))
}

/// A bucket that holds the vectors of "a" and "b", and a gateway that has not seen them yet.
async fn stocked() -> (Upstream, Bucket, Gateway) {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    let first = Setup::new()
        .with_all(&bucket.variables())
        .before(&upstream)
        .await;
    first
        .embed(json!({"model": "m", "input": ["a", "b"]}))
        .await;
    first.app.finish().await;
    let gateway = Setup::new()
        .with_all(&bucket.variables())
        .before(&upstream)
        .await;
    gateway.warm_up().await;
    (upstream, bucket, gateway)
}

#[tokio::test]
async fn two_gateways_on_one_bucket_share_everything() {
    let (upstream, bucket, gateway) = stocked().await;
    let calls = upstream.call_count();
    let answer = gateway
        .embed(json!({"model": "m", "input": ["b", "a"]}))
        .await;
    assert_eq!(answer.vectors(), vectors("m", &["b", "a"]));
    assert_eq!(answer.header("cache-status"), "embedding-gateway; hit");
    assert_eq!(upstream.call_count(), calls);
    let reads = bucket.count(&Method::GET);
    gateway
        .embed(json!({"model": "m", "input": ["b", "a"]}))
        .await;
    assert_eq!(
        bucket.count(&Method::GET),
        reads,
        "a store hit fills memory"
    );
    let name = bucket.objects().into_keys().next().unwrap();
    assert!(name.starts_with("/vectors/v1/"), "{name}");
}

#[tokio::test]
async fn a_sick_store_costs_a_miss_and_is_counted() {
    let moods = [
        // As a key that may not list is told of what is absent.
        (Mood::Refusing, "absent"),
        (Mood::Failing, "failed"),
        (Mood::NoBucket, "failed"),
        (Mood::Slow, "timeout"),
        (Mood::CuttingOff, "failed"),
        (Mood::Truncating, "unusable"),
        (Mood::Confused, "unusable"),
    ];
    for (mood, result) in moods {
        let (_upstream, bucket, gateway) = stocked().await;
        readyz_after_check(&gateway).await;
        bucket.set(mood);
        let before = operations(&gateway, "get", result);
        let asked = gateway.embed(json!({"model": "m", "input": ["a", "b"]}));
        let answer = StoppedClock::stop().passes_until(asked).await;
        assert_eq!(answer.vectors(), vectors("m", &["a", "b"]), "{mood:?}");
        let counted = operations(&gateway, "get", result) - before;
        assert_eq!(counted, 2, "{mood:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_down_costs_a_miss() {
    let (_upstream, mut bucket, gateway) = stocked().await;
    bucket.stop().await;
    let answer = gateway
        .embed(json!({"model": "m", "input": ["a", "b"]}))
        .await;
    assert_eq!(answer.vectors(), vectors("m", &["a", "b"]));
    assert_eq!(operations(&gateway, "get", "failed"), 2);
}

#[tokio::test]
async fn a_store_that_keeps_failing_is_read_no_more() {
    let (_upstream, bucket, gateway) = stocked().await;
    bucket.set(Mood::Slow);
    let inputs: Vec<String> = (0..64).map(|n| format!("text {n}")).collect();
    let clock = StoppedClock::stop();
    let asked = gateway.embed(json!({"model": "m", "input": inputs}));
    clock.passes_until(asked).await;
    let skipped = operations(&gateway, "get", "skipped");
    let reads = bucket.count(&Method::GET);

    // Nothing waits for an open breaker: what is not asked is not waited for.
    let answer = gateway
        .embed(json!({"model": "m", "input": ["a", "b"]}))
        .await;
    assert_eq!(answer.vectors(), vectors("m", &["a", "b"]));
    assert_eq!(operations(&gateway, "get", "skipped"), skipped + 2);
    assert_eq!(bucket.count(&Method::GET), reads);
}

#[tokio::test]
async fn a_store_that_takes_no_writes_is_read() {
    let (upstream, bucket, gateway) = stocked().await;
    bucket.set(Mood::ReadOnly);
    let inputs: Vec<String> = (0..20).map(|n| format!("text {n}")).collect();
    gateway.embed(json!({"model": "m", "input": inputs})).await;
    let state = |operation, state| {
        gateway.metric(&format!(
            "embedding_gateway_store_breaker_state{{operation=\"{operation}\",state=\"{state}\"}}"
        ))
    };
    // It stays open while no time passes.
    let clock = StoppedClock::by(Duration::from_millis(100));
    let opened = until(|| state("put", "open") == 1);
    clock.passes_until(opened).await;
    assert!(operations(&gateway, "put", "failed") >= 8);
    assert_eq!(state("get", "closed"), 1);
    let calls = upstream.call_count();
    let answer = gateway
        .embed(json!({"model": "m", "input": ["a", "b"]}))
        .await;
    assert_eq!(answer.header("cache-status"), "embedding-gateway; hit");
    assert_eq!(upstream.call_count(), calls);
    let request = http::Request::get("/readyz").body(Body::empty()).unwrap();
    let ready = gateway.send(request).await;
    assert_eq!(ready.status, StatusCode::OK);
    let said = String::from_utf8(ready.body.to_vec()).unwrap();
    assert!(said.contains("store: writes fail, left alone\n"), "{said}");
}

/// What `GET /readyz` says once the store was checked.
async fn readyz_after_check(gateway: &Gateway) -> String {
    until(|| gateway.app.gauges().store.unwrap().rights.is_some()).await;
    let request = http::Request::get("/readyz").body(Body::empty()).unwrap();
    let ready = gateway.send(request).await;
    assert_eq!(ready.status, StatusCode::OK, "a store makes none unready");
    String::from_utf8(ready.body.to_vec()).unwrap()
}

#[tokio::test]
async fn what_a_store_refuses_is_told_from_the_start_and_makes_no_gateway_unready() {
    for (mood, said, refused) in [
        (Mood::Healthy, "ready\n", json!([])),
        (
            Mood::NoBucket,
            "ready\nstore: cannot write, read, list, delete\n",
            json!(["write", "read", "list", "delete"]),
        ),
        (
            Mood::Refusing,
            "ready\nstore: cannot write, read, list, delete\n",
            json!(["write", "read", "list", "delete"]),
        ),
        (
            Mood::ReadOnly,
            "ready\nstore: cannot write\n",
            json!(["write"]),
        ),
        (
            Mood::GetAndPutOnly,
            "ready\nstore: cannot list, delete\n",
            json!(["list", "delete"]),
        ),
    ] {
        let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
        bucket.set(mood);
        let gateway = Setup::new()
            .with_all(&bucket.variables())
            .before(&upstream)
            .await;
        assert_eq!(readyz_after_check(&gateway).await, said, "{mood:?}");
        let request = http::Request::get("/status.json")
            .body(Body::empty())
            .unwrap();
        let status = gateway.send(request).await.json();
        assert_eq!(status["store"]["refused"], refused, "{mood:?}");
    }
}

#[tokio::test]
async fn a_key_that_may_not_list_misses_what_is_not_there_and_hits_what_is() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    bucket.set(Mood::GetAndPutOnly);
    let setup = Setup::new().with_all(&bucket.variables());
    let first = setup.clone().before(&upstream).await;
    readyz_after_check(&first).await;
    first.warm_up().await;
    let inputs: Vec<String> = (0..20).map(|n| format!("text {n}")).collect();
    first.embed(json!({"model": "m", "input": inputs})).await;
    // And the one that warmed up.
    assert_eq!(operations(&first, "get", "absent"), 20 + 1);
    assert_eq!(operations(&first, "get", "failed"), 0);
    first.app.finish().await;

    let second = setup.before(&upstream).await;
    readyz_after_check(&second).await;
    second.warm_up().await;
    let answer = second.embed(json!({"model": "m", "input": inputs})).await;
    assert_eq!(answer.header("cache-status"), "embedding-gateway; hit");
    assert_eq!(answer.vectors().len(), 20);
}

#[tokio::test]
async fn a_large_batch_is_found_whole() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    let inputs: Vec<String> = (0..2048).map(|n| format!("text {n}")).collect();
    let patient = [("STORE_TIMEOUT", "5m"), ("UPSTREAM_TIMEOUT", "10m")];
    let setup = Setup::new().with_all(&bucket.variables());
    let setup = setup.with_all(&patient);
    let first = setup.clone().before(&upstream).await;
    first.embed(json!({"model": "m", "input": inputs})).await;
    first.app.finish().await;
    let gateway = setup.before(&upstream).await;
    gateway.warm_up().await;
    bucket.set(Mood::Unhurried);
    let answer = gateway.embed(json!({"model": "m", "input": inputs})).await;
    assert_eq!(answer.header("cache-status"), "embedding-gateway; hit");
    assert_eq!(operations(&gateway, "get", "timeout"), 0);
}

#[tokio::test]
async fn what_waits_at_the_end_is_written() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    bucket.set(Mood::Unhurried);
    let gateway = Setup::new()
        .with_all(&bucket.variables())
        .before(&upstream)
        .await;
    let inputs: Vec<String> = (0..1500).map(|n| format!("text {n}")).collect();
    gateway.embed(json!({"model": "m", "input": inputs})).await;
    assert!(bucket.objects().len() < 1500, "some must still wait");
    gateway.app.finish().await;
    assert_eq!(bucket.objects().len(), 1500);
}

#[tokio::test]
async fn more_than_may_wait_is_dropped_and_counted() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    bucket.set(Mood::Slow);
    let mut variables = bucket.variables();
    variables.push(("STORE_QUEUE", "10"));
    let gateway = Setup::new().with_all(&variables).before(&upstream).await;
    let inputs: Vec<String> = (0..100).map(|n| format!("text {n}")).collect();
    let asked = gateway.embed(json!({"model": "m", "input": inputs}));
    let answer = StoppedClock::stop().passes_until(asked).await;
    assert_eq!(answer.vectors().len(), 100);
    assert!(gateway.metric("embedding_gateway_store_writes_dropped_total") >= 100 - 10 - 32);
}

#[tokio::test]
async fn what_waits_for_a_slow_store_is_bounded_in_bytes() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    bucket.set(Mood::Slow);
    let mut variables = bucket.variables();
    variables.push(("STORE_QUEUE_BYTES", "16KiB"));
    let gateway = Setup::new().with_all(&variables).before(&upstream).await;
    let inputs: Vec<String> = (0..200).map(|n| format!("text {n}")).collect();
    let asked = gateway.embed(json!({"model": "m", "input": inputs}));
    let answer = StoppedClock::stop().passes_until(asked).await;
    assert_eq!(answer.vectors().len(), 200);
    // However small its vector is, an entry takes some hundred bytes.
    assert!(gateway.metric("embedding_gateway_store_writes_dropped_total") >= 100);
    assert!(gateway.metric("embedding_gateway_store_writes_pending") > 0);
}

#[tokio::test]
async fn object_names_and_objects_hold_no_input_and_no_key() {
    let (_upstream, bucket, _gateway) = stocked().await;
    for (name, object) in bucket.objects() {
        let text = format!("{name}{}", String::from_utf8_lossy(&object));
        assert!(!text.contains("sk-test-key-of-a-caller"));
        assert_eq!(object.get(..4), Some(&b"EGV1"[..]));
    }
}
