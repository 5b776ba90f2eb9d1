//! Upstreams of one model whose vectors are compared.

use std::future::ready;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::upstream::{Call, Upstream, embeddings, embeddings_body, json_answer, vectors};
use crate::support::waiting::until;
use crate::support::{Setup, UpstreamsFile};

fn both(a: &Upstream, b: &Upstream) -> UpstreamsFile {
    let one = |name, upstream: &Upstream| {
        format!(
            "[upstreams.{name}]\nbase_url = '{}'\ncredential = 'none'\n",
            upstream.url
        )
    };
    UpstreamsFile::new(&(one("a", a) + &one("b", b) + "[models.m]\nupstreams = ['a', 'b']\n"))
}

fn often() -> Setup {
    Setup::new().with("COMPARE_UPSTREAMS_EVERY", "20ms")
}

/// The vectors of another model, under the same name.
fn others(call: &Call) -> axum::response::Response {
    let mut body = embeddings_body(call);
    for item in body["data"].as_array_mut().unwrap() {
        let floats: Vec<f32> = (1..=8_u8).map(f32::from).collect();
        item["embedding"] = json!(floats);
    }
    json_answer(StatusCode::OK, &body)
}

fn differs(gateway: &Gateway, upstream: &str) -> u64 {
    let labels = format!("{{model=\"m\",upstream=\"{upstream}\"}}");
    gateway.metric(&format!(
        "embedding_gateway_upstream_vectors_differ{labels}"
    ))
}

fn has_drifted(gateway: &Gateway) -> bool {
    gateway.metric("embedding_gateway_model_drifted{model=\"m\"}") == 1
}

fn asked(upstream: &Upstream) -> usize {
    let inputs = upstream.inputs();
    let own = |input: &&Value| input.as_str().is_some_and(|text| text.starts_with("own "));
    inputs.iter().filter(own).count()
}

async fn embed(gateway: &Gateway, input: &str) -> Vec<Vec<f32>> {
    gateway
        .embed(json!({"model": "m", "input": input}))
        .await
        .vectors()
}

/// Waits until each has been compared once more, with what it answers now.
async fn compared(a: &Upstream, b: &Upstream) {
    let before = (a.call_count(), b.call_count());
    until(|| a.call_count() > before.0 + 1 && b.call_count() > before.1 + 1).await;
}

#[tokio::test]
async fn one_that_gives_other_vectors_never_serves_and_one_that_is_right_again_does() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    b.answers(|call| ready(others(&call)));
    let gateway = often().with_file(&both(&a, &b)).await;
    for number in 0..20 {
        let input = format!("own {number}");
        assert_eq!(embed(&gateway, &input).await, vectors("m", &[&input]));
    }
    until(|| differs(&gateway, "b") == 1).await;
    assert_eq!((asked(&b), differs(&gateway, "a")), (0, 0));
    // Not even where the other one is down: no vector is better than a wrong one.
    a.answers(|_| ready(json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({}))));
    let answer = gateway
        .embed(json!({"model": "m", "input": "own late"}))
        .await;
    assert!(answer.status.is_server_error());
    assert_eq!(asked(&b), 0);

    b.answers(|call| ready(embeddings(&call)));
    until(|| differs(&gateway, "b") == 0).await;
    assert_eq!(
        embed(&gateway, "own late").await,
        vectors("m", &["own late"])
    );
    assert_eq!(asked(&b), 1);
}

#[tokio::test]
async fn one_that_cannot_be_compared_yet_does_not_serve() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    b.answers(|_| ready(json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({}))));
    let gateway = Setup::new().with_file(&both(&a, &b)).await;
    for number in 0..20 {
        embed(&gateway, &format!("own {number}")).await;
    }
    assert_eq!(asked(&b), 0);
}

#[tokio::test]
async fn the_same_vectors_under_another_name_are_one_model() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    b.answers(|call| {
        let mut body = embeddings_body(&call);
        body["model"] = json!("another-name");
        ready(json_answer(StatusCode::OK, &body))
    });
    let gateway = often().with_file(&both(&a, &b)).await;
    compared(&a, &b).await;
    let mut number = 0;
    while asked(&b) < 3 || asked(&a) < 3 {
        let answer = gateway
            .embed(json!({"model": "m", "input": format!("own {number}")}))
            .await;
        assert_eq!(answer.json()["model"], "m-v2");
        number += 1;
    }
    let answer = gateway.embed(json!({"model": "m", "input": "own 0"})).await;
    assert_eq!(answer.header("cache-status"), "embedding-gateway; hit");
}

#[tokio::test]
async fn a_model_that_drifts_alarms_and_starts_a_generation_if_it_is_to() {
    for (starts, expected) in [("false", false), ("true", true)] {
        let (a, b) = (Upstream::start().await, Upstream::start().await);
        let folder = tempfile::tempdir().unwrap();
        let store = format!("file://{}", folder.path().display());
        let setup = often().with_all(&[("STORE", &store), ("DRIFT_STARTS_GENERATION", starts)]);
        let file = both(&a, &b);
        let gateway = setup.clone().with_file(&file).await;
        let old = embed(&gateway, "own 1").await;
        compared(&a, &b).await;
        assert!(!has_drifted(&gateway));
        for upstream in [&a, &b] {
            upstream.answers(|call| ready(others(&call)));
        }
        // With a new generation the new vectors are pinned, so that the alarm ends by itself.
        let text = async || embed(&gateway, "own 1").await;
        match expected {
            true => {
                let mut found = text().await;
                while found == old {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    found = text().await;
                }
                until(|| !has_drifted(&gateway)).await;
                // Another gateway, and one that starts later, are of that generation at once.
                gateway.app.finish().await;
                let calls = asked(&a) + asked(&b);
                let later = setup.with_file(&file).await;
                assert_eq!(embed(&later, "own 1").await, found);
                assert_eq!(asked(&a) + asked(&b), calls);
            }
            false => {
                until(|| has_drifted(&gateway)).await;
                assert_eq!(text().await, old);
            }
        }
    }
}
