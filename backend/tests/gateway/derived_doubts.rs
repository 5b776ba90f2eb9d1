//! `DERIVE_DIMENSIONS` where vectors cannot be derived: the upstream's own are served.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::derived::{are_right, asked, derives, listing, metric, question, shortens};
use crate::support::Setup;
use crate::support::gateway::post;
use crate::support::upstream::{
    Call, Upstream, embeddings_body_of, json_answer, matryoshka, vector,
};

const MISS: &str = "embedding-gateway; fwd=miss; stored";
const DERIVED: &str = "embedding-gateway; fwd=miss; stored; detail=derived";

/// Shorter vectors that have nothing to do with the full ones.
fn unrelated(model: &str, input: &Value, dimensions: usize) -> Vec<f32> {
    match dimensions {
        8 => matryoshka(model, input, 8),
        _ => matryoshka("liar", input, dimensions),
    }
}

/// The beginning of the full vector, as long as it is.
fn cut_off(model: &str, input: &Value, dimensions: usize) -> Vec<f32> {
    matryoshka(model, input, 8)[..dimensions].to_vec()
}

/// Answers with these vectors under this name.
fn answers_as(
    upstream: &Upstream,
    name: &'static str,
    vector: fn(&str, &Value, usize) -> Vec<f32>,
) {
    upstream.answers(move |call| {
        let mut body = embeddings_body_of(&call, vector);
        body["model"] = json!(name);
        std::future::ready(json_answer(StatusCode::OK, &body))
    });
}

#[tokio::test]
async fn a_model_whose_shorter_vectors_are_others_is_left_to_the_upstream() {
    for vector in [unrelated, cut_off] as [fn(&str, &Value, usize) -> Vec<f32>; 2] {
        for dimensions in [1, 2, 4, 7] {
            let (upstream, gateway) = derives(Setup::new()).await;
            answers_as(&upstream, "m", vector);
            for input in ["a", "b", "a"] {
                let answer = gateway.embed(question(&json!(input), dimensions)).await;
                let expected = vector("m", &json!(input), dimensions);
                assert_eq!(answer.vectors(), [expected], "{dimensions} of {input}");
                assert!(!answer.header("cache-status").contains("derived"));
            }
            // One full vector for the self-test, and no further one.
            let full = asked(&upstream)
                .into_iter()
                .filter(|(_, length)| length.is_null());
            assert_eq!(full.count(), 1);
            assert_eq!(
                metric(&gateway, "derivation_tests_total{result=\"differs\"}"),
                1
            );
            assert_eq!(metric(&gateway, "derivation_off{model=\"m\"}"), 1);
            assert_eq!(metric(&gateway, "derivation_off{model=\"other\"}"), 0);
            assert_eq!(metric(&gateway, "derived_vectors_total"), 0);
            let page = Request::get("/status.json").body(Body::empty()).unwrap();
            let derived = gateway.send(page).await.json()["derived"].clone();
            assert_eq!(derived, json!({"vectors": 0, "models_off": 1}));
        }
    }
}

#[tokio::test]
async fn the_request_that_finds_out_pays_for_its_other_inputs_once() {
    let (upstream, gateway) = derives(Setup::new()).await;
    answers_as(&upstream, "m", unrelated);
    let answer = gateway.embed(question(&json!(["a", "b"]), 4)).await;
    assert_eq!(answer.header("x-embedding-billed-tokens"), "3");
    assert_eq!(answer.header("cache-status"), MISS);
    let lengths = [Value::Null, json!(4), json!(4)];
    let calls = asked(&upstream);
    assert_eq!(
        calls.iter().map(|call| call.1.clone()).collect::<Vec<_>>(),
        lengths
    );
    assert_eq!(calls[2].0, [json!("b")]);
}

#[tokio::test]
async fn another_name_of_the_model_is_tested_anew() {
    let (upstream, gateway) = derives(Setup::new()).await;
    let ask = async |input: &str| {
        let answer = gateway.embed(question(&json!(input), 4)).await;
        (answer.vectors(), answer.header("cache-status").to_owned())
    };
    answers_as(&upstream, "one", matryoshka);
    assert_eq!(ask("a").await.1, DERIVED);
    answers_as(&upstream, "two", unrelated);
    let own = vec![unrelated("m", &json!("b"), 4)];
    assert_eq!(ask("b").await, (own, MISS.to_owned()));
    assert_eq!(metric(&gateway, "derivation_off{model=\"m\"}"), 1);
    // A third one is good. The request that hears of it is answered by the upstream's own.
    answers_as(&upstream, "three", matryoshka);
    assert_eq!(ask("c").await.1, MISS);
    assert_eq!(ask("d").await.1, DERIVED);
    assert_eq!(metric(&gateway, "derivation_off{model=\"m\"}"), 0);
    let tests = |result: &str| {
        metric(
            &gateway,
            &format!("derivation_tests_total{{result=\"{result}\"}}"),
        )
    };
    assert_eq!((tests("same"), tests("differs")), (2, 1));
}

#[tokio::test]
async fn what_is_no_shorter_than_the_full_vector_is_the_upstreams() {
    let (upstream, gateway) = derives(Setup::new()).await;
    for (input, dimensions) in [("a", 8), ("b", 8), ("c", 12)] {
        let answer = gateway.embed(question(&json!(input), dimensions)).await;
        are_right(&answer, &[json!(input)], dimensions);
        assert_eq!(answer.header("cache-status"), MISS);
        assert_eq!(
            upstream.calls().last().unwrap().json()["dimensions"],
            dimensions
        );
    }
    // How long full vectors are was asked once.
    assert_eq!(upstream.call_count(), 3 + 1);
    let answer = gateway.embed(question(&json!("a"), 7)).await;
    are_right(&answer, &[json!("a")], 7);
    assert!(answer.header("cache-status").ends_with("detail=derived"));
}

#[tokio::test]
async fn lengths_that_are_none_are_the_upstreams_to_judge() {
    let (upstream, gateway) = derives(Setup::new()).await;
    for dimensions in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!("4"),
        json!(4e0),
        json!([4]),
    ] {
        let calls = upstream.call_count();
        let body = json!({"model": "m", "input": "a", "dimensions": dimensions});
        upstream.answers_json(StatusCode::BAD_REQUEST, json!({"error": {"message": "no"}}));
        let answer = gateway.embed(body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{dimensions}");
        assert_eq!(upstream.call_count(), calls + 1);
        assert_eq!(upstream.calls()[calls].json(), body);
    }
    shortens(&upstream);
    let whole = gateway
        .embed(json!({"model": "m", "input": "a", "dimensions": null}))
        .await;
    are_right(&whole, &[json!("a")], 8);
}

#[tokio::test]
async fn a_vector_that_begins_with_zeros_only_is_the_upstreams() {
    fn sparse(model: &str, input: &Value, dimensions: usize) -> Vec<f32> {
        match (input == "zero", dimensions) {
            (true, 8) => vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.6, 0.8],
            (true, _) => vec![1.0; dimensions],
            (false, _) => matryoshka(model, input, dimensions),
        }
    }
    let (upstream, gateway) = derives(Setup::new()).await;
    answers_as(&upstream, "m", sparse);
    gateway.embed(question(&json!("a"), 4)).await;
    let answer = gateway.embed(question(&json!(["a", "zero"]), 4)).await;
    let expected = [matryoshka("m", &json!("a"), 4), vec![1.0; 4]];
    assert_eq!(answer.vectors(), expected);
    assert!(!answer.header("cache-status").contains("derived"));
    let answer = gateway.embed(question(&json!("zero"), 7)).await;
    assert_eq!(answer.vectors(), [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]]);
    assert_eq!(metric(&gateway, "derivation_off{model=\"m\"}"), 0);
}

#[tokio::test]
async fn a_self_test_that_the_upstream_does_not_let_end_is_not_made_again_at_once() {
    let (upstream, gateway) = derives(Setup::new()).await;
    upstream.answers(|call: Call| {
        let body = embeddings_body_of(&call, matryoshka);
        std::future::ready(match call.json()["dimensions"].is_null() {
            true => json_answer(StatusCode::OK, &body),
            false => json_answer(
                StatusCode::BAD_REQUEST,
                &json!({"error": {"message": "no"}}),
            ),
        })
    });
    for (input, calls) in [("a", 3), ("b", 4)] {
        let answer = gateway.embed(question(&json!(input), 4)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(upstream.call_count(), calls);
    }
    shortens(&upstream);
    let answer = gateway.embed(question(&json!("b"), 4)).await;
    assert_eq!(answer.header("cache-status"), MISS);
    assert_eq!(upstream.call_count(), 5);
    assert_eq!(
        metric(&gateway, "derivation_tests_total{result=\"undecided\"}"),
        1
    );
    assert_eq!(metric(&gateway, "derivation_off{model=\"m\"}"), 0);
}

#[tokio::test]
async fn a_caller_that_the_upstream_refuses_keeps_no_other_from_the_self_test() {
    let (upstream, gateway) = derives(Setup::new()).await;
    upstream.answers(|call: Call| {
        let body = embeddings_body_of(&call, matryoshka);
        let is_right = call.headers["authorization"] != "Bearer sk-that-is-refused";
        std::future::ready(match is_right {
            true => json_answer(StatusCode::OK, &body),
            false => json_answer(
                StatusCode::UNAUTHORIZED,
                &json!({"error": {"message": "no"}}),
            ),
        })
    });
    let mut wrong = post(&question(&json!("a"), 4));
    wrong.headers_mut().insert(
        "authorization",
        "Bearer sk-that-is-refused".parse().unwrap(),
    );
    assert_eq!(gateway.send(wrong).await.status, StatusCode::UNAUTHORIZED);
    let answer = gateway.embed(question(&json!("a"), 4)).await;
    assert_eq!(answer.header("cache-status"), DERIVED);
}

#[tokio::test]
async fn models_that_are_not_listed_are_none_of_it() {
    let upstream = Upstream::start().await;
    shortens(&upstream);
    for setup in [Setup::new(), listing(Setup::new())] {
        let gateway = setup.before(&upstream).await;
        let calls = upstream.call_count();
        let body = json!({"model": "mm", "input": "a", "dimensions": 4});
        let answer = gateway.embed(body).await;
        assert_eq!(answer.vectors(), [matryoshka("mm", &json!("a"), 4)]);
        assert_eq!(answer.header("cache-status"), MISS);
        assert_eq!(upstream.call_count(), calls + 1);
    }
    assert_eq!(
        vector("m", &json!("a"), 4),
        vector("m", &json!("a"), 8)[..4]
    );
}
