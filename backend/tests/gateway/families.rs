//! A name that is pointed at another model, calls that outlive their client, claims that begin late.
#![allow(clippy::disallowed_methods, reason = "a test waits for what it spawns")]

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::support::Setup;
use crate::support::clock::StoppedClock;
use crate::support::upstream::{Call, Upstream, embeddings, json_answer, vectors};
use crate::support::waiting::until;

/// Answers as `model`, with vectors of so many numbers, all of them `number`.
fn answers_as(upstream: &Upstream, model: &'static str, length: usize, number: f32) {
    upstream.answers(move |call: Call| {
        let items = 0..call.inputs().len();
        let data: Vec<Value> = items
            .map(|index| json!({"index": index, "embedding": vec![number; length]}))
            .collect();
        std::future::ready(json_answer(
            StatusCode::OK,
            &json!({"data": data, "model": model}),
        ))
    });
}

#[tokio::test]
async fn vectors_of_two_models_are_never_in_one_answer() {
    let (upstream, gateway) = Setup::new().start().await;
    let ask = async |inputs: &[&str]| gateway.embed(json!({"model": "m", "input": inputs})).await;
    answers_as(&upstream, "ada", 4, 1.0);
    ask(&["a", "b"]).await;
    answers_as(&upstream, "small", 4, 2.0);
    let answer = ask(&["a", "b", "c"]).await;
    assert_eq!(answer.vectors(), vec![vec![2.0; 4]; 3]);
    assert_eq!(answer.json()["model"], "small");
    // The older vector is stale by itself, too.
    answers_as(&upstream, "ada", 4, 1.0);
    ask(&["d", "e"]).await;
    answers_as(&upstream, "small", 4, 2.0);
    ask(&["f"]).await;
    assert_eq!(ask(&["d"]).await.vectors(), vec![vec![2.0; 4]]);
}

#[tokio::test]
async fn a_single_answer_of_another_length_is_refused_and_displaces_nothing() {
    let (upstream, gateway) = Setup::new().start().await;
    let ask = async |input: &str| gateway.embed(json!({"model": "m", "input": input})).await;
    answers_as(&upstream, "m", 4, 1.0);
    ask("a").await;
    answers_as(&upstream, "m", 5, 2.0);
    let answer = ask("b").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.error_code(), "upstream_unusable");
    answers_as(&upstream, "m", 4, 1.0);
    assert_eq!(ask("b").await.vectors(), vec![vec![1.0; 4]]);
    assert_eq!(
        ask("a").await.header("cache-status"),
        "embedding-gateway; hit"
    );
}

#[tokio::test]
async fn a_call_goes_on_without_its_client_and_the_next_try_joins_it() {
    let (upstream, gateway) = Setup::new().with("UPSTREAM_TIMEOUT", "30s").start().await;
    upstream.answers(|call| async move {
        sleep(Duration::from_secs(70)).await;
        embeddings(&call)
    });
    let ask = || gateway.embed(json!({"model": "m", "input": ["a", "b"]}));
    let clock = StoppedClock::stop();
    for _ in 0..2 {
        let early = clock.passes_until(ask()).await;
        assert_eq!(early.status, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(early.error_code(), "upstream_timeout");
    }
    let answer = clock.passes_until(ask()).await;
    assert_eq!(answer.vectors(), vectors("m", &["a", "b"]));
    assert_eq!(upstream.call_count(), 1);
}

#[tokio::test]
async fn an_input_whose_call_has_not_begun_keeps_no_other_request_waiting() {
    let (upstream, gateway) = Setup::new().with("UPSTREAM_MAX_INPUTS", "2").start().await;
    let gateway = Arc::new(gateway);
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    upstream.answers(move |call| {
        let held = Arc::clone(&held);
        async move {
            if call.inputs().len() > 1 {
                held.acquire().await.unwrap().forget();
            }
            embeddings(&call)
        }
    });
    let inputs: Vec<String> = (0..64).map(|n| format!("text {n}")).collect();
    let bulk = tokio::spawn({
        let (gateway, inputs) = (Arc::clone(&gateway), inputs.clone());
        async move { gateway.embed(json!({"model": "m", "input": inputs})).await }
    });
    until(|| upstream.call_count() == 4).await;
    let last = gateway
        .embed(json!({"model": "m", "input": "text 63"}))
        .await;
    assert_eq!(last.vectors(), vectors("m", &["text 63"]));
    assert!(!bulk.is_finished(), "it waits for no other call");
    gate.add_permits(64);
    let texts: Vec<&str> = inputs.iter().map(String::as_str).collect();
    assert_eq!(bulk.await.unwrap().vectors(), vectors("m", &texts));
    let asked = upstream.inputs();
    let twice = asked.iter().filter(|input| **input == json!("text 63"));
    assert_eq!(twice.count(), 1);
}

#[tokio::test]
async fn a_refusal_names_the_places_of_the_clients_own_request() {
    let (upstream, gateway) = Setup::new().start().await;
    gateway
        .embed(json!({"model": "m", "input": ["a", "b"]}))
        .await;
    upstream.answers(|call| {
        let bad = call.inputs().iter().position(|input| input == "bad");
        std::future::ready(match bad {
            Some(place) => {
                let message = format!("input[{place}] is too long");
                json_answer(
                    StatusCode::BAD_REQUEST,
                    &json!({"error": {"message": message}}),
                )
            }
            None => embeddings(&call),
        })
    });
    let body = json!({"model": "m", "input": ["a", "b", "a", "bad"]});
    let answer = gateway.embed(body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.json().to_string().contains("input[3]"));
}
