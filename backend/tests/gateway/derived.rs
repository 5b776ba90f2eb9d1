//! `DERIVE_DIMENSIONS`: full vectors answer requests for shorter ones, once a self-test has passed.

use base64_simd::STANDARD;
use futures_util::future::join_all;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::support::Setup;
use crate::support::bucket::Bucket;
use crate::support::gateway::{Answer, Gateway, post, with};
use crate::support::upstream::{
    Call, Upstream, embeddings_body_of, json_answer, matryoshka, tokens,
};
use crate::support::waiting::until;

const HIT: &str = "embedding-gateway; hit; detail=derived";
const MISS: &str = "embedding-gateway; fwd=miss; stored; detail=derived";

/// An upstream of a Matryoshka model, and a gateway that lists it.
pub async fn derives(setup: Setup) -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    shortens(&upstream);
    let gateway = listing(setup).before(&upstream).await;
    (upstream, gateway)
}

pub fn shortens(upstream: &Upstream) {
    upstream.answers(|call| {
        let body = embeddings_body_of(&call, matryoshka);
        std::future::ready(json_answer(StatusCode::OK, &body))
    });
}

pub fn listing(setup: Setup) -> Setup {
    setup.with("DERIVE_DIMENSIONS", "other, m")
}

pub fn question(input: &Value, dimensions: usize) -> Value {
    json!({"model": "m", "input": input, "dimensions": dimensions})
}

/// What the upstream was asked: the inputs of each call, and how long their vectors were to be.
pub fn asked(upstream: &Upstream) -> Vec<(Vec<Value>, Value)> {
    let told = |call: &Call| (call.inputs(), call.json()["dimensions"].clone());
    upstream.calls().iter().map(told).collect()
}

pub fn metric(gateway: &Gateway, name: &str) -> u64 {
    gateway.metric(&format!("embedding_gateway_{name} "))
}

/// That these are the upstream's own vectors, as one forward pass gives them.
#[track_caller]
pub fn are_right(answer: &Answer, inputs: &[Value], dimensions: usize) {
    let found = answer.vectors();
    assert_eq!(found.len(), inputs.len());
    for (found, input) in found.iter().zip(inputs) {
        let expected = matryoshka("m", input, dimensions);
        assert_eq!(found.len(), dimensions);
        for (&one, other) in found.iter().zip(expected) {
            assert!(
                (one - other).abs() <= 2.0 * f32::EPSILON * other.abs(),
                "{one} {other}"
            );
        }
    }
}

#[tokio::test]
async fn one_full_vector_answers_for_every_dimension() {
    let (upstream, gateway) = derives(Setup::new()).await;
    let first = gateway.embed(question(&json!("a"), 4)).await;
    are_right(&first, &[json!("a")], 4);
    assert_eq!(first.header("cache-status"), MISS);
    // The full vector, and the upstream's own for the self-test.
    assert_eq!(first.header("x-embedding-billed-tokens"), "2");
    assert_eq!(first.json()["usage"]["prompt_tokens"], 1);
    assert_eq!(first.json()["model"], "m-v2");
    let input = vec![json!("a")];
    assert_eq!(
        asked(&upstream),
        [(input.clone(), Value::Null), (input, json!(4))]
    );
    for dimensions in 1..8 {
        let answer = gateway.embed(question(&json!("a"), dimensions)).await;
        are_right(&answer, &[json!("a")], dimensions);
        assert_eq!(answer.header("cache-status"), HIT);
        assert_eq!(answer.header("x-embedding-billed-tokens"), "0");
    }
    let full = gateway.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(full.header("cache-status"), "embedding-gateway; hit");
    are_right(&full, &[json!("a")], 8);
    assert_eq!(upstream.call_count(), 2);
    assert_eq!(
        metric(&gateway, "derivation_tests_total{result=\"same\"}"),
        1
    );
    assert_eq!(metric(&gateway, "derivation_off{model=\"m\"}"), 0);
    assert_eq!(metric(&gateway, "derived_vectors_total"), 1 + 7);
    let inputs =
        |outcome: &str| metric(&gateway, &format!("inputs_total{{outcome=\"{outcome}\"}}"));
    assert_eq!((inputs("miss"), inputs("memory")), (1, 7 + 1));
}

#[tokio::test]
async fn only_what_is_missing_of_a_batch_is_paid_for_in_full() {
    let (upstream, gateway) = derives(Setup::new()).await;
    gateway.embed(question(&json!("a"), 4)).await;
    let inputs = json!(["b", "a", "c", "b"]);
    let answer = gateway.embed(question(&inputs, 5)).await;
    are_right(&answer, inputs.as_array().unwrap(), 5);
    let status =
        "embedding-gateway; fwd=partial; stored; detail=\"derived hits=1 collapsed=0 misses=2\"";
    assert_eq!(answer.header("cache-status"), status);
    assert_eq!(answer.header("x-embedding-billed-tokens"), "2");
    assert_eq!(
        asked(&upstream)[2..],
        [(vec![json!("b"), json!("c")], Value::Null)]
    );
}

#[tokio::test]
async fn a_large_batch_is_derived_whole() {
    let (_upstream, gateway) = derives(Setup::new()).await;
    let inputs: Vec<Value> = (0..300).map(|n| json!(format!("text {n}"))).collect();
    for _ in 0..2 {
        let answer = gateway.embed(question(&json!(inputs), 3)).await;
        are_right(&answer, &inputs, 3);
    }
}

#[tokio::test]
async fn both_encodings_hold_the_same_bits() {
    let (_upstream, gateway) = derives(Setup::new()).await;
    let mut body = question(&json!(["a", "b"]), 6);
    for _ in 0..2 {
        body["encoding_format"] = json!("float");
        let floats = gateway.embed(body.clone()).await.vectors();
        body["encoding_format"] = json!("base64");
        let answer = gateway.embed(body.clone()).await;
        assert_eq!(answer.header("cache-status"), HIT);
        for (item, floats) in answer.json()["data"].as_array().unwrap().iter().zip(floats) {
            let text = item["embedding"].as_str().unwrap();
            let bytes: Vec<u8> = floats.iter().flat_map(|n| n.to_le_bytes()).collect();
            assert_eq!(STANDARD.decode_to_vec(text).unwrap(), bytes);
        }
    }
}

#[tokio::test]
async fn lists_of_tokens_are_inputs_like_texts() {
    let (upstream, gateway) = derives(Setup::new()).await;
    for (input, inputs) in [
        (json!([[1, 2], [3]]), vec![json!([1, 2]), json!([3])]),
        (json!([1, 2]), vec![json!([1, 2])]),
    ] {
        let answer = gateway.embed(question(&input, 4)).await;
        are_right(&answer, &inputs, 4);
        let worth: usize = inputs.iter().map(tokens).sum();
        assert_eq!(answer.json()["usage"]["prompt_tokens"], worth);
    }
    assert_eq!(upstream.call_count(), 3);
}

#[tokio::test]
async fn further_fields_are_parameters_with_a_self_test_of_their_own() {
    let (upstream, gateway) = derives(Setup::new()).await;
    let mut body = question(&json!("a"), 4);
    gateway.embed(body.clone()).await;
    body["input_type"] = json!("query");
    for calls in [4, 4] {
        let answer = gateway.embed(body.clone()).await;
        are_right(&answer, &[json!("a")], 4);
        assert_eq!(upstream.call_count(), calls);
    }
    // What is no parameter asks for no other test.
    body["user"] = json!("u");
    body["input"] = json!("b");
    let answer = gateway.embed(body).await;
    assert_eq!(answer.header("cache-status"), MISS);
    assert_eq!(upstream.calls()[4].json()["input_type"], "query");
    assert_eq!(upstream.call_count(), 5);
}

#[tokio::test]
async fn a_deployment_of_azure_is_a_listed_model() {
    let (upstream, gateway) = derives(Setup::new()).await;
    for status in [MISS, HIT] {
        let mut request = post(&json!({"input": "a", "dimensions": 4}));
        let target = "/openai/deployments/m/embeddings?api-version=2024-10-21";
        *request.uri_mut() = target.parse().unwrap();
        let answer = gateway.send(request).await;
        are_right(&answer, &[json!("a")], 4);
        assert_eq!(answer.header("cache-status"), status);
    }
    assert_eq!(upstream.call_count(), 2);
}

#[tokio::test]
async fn requests_that_arrive_during_the_self_test_wait_for_it() {
    let (upstream, gateway) = derives(Setup::new().with("CACHE_SCOPE", "shared")).await;
    let inputs: Vec<Value> = (0..16).map(|n| json!(format!("text {n}"))).collect();
    let requests = inputs.iter().map(async |input| {
        let answer = gateway.embed(question(input, 4)).await;
        are_right(&answer, std::slice::from_ref(input), 4);
    });
    join_all(requests).await;
    let shorter = asked(&upstream)
        .into_iter()
        .filter(|(_, length)| length.is_number());
    assert_eq!(shorter.count(), 1);
    assert_eq!(upstream.call_count(), 16 + 1);
}

#[tokio::test]
async fn scopes_share_the_verdict_and_no_vectors() {
    for (scope, calls) in [("credential", 3), ("organization", 3), ("shared", 3)] {
        let (upstream, gateway) = derives(Setup::new().with("CACHE_SCOPE", scope)).await;
        let ask = async |key: &str, input: &str| {
            let request = post(&question(&json!(input), 4));
            let answer = gateway.send(with(request, "authorization", key)).await;
            are_right(&answer, &[json!(input)], 4);
            answer.header("cache-status").to_owned()
        };
        assert_eq!(ask("Bearer sk-first", "a").await, MISS, "{scope}");
        assert_eq!(ask("Bearer sk-first", "a").await, HIT, "{scope}");
        // It has yet to earn hits, by a full vector.
        assert_eq!(ask("Bearer sk-second", "a").await, MISS, "{scope}");
        assert_eq!(ask("Bearer sk-second", "a").await, HIT, "{scope}");
        assert_eq!(upstream.call_count(), calls, "{scope}");
    }
}

#[tokio::test]
async fn what_a_purge_ends_is_asked_for_in_full_again() {
    let (upstream, gateway) = derives(Setup::new().with("ALLOW_ANONYMOUS_PURGE", "true")).await;
    let answer = gateway.embed(question(&json!("a"), 4)).await;
    let tags = answer.header("surrogate-key").to_owned();
    let full = gateway.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(full.header("surrogate-key"), tags);
    for tag in tags.split(' ') {
        let calls = upstream.call_count();
        let purge = Request::builder().method("PURGE").uri("/v1/embeddings");
        let purge = purge.header("surrogate-key", tag);
        let purged = gateway
            .send(purge.body(axum::body::Body::empty()).unwrap())
            .await;
        assert_eq!(purged.status, StatusCode::OK);
        let answer = gateway.embed(question(&json!("a"), 4)).await;
        assert_eq!(answer.header("cache-status"), MISS, "{tag}");
        let after = [(vec![json!("a")], Value::Null)];
        assert_eq!(asked(&upstream)[calls..], after, "{tag}");
    }
}

#[tokio::test]
async fn the_store_holds_the_full_vectors_and_no_derived_one() {
    let bucket = Bucket::start().await;
    let (upstream, first) = derives(Setup::new().with_all(&bucket.variables())).await;
    let inputs = json!(["a", "b", "c"]);
    first.embed(question(&inputs, 4)).await;
    first.embed(question(&inputs, 5)).await;
    first.app.finish().await;
    let vectors = bucket
        .objects()
        .into_keys()
        .filter(|name| name.contains("/v1/"));
    // And the upstream's own of the self-test.
    assert_eq!(vectors.count(), 3 + 1);

    let calls = upstream.call_count();
    let gateway = listing(Setup::new().with_all(&bucket.variables()))
        .before(&upstream)
        .await;
    gateway
        .embed(json!({"model": "m", "input": "to earn hits"}))
        .await;
    let answer = gateway.embed(question(&inputs, 4)).await;
    are_right(&answer, inputs.as_array().unwrap(), 4);
    assert_eq!(answer.header("cache-status"), HIT);
    assert_eq!(upstream.call_count(), calls + 1);
    assert!(bucket.count(&Method::GET) > 0);
}

#[tokio::test]
async fn directives_mean_what_they_mean_for_every_vector() {
    let (upstream, gateway) = derives(Setup::new()).await;
    let ask = async |directive: &str, input: &str| {
        let request = post(&question(&json!(input), 4));
        gateway
            .send(with(request, "cache-control", directive))
            .await
    };
    // Before anything is tested, only a kept vector of this length could answer.
    let absent = ask("only-if-cached", "a").await;
    assert_eq!(absent.error_code(), "not_cached");
    assert_eq!(upstream.call_count(), 0);
    gateway.embed(question(&json!("a"), 4)).await;

    let status = async |directive: &str, input: &str| {
        let answer = ask(directive, input).await;
        are_right(&answer, &[json!(input)], 4);
        answer.header("cache-status").to_owned()
    };
    assert_eq!(status("only-if-cached", "a").await, HIT);
    assert_eq!(ask("only-if-cached", "b").await.error_code(), "not_cached");
    let refreshed = "embedding-gateway; fwd=request; stored; detail=derived";
    assert_eq!(status("no-cache", "a").await, refreshed);
    assert_eq!(upstream.calls()[2].json()["dimensions"], Value::Null);
    // Nothing is to be kept of it, so the upstream's own answers.
    assert_eq!(
        status("no-store", "b").await,
        "embedding-gateway; fwd=bypass"
    );
    assert_eq!(upstream.calls()[3].json()["dimensions"], 4);
    assert_eq!(ask("only-if-cached", "b").await.error_code(), "not_cached");
    assert_eq!(upstream.call_count(), 4);
}

#[tokio::test]
async fn with_the_gateways_key_it_is_the_same() {
    let setup = Setup::new()
        .with("OPENAI_API_KEY", "sk-test-own-key-of-the-gateway")
        .with("ALLOW_ANONYMOUS", "true");
    let (upstream, gateway) = derives(setup).await;
    for status in [MISS, HIT] {
        let answer = gateway.embed(question(&json!("a"), 4)).await;
        assert_eq!(answer.header("cache-status"), status);
    }
    until(|| metric(&gateway, "derived_vectors_total") == 2).await;
    assert_eq!(upstream.call_count(), 2);
}
