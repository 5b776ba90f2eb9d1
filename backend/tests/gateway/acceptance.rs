//! A credential earns its hits by one small input, and no vector is paid for again for that.
#![allow(clippy::disallowed_methods, reason = "a test waits for what it spawns")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::support::Setup;
use crate::support::bucket::Bucket;
use crate::support::clock::StoppedClock;
use crate::support::gateway::{Gateway, post, with};
use crate::support::upstream::{
    Upstream, embeddings, embeddings_body, json_answer, vector, vectors,
};
use crate::support::waiting::until;

fn asked(inputs: &[String], key: &str) -> Request<axum::body::Body> {
    let body = json!({"model": "m", "input": inputs});
    with(post(&body), "authorization", &format!("Bearer {key}"))
}

fn passages(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| format!("passage {n:04}")).collect()
}

async fn stocked(upstream: &Upstream, bucket: &Bucket) {
    let gateway = restarted(upstream, bucket).await;
    gateway.send(asked(&passages(0, 400), "one")).await;
    gateway.app.finish().await;
}

async fn restarted(upstream: &Upstream, bucket: &Bucket) -> Gateway {
    let setup = Setup::new().with_all(&bucket.variables());
    setup.before(upstream).await
}

#[tokio::test]
async fn after_a_restart_one_input_is_paid_for_and_all_else_comes_from_the_store() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    stocked(&upstream, &bucket).await;
    let before = upstream.call_count();
    upstream.answers(|call| async move {
        sleep(Duration::from_millis(100)).await;
        embeddings(&call)
    });
    let gateway = restarted(&upstream, &bucket).await;
    let batches = (0..8).map(|n| passages(50 * n, 50 * (n + 1)));
    let answers = join_all(batches.map(async |batch| {
        let answer = gateway.send(asked(&batch, "one")).await;
        let texts: Vec<&str> = batch.iter().map(String::as_str).collect();
        assert_eq!(answer.vectors(), vectors("m", &texts));
        answer
            .header("x-embedding-billed-tokens")
            .parse::<u64>()
            .unwrap()
    }))
    .await;
    assert_eq!(upstream.call_count(), before + 1);
    assert_eq!(upstream.calls()[before].inputs().len(), 1);
    assert_eq!(answers.iter().filter(|&&billed| billed > 0).count(), 1);
}

#[tokio::test]
async fn a_vector_that_is_there_outlives_the_call_that_proves_a_credential() {
    let (upstream, gateway) = Setup::new().with("CACHE_SCOPE", "shared").start().await;
    let batch = passages(0, 3);
    let first = gateway.send(asked(&batch, "one")).await;
    answers_otherwise(&upstream);
    let calls = upstream.call_count();
    for key in ["two", "one"] {
        let answer = gateway.send(asked(&batch, key)).await;
        assert_eq!(answer.vectors(), first.vectors(), "{key}");
    }
    assert_eq!(upstream.call_count(), calls + 1);
}

/// An upstream whose vectors differ from call to call.
fn answers_otherwise(upstream: &Upstream) {
    upstream.answers(|call| {
        let items = call.inputs().into_iter().enumerate();
        let vector = |index| vector("m", &json!(format!("other {index}")), 8);
        let data: Vec<Value> = items
            .map(|(index, _)| json!({"index": index, "embedding": vector(index)}))
            .collect();
        let mut answer = embeddings_body(&call);
        answer["data"] = data.into();
        std::future::ready(json_answer(StatusCode::OK, &answer))
    });
}

/// A folder that holds the vectors of passages, and the upstream that gave them.
async fn folder_of(passages: &[String], variables: &[(&str, &str)]) -> (Upstream, TempDir) {
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let gateway = over(&folder, variables).before(&upstream).await;
    for batch in passages.chunks(500) {
        gateway.send(asked(batch, "one")).await;
    }
    gateway.app.finish().await;
    answers_otherwise(&upstream);
    (upstream, folder)
}

/// A gateway on the folder, as after a restart.
fn over(folder: &TempDir, variables: &[(&str, &str)]) -> Setup {
    let store = format!("file://{}", folder.path().display());
    let setup = Setup::new().with("STORE", &store);
    setup.with_all(variables)
}

fn right(passages: &[String]) -> Vec<Vec<f32>> {
    let texts: Vec<&str> = passages.iter().map(String::as_str).collect();
    vectors("m", &texts)
}

/// How many inputs each call had, from the given one on.
fn paid(upstream: &Upstream, from: usize) -> Vec<usize> {
    let calls = upstream.calls();
    calls[from..]
        .iter()
        .map(|call| call.inputs().len())
        .collect()
}

#[tokio::test]
async fn a_restart_pays_for_one_of_5_000_stored_passages() {
    let all = passages(0, 5000);
    let (upstream, folder) = folder_of(&all, &[]).await;
    let before = upstream.call_count();
    let gateway = over(&folder, &[]).before(&upstream).await;
    let answers = stream::iter(all.chunks(250)).map(async |batch| {
        let answer = gateway.send(asked(batch, "one")).await;
        assert_eq!(answer.vectors(), right(batch));
    });
    answers.buffer_unordered(8).collect::<Vec<_>>().await;
    assert_eq!(paid(&upstream, before), [1]);
}

#[tokio::test]
async fn one_stored_vector_among_many_is_neither_paid_for_again_nor_replaced() {
    let batch = passages(0, 300);
    for (place, count) in [(7, 300), (141, 300), (299, 300), (5, 8), (8, 9)] {
        let stored = &batch[place..=place];
        let (upstream, folder) = folder_of(stored, &[]).await;
        let before = upstream.call_count();
        let gateway = over(&folder, &[]).before(&upstream).await;
        let answer = gateway.send(asked(&batch[..count], "one")).await;
        assert_eq!(answer.vectors()[place..=place], right(stored), "{place}");
        // One proves the credential; the stored one is not asked for.
        assert_eq!(paid(&upstream, before), [1, count - 2], "{place}");
    }
}

#[tokio::test]
async fn what_the_store_has_stays_although_a_call_brings_another_vector() {
    let organization = ("CACHE_SCOPE", "organization");
    let no_memory = ("MEMORY_CACHE_BYTES", "0");
    let all = passages(0, 20);
    for (variables, key, count, directive) in [
        // The one input that proves the credential is a stored one.
        (&[no_memory][..], "one", 1, ""),
        (&[no_memory], "one", 20, ""),
        (&[no_memory], "one", 20, "no-cache"),
        // A rotated key: only the answer tells whose vectors there are.
        (&[organization, no_memory], "two", 1, ""),
        (&[organization, no_memory], "two", 5, ""),
        (&[organization], "two", 20, ""),
        (&[organization, no_memory], "two", 20, "no-cache"),
    ] {
        let case = format!("{variables:?} {count} {directive}");
        let (upstream, folder) = folder_of(&all, variables).await;
        let before = upstream.call_count();
        let ask = async || {
            let gateway = over(&folder, variables).before(&upstream).await;
            let request = with(asked(&all[..count], key), "cache-control", directive);
            let answer = gateway.send(request).await;
            gateway.app.finish().await;
            answer.vectors()
        };
        assert_eq!(ask().await, right(&all[..count]), "{case}");
        let calls = match directive {
            "no-cache" => vec![count],
            _ => vec![1],
        };
        assert_eq!(paid(&upstream, before), calls, "{case}");
        assert_eq!(ask().await, right(&all[..count]), "{case}: afterwards");
    }
}

#[tokio::test]
async fn the_right_to_hits_is_renewed_before_it_ends_and_nothing_waits_for_it() {
    let (upstream, gateway) = Setup::new().with("CREDENTIAL_TTL", "1h").start().await;
    let batch = passages(0, 20);
    gateway.send(asked(&batch, "one")).await;
    let clock = StoppedClock::by(Duration::from_secs(60));
    clock
        .passes_until(sleep(Duration::from_secs(46 * 60)))
        .await;
    drop(clock);
    let answer = gateway.send(asked(&batch, "one")).await;
    assert_eq!(answer.header("cache-status"), "embedding-gateway; hit");
    until(|| upstream.call_count() == 2).await;
    assert_eq!(upstream.calls()[1].inputs().len(), 1);
}

#[tokio::test]
async fn a_key_revoked_during_its_first_slow_call_earns_nothing() {
    let (upstream, gateway) = Setup::new().start().await;
    let gateway = Arc::new(gateway);
    upstream.answers(|call| async move {
        if call.inputs() == [json!("slow")] {
            sleep(Duration::from_millis(400)).await;
            return embeddings(&call);
        }
        json_answer(
            StatusCode::UNAUTHORIZED,
            &json!({"error": {"message": "no"}}),
        )
    });
    let ask = |text: &'static str| {
        let gateway = Arc::clone(&gateway);
        async move { gateway.send(asked(&[text.to_owned()], "one")).await.status }
    };
    let slow = tokio::spawn(ask("slow"));
    until(|| upstream.call_count() == 1).await;
    assert_eq!(ask("revoked").await, StatusCode::UNAUTHORIZED);
    assert_eq!(slow.await.unwrap(), StatusCode::OK);
    let calls = upstream.call_count();
    gateway.send(asked(&["slow".to_owned()], "one")).await;
    assert_eq!(upstream.call_count(), calls + 1, "no hit after the refusal");
}

#[tokio::test]
async fn a_refusal_reaches_only_the_caller_that_it_was_for() {
    let gateways_key = [
        ("OPENAI_API_KEY", "sk-gateway"),
        ("ALLOW_ANONYMOUS", "true"),
    ];
    for (variables, keys) in [
        (&gateways_key[..], ["", ""]),
        (&gateways_key[..], ["Bearer one", "Bearer two"]),
        (&[("CACHE_SCOPE", "shared")][..], ["", ""]),
        (
            &[("CACHE_SCOPE", "shared")][..],
            ["Bearer one", "Bearer two"],
        ),
    ] {
        let (upstream, gateway) = Setup::new().with_all(variables).start().await;
        let gateway = Arc::new(gateway);
        upstream.answers(|call| async move {
            sleep(Duration::from_millis(200)).await;
            let message = format!("request {} failed", call.inputs().len());
            let error = json!({"error": {"message": message}});
            json_answer(StatusCode::INTERNAL_SERVER_ERROR, &error)
        });
        let ask = |inputs: Vec<&'static str>, key: &'static str| {
            let gateway = Arc::clone(&gateway);
            let mut request = post(&json!({"model": "m", "input": inputs}));
            request.headers_mut().remove("authorization");
            if !key.is_empty() {
                request = with(request, "authorization", key);
            }
            tokio::spawn(async move { gateway.send(request).await })
        };
        let leader = ask(vec!["shared", "the leader's alone"], keys[0]);
        until(|| upstream.call_count() == 1).await;
        let waiter = ask(vec!["shared"], keys[1]).await.unwrap();
        assert!(
            waiter.json().to_string().contains("request 1 failed"),
            "{keys:?}"
        );
        let leader = leader.await.unwrap();
        assert!(
            leader.json().to_string().contains("request 2 failed"),
            "{keys:?}"
        );
    }
}

#[tokio::test]
async fn no_client_reads_that_the_gateways_own_key_is_refused() {
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        let variables = [
            ("OPENAI_API_KEY", "sk-gateway"),
            ("ALLOW_ANONYMOUS", "true"),
        ];
        let (upstream, gateway) = Setup::new().with_all(&variables).start().await;
        let said = json!({"error": {"message": "Incorrect key sk-gat***way of org-secret"}});
        upstream.answers_json(status, said);
        for body in [
            json!({"model": "m", "input": "a"}),
            json!({"model": "m", "input": "a", "stranger": 1}),
        ] {
            let answer = gateway.embed(body).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
            assert_eq!(answer.error_code(), "gateway_key_refused");
            assert!(!answer.json().to_string().contains("org-secret"));
        }
        let models = Request::get("/v1/models").body(axum::body::Body::empty());
        let answer = gateway.send(models.unwrap()).await;
        assert_eq!(answer.error_code(), "gateway_key_refused");
    }
}
