//! What an upstream takes in one call: a client never learns that there is such a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::recordings;
use crate::support::Setup;
use crate::support::gateway::{Answer, BILLED, Gateway};
use crate::support::upstream::{Call, Upstream, embeddings, json_answer, tokens, vectors};

/// Of one call, in the tests' upstream.
const MOST_TOKENS: usize = 1000;

fn tokens_of(call: &Call) -> usize {
    call.inputs().iter().map(tokens).sum()
}

/// Refuses calls of more than so many tokens with what was recorded.
fn limited(upstream: &Upstream, most: usize, recording: &str) {
    let refusal = recordings::replayed(recording);
    upstream.answers(move |call| {
        std::future::ready(match tokens_of(&call) > most {
            true => refusal(),
            false => embeddings(&call),
        })
    });
}

fn texts(count: usize, bytes: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n:0bytes$}")).collect()
}

async fn ask(gateway: &Gateway, texts: &[String]) -> Answer {
    gateway.embed(json!({"model": "m", "input": texts})).await
}

#[track_caller]
fn assert_vectors(answer: &Answer, texts: &[String]) {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(answer.vectors(), vectors("m", &texts));
}

/// Texts of the fake upstream have a token a byte.
fn largest(calls: &[Call]) -> usize {
    calls.iter().map(tokens_of).max().unwrap()
}

#[tokio::test]
async fn a_call_with_too_many_tokens_is_halved_and_the_limit_remembered() {
    for recording in [
        "openai/400-too-many-tokens.http",
        "voyage/400-too-many-tokens.http",
        "mistral/400-too-many-tokens.http",
        "vertex/400-too-many-tokens.http",
        "azure/400-too-long.http",
        "vllm/400-too-long.http",
        "tei/413-too-long.http",
    ] {
        let (upstream, gateway) = Setup::new().start().await;
        limited(&upstream, MOST_TOKENS, recording);
        let first = texts(16, 200);
        assert_vectors(&ask(&gateway, &first).await, &first);
        let calls = upstream.call_count();
        assert!(calls <= 2 * 4 + 2, "{recording}: {calls}");

        // Learnt: a later batch is divided before it is refused.
        ask(&gateway, &texts(17, 201)).await;
        let calls = upstream.call_count();
        let third = texts(17, 202);
        assert_vectors(&ask(&gateway, &third).await, &third);
        let later = &upstream.calls()[calls..];
        assert!(largest(later) <= MOST_TOKENS, "{recording}");
        let billed = gateway.metric(BILLED);
        assert_eq!(billed as usize, 16 * 200 + 17 * (201 + 202), "{recording}");
    }
}

#[tokio::test]
async fn a_call_with_too_many_inputs_is_divided_and_the_limit_remembered() {
    for recording in ["tei/413-batch.http", "tei/422-batch.http"] {
        let (upstream, gateway) = Setup::new().start().await;
        let refusal = recordings::replayed(recording);
        upstream.answers(move |call| {
            std::future::ready(match call.inputs().len() > 32 {
                true => refusal(),
                false => embeddings(&call),
            })
        });
        let first = texts(100, 8);
        assert_vectors(&ask(&gateway, &first).await, &first);
        let calls = upstream.call_count();
        let second = texts(100, 9);
        assert_vectors(&ask(&gateway, &second).await, &second);
        // The recordings name the limit of 32.
        let mut later: Vec<_> = upstream.calls()[calls..]
            .iter()
            .map(|call| call.inputs().len())
            .collect();
        later.sort_unstable();
        assert_eq!(later, [4, 32, 32, 32], "{recording}");
    }
}

#[tokio::test]
async fn what_may_be_too_much_is_divided_before_it_is_sent() {
    let (upstream, gateway) = Setup::new()
        .with("UPSTREAM_MAX_TOKENS", "1000")
        .start()
        .await;
    limited(&upstream, MOST_TOKENS, "openai/400-too-many-tokens.http");
    // Below the limit in bytes: no estimate is needed.
    let small = texts(5, 190);
    assert_vectors(&ask(&gateway, &small).await, &small);
    assert_eq!(upstream.call_count(), 1);
    // Answers told that a byte is a token.
    let sample = texts(30, 201);
    assert_vectors(&ask(&gateway, &sample).await, &sample);
    let calls = upstream.call_count();
    let large = texts(30, 202);
    assert_vectors(&ask(&gateway, &large).await, &large);
    assert!(largest(&upstream.calls()[calls..]) <= 1000 * 11 / 10);
    let lists: Vec<Vec<usize>> = (0..4).map(|n| vec![n; 400]).collect();
    let calls = upstream.call_count();
    let answer = gateway.embed(json!({"model": "m", "input": lists})).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(upstream.call_count() - calls, 2);
}

#[tokio::test]
async fn calls_hold_no_more_bytes_than_configured() {
    let (upstream, gateway) = Setup::new()
        .with("UPSTREAM_MAX_BYTES", "1KiB")
        .start()
        .await;
    let inputs = texts(9, 300);
    assert_vectors(&ask(&gateway, &inputs).await, &inputs);
    assert_eq!(upstream.call_count(), 3);
}

/// Answers a call with an input of more than 512 tokens as vLLM did.
fn takes_short_inputs(call: &Call) -> Response {
    match call.inputs().iter().any(|input| tokens(input) > 512) {
        true => recordings::replayed("vllm/400-too-long.http")(),
        false => embeddings(call),
    }
}

#[tokio::test]
async fn an_input_that_is_too_long_is_named_by_the_clients_place() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers(|call| std::future::ready(takes_short_inputs(&call)));
    let mut inputs = texts(20, 100);
    ask(&gateway, &inputs[..3]).await;
    // A repeat, and hits before it: its place in the call is another.
    inputs[4] = inputs[3].clone();
    inputs[13] = "x".repeat(600);
    let before = upstream.call_count();
    let answer = ask(&gateway, &inputs).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.error_code(), "input_too_long");
    let error = answer.json()["error"].clone();
    assert_eq!(error["param"], "input");
    assert_eq!(error["type"], "invalid_request_error");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("Input 13 is too long for the model. This model's maximum"),
        "{message}"
    );
    assert!(upstream.call_count() - before <= 10);

    // What the upstream took is kept, and no limit was learnt from the one input.
    let before = upstream.call_count();
    inputs[13] = "short".into();
    assert_vectors(&ask(&gateway, &inputs).await, &inputs);
    assert_eq!(upstream.call_count() - before, 1);
}

#[tokio::test]
async fn a_single_input_that_is_too_long_gets_the_upstreams_words() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers(|call| std::future::ready(takes_short_inputs(&call)));
    let answer = gateway
        .embed(json!({"model": "m", "input": "x".repeat(600)}))
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["object"], "error");
    assert_eq!(upstream.call_count(), 1);
    let list = gateway
        .embed(json!({"model": "m", "input": ["x".repeat(600)]}))
        .await;
    assert_eq!(list.body, answer.body);
}

/// The clients' own inputs decide: another's long input is no reason to fail.
#[tokio::test]
async fn a_waiter_is_not_told_of_another_requests_long_input() {
    let (upstream, gateway) = Setup::new().start().await;
    let gateway = Arc::new(gateway);
    gateway.warm_up().await;
    let waiting = Arc::clone(&gateway);
    let first = Arc::new(AtomicUsize::new(0));
    upstream.answers(move |call| {
        let (gateway, first) = (Arc::clone(&waiting), Arc::clone(&first));
        async move {
            // The first call is answered when the second request waits for it.
            if first.fetch_add(1, Ordering::Relaxed) == 0 {
                while gateway.app.gauges().in_flight_requests < 2 {
                    tokio::task::yield_now().await;
                }
            }
            takes_short_inputs(&call)
        }
    });
    let long = json!({"model": "m", "input": ["shared", "x".repeat(600)]});
    let short = json!({"model": "m", "input": "shared"});
    let (long, short) = tokio::join!(gateway.embed(long), gateway.embed(short));
    assert_eq!(long.error_code(), "input_too_long");
    assert_eq!(short.vectors(), vectors("m", &["shared"]));
}

/// A refusal that ends a batch ends its halves as well.
#[tokio::test]
async fn halves_end_with_the_batch() {
    let (upstream, gateway) = Setup::new().start().await;
    let refusal = recordings::replayed("openai/400-too-many-tokens.http");
    upstream.answers(move |call| {
        std::future::ready(match call.inputs().len() > 4 {
            true => refusal(),
            false => json_answer(StatusCode::UNAUTHORIZED, &Value::Null),
        })
    });
    let answer = ask(&gateway, &texts(32, 8)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(upstream.call_count(), 3 + 1);
}
