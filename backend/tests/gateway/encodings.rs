//! Upstreams that refuse base64, or `encoding_format` as such, which no client sent.

use std::future::ready;

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::Setup;
use crate::support::upstream::{Call, Upstream, embeddings, json_answer, vectors};

const REFUSED: StatusCode = StatusCode::BAD_REQUEST;

fn refusal(status: StatusCode, of: &Value) -> Response {
    json_answer(status, &json!({"detail": format!("not taken: {of}")}))
}

/// Refuses each call whose encoding is listed, and says which it was.
fn refuses(upstream: &Upstream, status: StatusCode, encodings: &'static [&'static str]) {
    upstream.answers(move |call: Call| {
        let encoding = call.json()["encoding_format"].clone();
        let refused = encoding.as_str().is_some_and(|it| encodings.contains(&it));
        ready(match refused {
            true => refusal(status, &encoding),
            false => embeddings(&call),
        })
    });
}

/// What each call asked for, `null` if it did not say.
fn asked(upstream: &Upstream) -> Vec<Value> {
    let calls = upstream.calls();
    calls
        .iter()
        .map(|call| call.json()["encoding_format"].clone())
        .collect()
}

#[tokio::test]
async fn a_model_that_refuses_an_encoding_is_asked_without_one_from_then_on() {
    for status in [REFUSED, StatusCode::UNPROCESSABLE_ENTITY] {
        let (upstream, gateway) = Setup::new().start().await;
        refuses(&upstream, status, &["base64", "float"]);
        for (at, encoding) in [json!(null), json!("float"), json!("base64")]
            .iter()
            .enumerate()
        {
            let input = format!("{at}");
            let request = json!({"model": "m", "input": input, "encoding_format": encoding});
            assert_eq!(
                gateway.embed(request).await.status,
                StatusCode::OK,
                "{encoding}"
            );
            let again = gateway.embed(json!({"model": "m", "input": input})).await;
            assert_eq!(again.vectors(), vectors("m", &[&input]));
        }
        assert_eq!(
            asked(&upstream),
            [json!("base64"), json!(null), json!(null), json!(null)]
        );
        // Another model may have other manners.
        gateway.embed(json!({"model": "n", "input": "a"})).await;
        assert_eq!(asked(&upstream)[4..], [json!("base64"), json!(null)]);
    }
}

#[tokio::test]
async fn who_is_refused_in_every_form_reads_of_its_own() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers(|call| ready(refusal(REFUSED, &call.json()["encoding_format"])));
    for (sent, told) in [
        (None, "null"),
        (Some("float"), "null"),
        (Some("base64"), "base64"),
    ] {
        let mut request = json!({"model": "m", "input": "a"});
        if let Some(sent) = sent {
            request["encoding_format"] = sent.into();
        }
        let answer = gateway.embed(request).await;
        assert_eq!(answer.status, REFUSED);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text.contains(told), "{sent:?}: {text}");
    }
    assert_eq!(upstream.call_count(), 6);
}

#[tokio::test]
async fn what_may_pass_by_itself_is_told_as_it_is() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers(|call| {
        ready(match call.json()["encoding_format"].is_null() {
            true => refusal(StatusCode::TOO_MANY_REQUESTS, &json!("later")),
            false => refusal(REFUSED, &json!("base64")),
        })
    });
    let request = json!({"model": "m", "input": "a", "encoding_format": "base64"});
    let answer = gateway.embed(request.clone()).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    // Nothing was learnt, and other errors are no matter of encoding.
    upstream.answers_json(StatusCode::UNAUTHORIZED, json!({}));
    gateway.embed(request).await;
    let all = [json!("base64"), json!(null), json!("base64")];
    assert_eq!(asked(&upstream), all);
}

#[tokio::test]
async fn a_model_that_just_took_base64_is_asked_once_unless_its_words_say_so() {
    let (upstream, gateway) = Setup::new().start().await;
    gateway.warm_up().await;
    upstream.answers_json(REFUSED, json!({"error": {"message": "input is too long"}}));
    gateway.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(upstream.call_count(), 2);
    refuses(&upstream, REFUSED, &["base64"]);
    let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(answer.vectors(), vectors("m", &["a"]));
    assert_eq!(upstream.call_count(), 4);
}

#[tokio::test]
async fn the_operator_decides_what_is_asked() {
    let given = [json!(null), json!("float"), json!("base64")];
    let float = [json!("float"), json!("float"), json!("float")];
    for (rule, expected) in [("float", &float), ("as-asked", &given)] {
        let (upstream, gateway) = Setup::new().with("UPSTREAM_ENCODING", rule).start().await;
        for (at, encoding) in given.iter().enumerate() {
            let input = format!("{at}");
            let request = json!({"model": "m", "input": input, "encoding_format": encoding});
            assert_eq!(gateway.embed(request).await.status, StatusCode::OK);
        }
        assert_eq!(asked(&upstream), *expected, "{rule}");
        let body = String::from_utf8(upstream.calls()[0].body.to_vec()).unwrap();
        assert_eq!(body.contains("encoding_format"), rule == "float", "{body}");
    }
    // As asked is never asked otherwise.
    let (upstream, gateway) = Setup::new()
        .with("UPSTREAM_ENCODING", "as-asked")
        .start()
        .await;
    refuses(&upstream, REFUSED, &["base64"]);
    let request = json!({"model": "m", "input": "a", "encoding_format": "base64"});
    assert_eq!(gateway.embed(request).await.status, REFUSED);
    assert_eq!(upstream.call_count(), 1);
}
