//! The tool under a file of upstreams: it writes the keys of each model's group, in the generation of
//! the cache that gateways are in.

use std::future::ready;

use http::StatusCode;
use serde_json::{Value, json};

use super::{Place, numbers, refused, told, tool};
use crate::failover::both;
use crate::support::gateway::Gateway;
use crate::support::upstream::{Call, Upstream, embeddings_body, json_answer};
use crate::support::waiting::until;
use crate::support::{Setup, UpstreamsFile};

const HIT: &str = "embedding-gateway; hit";

fn lines() -> String {
    let line = |n| json!({"input": format!("text {n}"), "embedding": numbers(n), "tokens": 3});
    (0..2).map(|n| line(n).to_string() + "\n").collect()
}

/// Imports vectors of model `m` under this file.
fn import(place: &Place, file: &UpstreamsFile) -> String {
    let vectors = place.file("vectors.jsonl", lines());
    let path = file.0.path().to_str().unwrap();
    let variables = [("UPSTREAMS_FILE", path), ("ALLOW_ANONYMOUS", "true")];
    let output = tool(
        &place.store(),
        &variables,
        &["import", &vectors, "--model", "m"],
    );
    told(&output)
}

async fn serve(place: &Place, file: &UpstreamsFile, setup: Setup) -> Gateway {
    let store = super::url(&place.store());
    setup.with("STORE", &store).with_file(file).await
}

/// That a gateway under this file serves what was imported, and pays for nothing.
async fn are_hits(gateway: &Gateway) {
    for n in 0..2 {
        let body = json!({"model": "m", "input": format!("text {n}")});
        let answer = gateway.embed(body).await;
        assert_eq!(answer.header("cache-status"), HIT);
        assert_eq!(answer.vectors(), [numbers(n)]);
    }
}

#[tokio::test]
async fn what_is_imported_under_a_file_is_hit_under_it_whichever_upstream_fails() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let named = [
        both(&a.url, &b.url, ""),
        both(&a.url, &b.url, "models = { m = 'deployed' }"),
    ];
    let (a, b) = (&a.url, &b.url);
    let upstreams = |more: &str| {
        let one =
            |name, url| format!("[upstreams.{name}]\nbase_url = '{url}'\ncredential = 'none'\n");
        UpstreamsFile::new(&(one("a", a) + &one("b", b) + more))
    };
    let others = [
        "[models.m]\nupstreams = ['b', 'a']",
        "[models.m]\nupstreams = ['b']\nid = 'mine'",
        // Of no model's own.
        "[models.n]\nupstreams = ['b']",
    ];
    for file in named.into_iter().chain(others.map(upstreams)) {
        let place = Place::new();
        import(&place, &file);
        are_hits(&serve(&place, &file, Setup::new()).await).await;
        // One that joins the group leaves its keys as they are.
        let text = std::fs::read_to_string(file.0.path()).unwrap();
        let joined = text.replace("upstreams = ['a', 'b']", "upstreams = ['a']");
        file.write(&joined);
        are_hits(&serve(&place, &file, Setup::new()).await).await;
        // And what is exported there goes in again.
        let out = place.path("out.jsonl");
        let arguments = ["export", "--model", "m", "-o", &out];
        let output = tool(&place.store(), &[], &arguments);
        assert_eq!(refused(&output).0, Some(0), "{}", refused(&output).1);
    }
}

/// The vectors of another model, under the same name.
fn drifted(call: &Call) -> axum::response::Response {
    let mut body = embeddings_body(call);
    for item in body["data"].as_array_mut().unwrap() {
        item["embedding"] = json!(numbers(9));
    }
    json_answer(StatusCode::OK, &body)
}

#[tokio::test]
async fn what_is_imported_after_a_drift_is_of_the_new_generation() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let file = both(&a.url, &b.url, "");
    let place = Place::new();
    let setup = Setup::new().with_all(&[
        ("COMPARE_UPSTREAMS_EVERY", "20ms"),
        ("DRIFT_STARTS_GENERATION", "true"),
    ]);
    let gateway = serve(&place, &file, setup).await;
    let group = || gateway.app.upstreams.group("m");
    let compared = "upstream_vectors_differ{model=\"m\",upstream=\"b\"} 0";
    until(|| {
        let metrics = gateway.app.metrics.render(&gateway.app.gauges());
        metrics.contains(compared)
    })
    .await;
    for upstream in [&a, &b] {
        upstream.answers(|call| ready(drifted(&call)));
    }
    until(|| group().generation() == 1).await;
    import(&place, &file);
    are_hits(&gateway).await;
    let later = serve(&place, &file, Setup::new()).await;
    are_hits(&later).await;
    let asked = |upstream: &Upstream| upstream.inputs().contains(&json!("text 0"));
    let of_clients: Value = json!([asked(&a), asked(&b)]);
    assert_eq!(of_clients, json!([false, false]));
}
