//! `DERIVE_DIMENSIONS` beside other requests: one call for full and shorter vectors of one input, no
//! request held by a self-test that hangs, and what was kept before the model was listed.

use std::future::pending;
use std::time::Duration;

use base64_simd::STANDARD;
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use tempfile::tempdir;
use tokio::time::Instant;

use crate::derived::{are_right, asked, derives, listing, metric, question, shortens};
use crate::support::Setup;
use crate::support::clock::StoppedClock;
use crate::support::gateway::{post, with};
use crate::support::upstream::{Call, Upstream, embeddings_body_of, json_answer, matryoshka};
use crate::support::waiting::until;

const OWN_KEY: [(&str, &str); 2] = [
    ("OPENAI_API_KEY", "sk-test-own-key-of-the-gateway"),
    ("ALLOW_ANONYMOUS", "true"),
];

#[tokio::test]
async fn full_and_shorter_vectors_of_one_input_cost_one_call() {
    let (upstream, gateway) = derives(Setup::new().with_all(&OWN_KEY)).await;
    gateway.embed(question(&json!("to be tested"), 4)).await;
    let tested = upstream.call_count();
    let requests = (0..12).map(async |n| {
        let length = if n % 3 == 0 { 8 } else { 1 + n % 6 };
        let mut body = question(&json!("a"), length);
        if length == 8 {
            body["dimensions"] = json!(null);
        }
        are_right(&gateway.embed(body.clone()).await, &[json!("a")], length);
        body["encoding_format"] = json!("base64");
        let answer = gateway.embed(body).await.json();
        let text = answer["data"][0]["embedding"].as_str().unwrap();
        assert_eq!(STANDARD.decode_to_vec(text).unwrap().len(), 4 * length);
    });
    join_all(requests).await;
    assert_eq!(upstream.call_count(), tested + 1);
}

#[tokio::test]
async fn a_self_test_that_hangs_holds_no_other_request_for_long() {
    let setup = Setup::new().with_all(&OWN_KEY);
    let (upstream, gateway) = derives(setup.with("UPSTREAM_TIMEOUT", "1h")).await;
    upstream.answers(|call: Call| {
        let hangs = call.json()["dimensions"].is_number() && call.inputs() == [json!("a")];
        let answer = json_answer(StatusCode::OK, &embeddings_body_of(&call, matryoshka));
        async move {
            match hangs {
                true => pending().await,
                false => answer,
            }
        }
    });
    let clock = StoppedClock::stop();
    let began = Instant::now();
    let testing = gateway.embed(question(&json!("a"), 4));
    let other = async {
        until(|| asked(&upstream).len() == 2).await;
        gateway.embed(question(&json!("b"), 4)).await
    };
    let answer = tokio::select! {
        answer = testing => panic!("the upstream gave no answer: {}", answer.status),
        answer = clock.passes_until(other) => answer,
    };
    // A multiple of the 10 s, for a machine on which much time passes between two turns.
    assert!(began.elapsed() < Duration::from_secs(1800));
    are_right(&answer, &[json!("b")], 4);
    let status = "embedding-gateway; fwd=miss; stored";
    assert_eq!(answer.header("cache-status"), status);
    let undecided = "derivation_tests_total{result=\"undecided\"}";
    assert_eq!(metric(&gateway, undecided), 1);
}

#[tokio::test]
async fn what_was_kept_of_a_length_before_answers_only_if_cached() {
    let (folder, upstream) = (tempdir().unwrap(), Upstream::start().await);
    shortens(&upstream);
    let store = format!("file://{}", folder.path().display());
    let setup = || Setup::new().with_all(&OWN_KEY).with("STORE", &store);
    let before = setup().before(&upstream).await;
    before.embed(question(&json!("a"), 4)).await;
    before.app.finish().await;

    let gateway = listing(setup()).before(&upstream).await;
    let if_cached = async || {
        let request = post(&question(&json!("a"), 4));
        gateway
            .send(with(request, "cache-control", "only-if-cached"))
            .await
    };
    // Before the self-test, and after it, there is no full vector to make it of.
    for _ in 0..2 {
        let (calls, answer) = (upstream.call_count(), if_cached().await);
        are_right(&answer, &[json!("a")], 4);
        assert_eq!(answer.header("cache-status"), "embedding-gateway; hit");
        assert_eq!(upstream.call_count(), calls);
        gateway.embed(question(&json!("b"), 4)).await;
    }
    let answer = gateway.embed(question(&json!("a"), 4)).await;
    let status = "embedding-gateway; fwd=miss; stored; detail=derived";
    assert_eq!(answer.header("cache-status"), status);
    let derived = "embedding-gateway; hit; detail=derived";
    assert_eq!(if_cached().await.header("cache-status"), derived);
}
