//! Arbitrary bodies: never a panic, never a 5xx of the gateway's own.

use std::time::{Duration, Instant};

use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::Setup;
use crate::support::gateway::post_raw;
use crate::support::upstream::Upstream;

/// The time that a malformed request may take, on a machine that does other things too. One that
/// reads such depths again and again takes minutes.
const AT_ONCE: Duration = Duration::from_secs(10);

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("model|input|dimensions|user|x|.*", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..100),
        any_json().prop_map(|value| value.to_string().into_bytes()),
        any_json().prop_map(|input| json!({"model": "m", "input": input})
            .to_string()
            .into_bytes()),
    ]
}

#[test]
fn arbitrary_bodies_are_answered() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (upstream, gateway) = runtime.block_on(async {
        let upstream = Upstream::start().await;
        upstream.answers_json(StatusCode::BAD_REQUEST, json!({"error": {"message": "no"}}));
        let gateway = Setup::new().before(&upstream).await;
        (upstream, gateway)
    });
    proptest!(ProptestConfig::with_cases(256), |(body in any_body())| {
        let answer = runtime.block_on(gateway.send(post_raw(body)));
        prop_assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        prop_assert!(answer.json()["error"]["message"].is_string());
    });
    assert_eq!(
        gateway.metric("embedding_gateway_inputs_total{outcome=\"memory\"}"),
        0
    );
    drop(upstream);
}

#[tokio::test]
async fn bad_input_is_answered_at_once_and_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("file://{}", directory.path().display());
    let upstream = Upstream::start().await;
    upstream.answers_json(StatusCode::BAD_REQUEST, json!({"error": {"message": "no"}}));
    let gateway = Setup::new().with("STORE", &store).before(&upstream).await;
    let deep = "[".repeat(100_000);
    let open = format!(r#"{{"model":"m","input":{deep}"#);
    let closed = format!("{open}{}}}", "]".repeat(100_000));
    for body in [
        "",
        "{",
        "\u{0}",
        "{}",
        r#"{"model":"m","input":[]}"#,
        r#"{"model":"m","input":[[]]}"#,
        &open,
        &closed,
    ] {
        let began = Instant::now();
        let answer = gateway.send(post_raw(body.to_owned())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.json()["error"]["message"].is_string());
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    }
    gateway.app.finish().await;
    let names = std::fs::read_dir(directory.path()).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name());
    assert!(names.all(|name| name == "probe"), "of the check alone");
}
