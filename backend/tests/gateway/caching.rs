//! The upstream charges for an input once, and not for its repeats.

use http::StatusCode;
use serde_json::json;

use crate::support::Setup;
use crate::support::gateway::{BILLED, post, with};
use crate::support::upstream::{Upstream, vectors};

#[tokio::test]
async fn the_same_input_is_paid_for_once() {
    let (upstream, gateway) = Setup::new().start().await;
    let first = gateway.embed(json!({"model": "m", "input": "a"})).await;
    let second = gateway.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(first.vectors(), vectors("m", &["a"]));
    assert_eq!(second.body, first.body);
    assert_eq!(upstream.call_count(), 1);
    assert_eq!(
        first.header("cache-status"),
        "embedding-gateway; fwd=miss; stored"
    );
    assert_eq!(second.header("cache-status"), "embedding-gateway; hit");
    assert_eq!(first.header("x-embedding-billed-tokens"), "1");
    assert_eq!(second.header("x-embedding-billed-tokens"), "0");
}

#[tokio::test]
async fn only_misses_go_upstream_and_repeats_go_once() {
    let (upstream, gateway) = Setup::new().start().await;
    gateway
        .embed(json!({"model": "m", "input": ["hit 1", "hit 2"]}))
        .await;
    let inputs = ["new 1", "hit 2", "new 2", "hit 1", "new 1", "hit 2"];
    let answer = gateway.embed(json!({"model": "m", "input": inputs})).await;
    assert_eq!(answer.vectors(), vectors("m", &inputs));
    assert_eq!(upstream.calls()[1].inputs(), ["new 1", "new 2"]);
    assert_eq!(
        answer.header("cache-status"),
        "embedding-gateway; fwd=partial; stored; detail=\"hits=2 collapsed=0 misses=2\""
    );
    assert_eq!(
        answer.json()["usage"],
        json!({"prompt_tokens": 30, "total_tokens": 30})
    );
    assert_eq!(answer.header("x-embedding-billed-tokens"), "10");
}

#[tokio::test]
async fn every_spelling_of_one_input_is_one_input() {
    let (upstream, gateway) = Setup::new().start().await;
    gateway.embed(json!({"model": "m", "input": "A"})).await;
    for body in [
        r#"{"model":"m","input":["A"]}"#,
        r#"{"input":"\u0041","model":"m","user":"end user"}"#,
        r#"{"encoding_format":"base64","model":"m","input":"A"}"#,
        r#"{"model":"m","input":"A","encoding_format":null,"dimensions":null}"#,
    ] {
        let answer = gateway.send(crate::support::gateway::post_raw(body)).await;
        assert_eq!(
            answer.header("cache-status"),
            "embedding-gateway; hit",
            "{body}"
        );
    }
    assert_eq!(upstream.call_count(), 1);
}

#[tokio::test]
async fn whatever_may_change_the_vector_is_paid_for() {
    let (upstream, gateway) = Setup::new().start().await;
    let bodies = [
        json!({"model": "m", "input": "hello"}),
        json!({"model": "n", "input": "hello"}),
        json!({"model": "m", "input": "hello", "dimensions": 8}),
        json!({"model": "m", "input": "hellodimensions: 8"}),
        json!({"model": "m", "input": "hello", "input_type": "query"}),
        json!({"model": "m", "input": "hello", "input_type": "document"}),
        json!({"model": "m", "input": "Hello"}),
        json!({"model": "m", "input": "hello "}),
        json!({"model": "m", "input": [1, 2]}),
        json!({"model": "m", "input": "1,2"}),
        json!({"model": "m", "input": "[1,2]"}),
    ];
    for body in &bodies {
        gateway.embed(body.clone()).await;
    }
    assert_eq!(upstream.call_count(), bodies.len());
}

#[tokio::test]
async fn every_kind_of_store_survives_a_restart_of_the_memory() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("file://{}", directory.path().display());
    let upstream = Upstream::start().await;
    let first = Setup::new().with("STORE", &store).before(&upstream).await;
    let paid = first
        .embed(json!({"model": "m", "input": ["a", "b"]}))
        .await;
    first.app.finish().await;

    let second = Setup::new().with("STORE", &store).before(&upstream).await;
    second.warm_up().await;
    let calls = upstream.call_count();
    let hit = second
        .embed(json!({"model": "m", "input": ["a", "b"]}))
        .await;
    assert_eq!(hit.body, paid.body);
    assert_eq!(upstream.call_count(), calls);
    assert_eq!(
        second.metric("embedding_gateway_inputs_total{outcome=\"store\"}"),
        2
    );
    let again = second.embed(json!({"model": "m", "input": "b"})).await;
    assert_eq!(again.header("cache-status"), "embedding-gateway; hit");
    assert_eq!(
        second.metric("embedding_gateway_inputs_total{outcome=\"memory\"}"),
        1
    );
}

#[tokio::test]
async fn an_altered_object_is_a_miss() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("file://{}", directory.path().display());
    let upstream = Upstream::start().await;
    let first = Setup::new().with("STORE", &store).before(&upstream).await;
    first.embed(json!({"model": "m", "input": "a"})).await;
    first.app.finish().await;
    for object in objects(directory.path()) {
        let mut bytes = std::fs::read(&object).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&object, bytes).unwrap();
    }
    let second = Setup::new().with("STORE", &store).before(&upstream).await;
    second.warm_up().await;
    let answer = second.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(answer.vectors(), vectors("m", &["a"]));
    assert_eq!(
        answer.header("cache-status"),
        "embedding-gateway; fwd=miss; stored"
    );
}

/// Without what the gateway writes to find out whether it may.
fn objects(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("probe") {
            continue;
        }
        if path.is_dir() {
            found.extend(objects(&path))
        } else {
            found.push(path)
        }
    }
    found
}

#[tokio::test]
async fn vectors_of_different_lengths_never_stand_in_one_answer() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers_json(
        StatusCode::OK,
        json!({"data": [{"index": 0, "embedding": [1.0]}]}),
    );
    gateway.embed(json!({"model": "m", "input": "a"})).await;
    let billed = gateway.metric(BILLED);
    // The model behind the name was replaced by one with longer vectors.
    upstream.answers(|call| std::future::ready(crate::support::upstream::embeddings(&call)));
    let answer = gateway
        .embed(json!({"model": "m", "input": ["a", "b"]}))
        .await;
    assert_eq!(answer.vectors(), vectors("m", &["a", "b"]));
    assert_eq!(upstream.calls().last().unwrap().inputs(), ["a", "b"]);
    // The call for the missing inputs, and the one for all of them anew.
    assert_eq!(answer.header("x-embedding-billed-tokens"), "3");
    assert_eq!(gateway.metric(BILLED) - billed, 3);
    let again = gateway
        .embed(json!({"model": "m", "input": ["a", "b"]}))
        .await;
    assert_eq!(again.header("cache-status"), "embedding-gateway; hit");
}

#[tokio::test]
async fn cache_control_of_a_request_is_honoured() {
    let (upstream, gateway) = Setup::new().start().await;
    let request = || post(&json!({"model": "m", "input": "a"}));
    for name in ["cache-control", "x-client-cache-control"] {
        gateway.send(with(request(), name, "no-store")).await;
    }
    assert_eq!(upstream.call_count(), 2);
    let only = gateway
        .send(with(request(), "cache-control", "only-if-cached"))
        .await;
    assert_eq!(only.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(only.error_code(), "not_cached");
    assert_eq!(upstream.call_count(), 2);

    gateway.send(request()).await;
    let only = gateway
        .send(with(request(), "cache-control", "only-if-cached"))
        .await;
    assert_eq!(only.header("cache-status"), "embedding-gateway; hit");
    assert_eq!(upstream.call_count(), 3);
    let fresh = gateway
        .send(with(request(), "cache-control", "no-cache"))
        .await;
    assert_eq!(
        fresh.header("cache-status"),
        "embedding-gateway; fwd=request; stored"
    );
    assert_eq!(upstream.call_count(), 4);
    assert!(
        upstream
            .calls()
            .iter()
            .all(|call| !call.headers.contains_key("cache-control"))
    );
}

#[tokio::test]
async fn entries_may_have_a_maximum_age() {
    let (_upstream, gateway) = Setup::new().with("ENTRY_MAX_AGE", "1s").start().await;
    let ask = async |n: usize| {
        let input = n.to_string();
        gateway.embed(json!({"model": "m", "input": input})).await
    };
    // A busy machine may take a second between the two.
    let mut kept = 0;
    loop {
        ask(kept).await;
        if ask(kept).await.header("cache-status") == "embedding-gateway; hit" {
            break;
        }
        kept += 1;
        assert!(kept < 10);
    }
    tokio::time::sleep(std::time::Duration::from_millis(1010)).await;
    let expired = ask(kept).await;
    assert_eq!(
        expired.header("cache-status"),
        "embedding-gateway; fwd=miss; stored"
    );
}

#[tokio::test]
async fn another_namespace_or_upstream_is_another_cache() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("file://{}", directory.path().display());
    for variables in [
        [("CACHE_NAMESPACE", "")],
        [("CACHE_NAMESPACE", "two")],
        [("UPSTREAM_ID", "x")],
    ] {
        let all = [&variables[..], &[("STORE", &store)]].concat();
        let (_upstream, gateway) = Setup::new().with_all(&all).start().await;
        gateway.warm_up().await;
        let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
        assert_eq!(
            answer.header("cache-status"),
            "embedding-gateway; fwd=miss; stored"
        );
        gateway.app.finish().await;
    }
}

#[tokio::test]
async fn on_second_use_a_vector_is_worth_a_place_in_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("file://{}", directory.path().display());
    let variables = [("STORE", &*store), ("STORE_ADMISSION", "second-use")];
    let (_upstream, gateway) = Setup::new().with_all(&variables).start().await;
    gateway
        .embed(json!({"model": "m", "input": ["once", "twice"]}))
        .await;
    gateway.embed(json!({"model": "m", "input": "twice"})).await;
    gateway.embed(json!({"model": "m", "input": "twice"})).await;
    gateway.app.finish().await;
    assert_eq!(objects(directory.path()).len(), 1);
}

#[tokio::test]
async fn short_inputs_are_not_worth_a_place_in_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("file://{}", directory.path().display());
    let variables = [("STORE", &*store), ("STORE_MIN_TOKENS", "4")];
    let (_upstream, gateway) = Setup::new().with_all(&variables).start().await;
    gateway
        .embed(json!({"model": "m", "input": [[1, 2, 3], [1, 2, 3, 4]]}))
        .await;
    gateway.app.finish().await;
    assert_eq!(objects(directory.path()).len(), 1);
}
