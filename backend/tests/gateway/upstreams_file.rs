//! A file of upstreams: which of them serves what, and for which keys.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;

use crate::support::gateway::{Gateway, post};
use crate::support::upstream::{Upstream, embeddings_body, json_answer, vectors};
use crate::support::waiting::until;
use crate::support::{Setup, UpstreamsFile};

const RELOADS: &str = "embedding_gateway_upstream_reloads_total";

/// The part of a file about one upstream.
fn upstream(name: &str, url: &str, more: &str) -> String {
    format!("[upstreams.{name}]\nbase_url = '{url}'\ncredential = 'env:KEY_OF_{name}'\n{more}\n")
}

fn setup() -> Setup {
    Setup::new().with_all(&[("KEY_OF_a", "sk-key-of-a"), ("KEY_OF_b", "sk-key-of-b")])
}

async fn embed(gateway: &Gateway, model: &str, input: &str) -> Vec<Vec<f32>> {
    let answer = gateway.embed(json!({"model": model, "input": input})).await;
    answer.vectors()
}

#[tokio::test]
async fn each_model_goes_to_its_upstream_with_that_ones_name_credential_and_headers() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let file = UpstreamsFile::new(
        &(upstream("a", &a.url, "serves = 'embeddings'")
            + &upstream(
                "b",
                &b.url,
                "models = { n = 'deployed' }\nheaders = { x-team = 't' }\ncredential_header = 'api-key'",
            )
            + "[models.m]\nupstreams = ['a']\n"),
    );
    let gateway = setup().with_file(&file).await;
    for (model, own, upstream, other) in [("m", "m", &a, &b), ("n", "deployed", &b, &a)] {
        let before = other.call_count();
        assert_eq!(embed(&gateway, model, "x").await, vectors(own, &["x"]));
        let call = upstream.calls().pop().unwrap();
        assert_eq!(call.json()["model"], own);
        // What the gateway does not understand goes the same way.
        let foreign = gateway
            .embed(json!({"model": model, "input": "y", "odd": 1}))
            .await;
        assert_eq!(foreign.status, StatusCode::OK);
        assert_eq!(upstream.calls().pop().unwrap().json()["model"], own);
        assert_eq!(other.call_count(), before);
    }
    let (of_a, of_b) = (a.calls().pop().unwrap(), b.calls().pop().unwrap());
    assert_eq!(of_a.headers["authorization"], "Bearer sk-key-of-a");
    assert_eq!(of_b.headers["api-key"], "sk-key-of-b");
    assert_eq!(of_b.headers["x-team"], "t");
    assert!(!of_a.headers.contains_key("x-team") && !of_b.headers.contains_key("authorization"));

    // Other routes go to the first that serves them.
    b.answers_json(StatusCode::OK, json!({}));
    let chat = Request::post("/v1/chat/completions")
        .body(Body::from("{}"))
        .unwrap();
    assert_eq!(gateway.send(chat).await.status, StatusCode::OK);
    assert_eq!(b.calls().pop().unwrap().target, "/v1/chat/completions");
    assert_eq!(b.calls().pop().unwrap().headers["api-key"], "sk-key-of-b");
}

#[tokio::test]
async fn an_upstreams_own_name_for_the_model_is_the_clients_in_its_vectors() {
    let a = Upstream::start().await;
    a.answers(|call| async move {
        let mut body = embeddings_body(&call);
        body["model"] = call.json()["model"].clone();
        json_answer(StatusCode::OK, &body)
    });
    let file = UpstreamsFile::new(&upstream("a", &a.url, "models = { m = 'deployed' }"));
    let gateway = setup().with_file(&file).await;
    let answer = gateway.embed(json!({"model": "m", "input": "x"})).await;
    assert_eq!(answer.json()["model"], "m");
}

#[tokio::test]
async fn a_file_of_one_has_the_keys_of_the_variables_and_groups_share_none() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().display());
    let before = Setup::new()
        .with_all(&[
            ("STORE", &store),
            ("OPENAI_API_KEY", "sk-key-of-a"),
            ("ALLOW_ANONYMOUS", "true"),
        ])
        .before(&a)
        .await;
    embed(&before, "m", "x").await;
    before.app.finish().await;
    let calls = async |text: &str, model: &str| {
        let file = UpstreamsFile::new(text);
        let gateway = setup().with("STORE", &store).with_file(&file).await;
        let before = a.call_count() + b.call_count();
        embed(&gateway, model, "x").await;
        gateway.app.finish().await;
        a.call_count() + b.call_count() - before
    };
    let (one, two) = (upstream("a", &a.url, ""), upstream("b", &b.url, ""));
    let both = one.clone() + &two;
    assert_eq!(calls(&one, "m").await, 0);
    assert_eq!(
        calls(&(one + "[models.m]\nupstreams = ['a']"), "m").await,
        0
    );
    // Another upstream, and another name at the same one, are other vectors.
    assert_eq!(
        calls(&(both.clone() + "[models.m]\nupstreams = ['b']"), "m").await,
        1
    );
    let renamed = upstream("a", &a.url, "models = { m = 'other' }");
    assert_eq!(calls(&renamed, "m").await, 1);
    assert_eq!(calls(&renamed, "m").await, 0);
    let named = both + "[models.m]\nupstreams = ['b']\nid = 'mine'";
    assert_eq!(calls(&named, "m").await, 1);
    assert_eq!(calls(&named, "m").await, 0);
}

#[tokio::test]
async fn a_file_that_changes_is_read_again_and_a_bad_one_changes_nothing() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let file = UpstreamsFile::new(&upstream("a", &a.url, ""));
    let gateway = setup().with_file(&file).await;
    embed(&gateway, "m", "1").await;
    file.write("[upstreams.a]\ncolor = 'red'\n");
    let metric = |result: &str| gateway.metric(&format!("{RELOADS}{{result=\"{result}\"}}"));
    until(|| metric("failed") > 0).await;
    embed(&gateway, "m", "2").await;
    assert_eq!((a.call_count(), b.call_count()), (2, 0));
    file.write(&upstream("b", &b.url, ""));
    until(|| metric("done") == 1).await;
    embed(&gateway, "m", "2").await;
    assert_eq!((a.call_count(), b.call_count()), (2, 1));
}

#[tokio::test]
async fn requests_that_run_while_the_file_changes_end_where_they_began() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    a.answers(|call| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        json_answer(StatusCode::OK, &embeddings_body(&call))
    });
    let file = UpstreamsFile::new(&upstream("a", &a.url, ""));
    let gateway = setup().with_file(&file).await;
    file.write(&upstream("b", &b.url, ""));
    let mut number = 0;
    while b.call_count() == 0 {
        let inputs: Vec<String> = (0..4).map(|n| format!("{number} {n}")).collect();
        let asked = inputs
            .iter()
            .map(|input| gateway.send(post(&json!({"model": "m", "input": input}))));
        for (answer, input) in futures_util::future::join_all(asked)
            .await
            .iter()
            .zip(&inputs)
        {
            assert_eq!(answer.vectors(), vectors("m", &[input]));
        }
        number += 1;
    }
}

#[tokio::test]
async fn a_callers_credential_goes_to_the_one_upstream_and_is_proven_there() {
    let a = Upstream::start().await;
    let file = UpstreamsFile::new(&format!(
        "[upstreams.a]\nbase_url = '{}'\ncredential = 'caller'\nheaders = {{ x-team = 't' }}\n",
        a.url
    ));
    let path = file.0.path().to_str().unwrap();
    let gateway = Setup::new().with("UPSTREAMS_FILE", path).alone().await;
    embed(&gateway, "m", "x").await;
    let call = a.calls().pop().unwrap();
    assert_eq!(call.headers["authorization"], crate::support::gateway::KEY);
    assert_eq!(call.headers["x-team"], "t");
}
