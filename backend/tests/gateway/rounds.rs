//! Bad answers of an upstream, in its only call or in one of several: the gateway neither serves
//! nor keeps a wrong vector.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::Setup;
use crate::support::gateway::Gateway;
use crate::support::upstream::{Call, Upstream, embeddings, embeddings_body, json_answer, vectors};

const INPUTS: [&str; 4] = ["a", "b", "c", "d"];

/// A fault of the upstream's answer, and the client's answer to it.
type Fault = (&'static str, fn(&Call) -> Response, StatusCode);

const FAULTS: [Fault; 25] = [
    ("nothing", embeddings, StatusCode::OK),
    (
        "another order",
        |call| changed(call, |answer| data(answer).reverse()),
        StatusCode::OK,
    ),
    (
        "no usage",
        |call| changed(call, |answer| answer["usage"] = Value::Null),
        StatusCode::OK,
    ),
    (
        "no model",
        |call| changed(call, |answer| answer["model"] = Value::Null),
        StatusCode::OK,
    ),
    (
        "a negative usage",
        |call| {
            changed(call, |answer| {
                answer["usage"]["prompt_tokens"] = (-1).into()
            })
        },
        StatusCode::OK,
    ),
    (
        "an index twice",
        |call| changed(call, |answer| data(answer)[1]["index"] = 0.into()),
        StatusCode::BAD_GATEWAY,
    ),
    (
        "indices from 1",
        |call| {
            changed(call, |answer| {
                data(answer)[0]["index"] = 1.into();
                data(answer)[1]["index"] = 2.into();
            })
        },
        StatusCode::BAD_GATEWAY,
    ),
    (
        "no index",
        |call| changed(call, |answer| data(answer)[1]["index"] = Value::Null),
        StatusCode::BAD_GATEWAY,
    ),
    (
        "one too few",
        |call| changed(call, |answer| drop(data(answer).pop())),
        StatusCode::BAD_GATEWAY,
    ),
    (
        "one too many",
        |call| {
            changed(call, |answer| {
                let more = data(answer)[0].clone();
                data(answer).push(more);
            })
        },
        StatusCode::BAD_GATEWAY,
    ),
    (
        "one vector of another length",
        |call| with_vector(call, &[1.0]),
        StatusCode::BAD_GATEWAY,
    ),
    (
        "zeros",
        |call| with_vector(call, &[0.0; 8]),
        StatusCode::BAD_GATEWAY,
    ),
    (
        "not a number",
        |call| with_vector(call, &[f32::NAN; 8]),
        StatusCode::BAD_GATEWAY,
    ),
    (
        "infinity",
        |call| with_vector(call, &[f32::INFINITY; 8]),
        StatusCode::BAD_GATEWAY,
    ),
    (
        "numbers beyond a float",
        |call| changed(call, |answer| data(answer)[0]["embedding"] = json!([1e300])),
        StatusCode::BAD_GATEWAY,
    ),
    (
        "a list within the list",
        |call| changed(call, |answer| data(answer)[0]["embedding"] = json!([[1.0]])),
        StatusCode::BAD_GATEWAY,
    ),
    (
        "half of its JSON",
        |call| {
            let whole = embeddings_body(call).to_string();
            raw(200, whole[..whole.len() / 2].to_owned())
        },
        StatusCode::BAD_GATEWAY,
    ),
    (
        "two answers",
        |call| {
            let whole = embeddings_body(call).to_string();
            raw(200, whole.repeat(2))
        },
        StatusCode::BAD_GATEWAY,
    ),
    (
        "an error with status 200",
        |_| raw(200, r#"{"error": {"message": "no"}}"#),
        StatusCode::BAD_GATEWAY,
    ),
    ("nothing at all", |_| raw(200, ""), StatusCode::BAD_GATEWAY),
    (
        "what is compressed",
        |_| raw(200, &b"\x1f\x8b\x08\x00\x00"[..]),
        StatusCode::BAD_GATEWAY,
    ),
    (
        "an end in the middle",
        |call| {
            let half = embeddings_body(call).to_string().into_bytes();
            let half = stream::iter([Ok(half), Err(std::io::Error::other("gone"))]);
            Response::new(Body::from_stream(half.boxed()))
        },
        StatusCode::BAD_GATEWAY,
    ),
    (
        "a redirection",
        |_| {
            let answer = Response::builder().status(307);
            let answer = answer.header("location", "/v1/elsewhere");
            answer.body(Body::empty()).unwrap()
        },
        StatusCode::BAD_GATEWAY,
    ),
    (
        "a good answer with another status",
        |call| raw(206, embeddings_body(call).to_string()),
        StatusCode::OK,
    ),
    (
        "a limit",
        |_| raw(429, r#"{"error": {"message": "slow down"}}"#),
        StatusCode::TOO_MANY_REQUESTS,
    ),
];

fn raw(status: u16, body: impl Into<Body>) -> Response {
    let answer = Response::builder().status(status);
    answer.body(body.into()).unwrap()
}

fn changed(call: &Call, change: impl FnOnce(&mut Value)) -> Response {
    let mut answer = embeddings_body(call);
    change(&mut answer);
    json_answer(StatusCode::OK, &answer)
}

fn data(answer: &mut Value) -> &mut Vec<Value> {
    answer["data"].as_array_mut().unwrap()
}

fn base64(numbers: &[f32]) -> Value {
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    base64_simd::STANDARD.encode_to_string(bytes).into()
}

fn with_vector(call: &Call, vector: &[f32]) -> Response {
    changed(call, |answer| data(answer)[1]["embedding"] = base64(vector))
}

/// From now on strikes the call with the last input, after it answered `others` calls.
fn strike(
    upstream: &Upstream,
    gateway: &Arc<Gateway>,
    others: u64,
    fault: impl Fn(&Call) -> Response + Send + Sync + 'static,
) {
    let (gateway, fault) = (Arc::clone(gateway), Arc::new(fault));
    upstream.answers(move |call| {
        let (gateway, fault) = (Arc::clone(&gateway), Arc::clone(&fault));
        async move {
            if !call.inputs().contains(&json!("d")) {
                return embeddings(&call);
            }
            while gateway.metric("embedding_gateway_upstream_calls_total{result=\"200\"}") < others
            {
                tokio::task::yield_now().await;
            }
            fault(&call)
        }
    });
}

async fn ask(gateway: &Gateway, inputs: &[&str]) -> crate::support::gateway::Answer {
    gateway.embed(json!({"model": "m", "input": inputs})).await
}

/// In every combination the client gets what a healthy upstream would have answered.
async fn assert_nothing_wrong_was_kept(upstream: &Upstream, gateway: &Gateway, name: &str) {
    upstream.answers(|call| std::future::ready(embeddings(&call)));
    for inputs in [&INPUTS[3..], &INPUTS[2..], &INPUTS[..2], &INPUTS] {
        let answer = ask(gateway, inputs).await;
        assert_eq!(answer.vectors(), vectors("m", inputs), "{name}");
    }
}

#[tokio::test]
async fn what_an_upstream_does_wrong_is_neither_served_nor_kept() {
    for (name, fault, status) in FAULTS {
        for calls in [1, 2] {
            let most = (INPUTS.len() / calls).to_string();
            let (upstream, gateway) = Setup::new()
                .with("UPSTREAM_MAX_INPUTS", &most)
                .start()
                .await;
            let gateway = Arc::new(gateway);
            strike(&upstream, &gateway, calls as u64 - 1, fault);
            let answer = ask(&gateway, &INPUTS).await;
            assert_eq!(answer.status, status, "{name}");
            if status == StatusCode::OK {
                assert_eq!(answer.vectors(), vectors("m", &INPUTS), "{name}");
            } else {
                assert_eq!(answer.header("cache-control"), "no-store", "{name}");
            }
            assert_nothing_wrong_was_kept(&upstream, &gateway, name).await;
        }
    }
}

/// Each vector of the second call is as good as another, but they do not fit those of the first.
#[tokio::test]
async fn of_calls_that_disagree_about_the_length_the_later_one_is_not_kept() {
    let (upstream, gateway) = Setup::new().with("UPSTREAM_MAX_INPUTS", "2").start().await;
    let gateway = Arc::new(gateway);
    strike(&upstream, &gateway, 1, |call| {
        changed(call, |answer| {
            for item in data(answer) {
                item["embedding"] = base64(&[1.0, 2.0]);
            }
        })
    });
    let answer = ask(&gateway, &INPUTS).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.error_code(), "upstream_unusable");
    let kept = ask(&gateway, &INPUTS[..2]).await;
    assert_eq!(kept.header("cache-status"), "embedding-gateway; hit");
    assert_nothing_wrong_was_kept(&upstream, &gateway, "another length").await;
}

#[tokio::test]
async fn what_refuses_the_credential_or_its_rate_ends_the_other_calls() {
    for status in [401, 402, 403, 404, 429] {
        let status = StatusCode::from_u16(status).unwrap();
        let (upstream, gateway) = Setup::new().with("UPSTREAM_MAX_INPUTS", "1").start().await;
        upstream.answers_json(status, json!({"error": {"message": "no"}}));
        let inputs: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let answer = gateway.embed(json!({"model": "m", "input": inputs})).await;
        assert_eq!(answer.status, status);
        // Those that ran beside it, and the few that began before it was heard.
        assert!(
            upstream.call_count() <= 8,
            "{status}: {}",
            upstream.call_count()
        );
    }
}
