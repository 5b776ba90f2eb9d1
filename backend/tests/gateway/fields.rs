//! What of a request is understood well enough to be cached, and what is passed on as it is.

use http::StatusCode;
use serde_json::json;

use crate::support::Setup;
use crate::support::gateway::{post, post_raw};
use crate::support::upstream::{json_answer, vectors};

const BYPASS: &str = "embedding-gateway; fwd=bypass";

#[tokio::test]
async fn a_field_that_may_change_the_format_is_asked_for_as_the_client_asked() {
    let (upstream, gateway) = Setup::new().start().await;
    let integers = json!({"data": [{"index": 0, "embedding": [12, -5, 127]}], "model": "m"});
    upstream.answers(move |_| {
        let answer = json_answer(StatusCode::OK, &integers);
        std::future::ready(answer)
    });
    for field in [
        r#""output_dtype":"int8""#,
        r#""embed_dtype":"float16","encoding_format":"base64""#,
        r#""late_chunking":true"#,
        r#""task":["query","passage"]"#,
        r#""stranger":null"#,
    ] {
        let body = format!(r#"{{ "model":"m", "input":["a"],{field}}}"#);
        for _ in 0..2 {
            let before = upstream.call_count();
            let answer = gateway.send(post_raw(body.clone())).await;
            assert_eq!(answer.header("cache-status"), BYPASS, "{field}");
            assert_eq!(answer.json()["data"][0]["embedding"], json!([12, -5, 127]));
            assert_eq!(upstream.call_count(), before + 1);
            assert_eq!(upstream.calls().last().unwrap().body, body);
        }
    }
    let reason = |reason: &str| {
        gateway.metric(&format!(
            "embedding_gateway_bypassed_requests_total{{reason=\"{reason}\"}}"
        ))
    };
    assert_eq!(reason("field"), 10);
    gateway.send(post_raw("{}")).await;
    assert_eq!(reason("shape"), 1);
}

#[tokio::test]
async fn a_field_that_acts_on_each_input_names_another_vector_and_labels_do_not() {
    let (upstream, gateway) = Setup::new()
        .with("CACHEABLE_FIELDS", "flavour, shade")
        .start()
        .await;
    let mut asked = 0;
    for fields in [
        json!({}),
        json!({"input_type": "query"}),
        json!({"input_type": "document"}),
        json!({"flavour": {"a": [1]}}),
    ] {
        for label in [json!(null), json!("one"), json!("two")] {
            let mut body = json!({"model": "m", "input": "a", "user": label});
            body["safety_identifier"] = label.clone();
            body["metadata"] = json!({"label": label});
            for (name, value) in fields.as_object().unwrap() {
                body[name] = value.clone();
            }
            gateway.embed(body).await;
        }
        asked += 1;
        assert_eq!(upstream.call_count(), asked, "{fields}");
    }
}

#[tokio::test]
async fn a_query_goes_upstream_and_is_part_of_the_key() {
    let (upstream, gateway) = Setup::new().start().await;
    let ask = async |query: &str| {
        let mut request = post(&json!({"model": "m", "input": "a"}));
        *request.uri_mut() = format!("/v1/embeddings{query}").parse().unwrap();
        gateway.send(request).await
    };
    for (query, calls) in [
        ("", 1),
        ("?", 1),
        ("?api-version=1", 2),
        ("?api-version=1", 2),
        ("?api-version=2", 3),
    ] {
        let answer = ask(query).await;
        assert_eq!(answer.vectors(), vectors("m", &["a"]), "{query}");
        assert_eq!(upstream.call_count(), calls, "{query}");
    }
    assert_eq!(upstream.calls()[1].target, "/v1/embeddings?api-version=1");
    for query in [
        "?a=1&Api-Key=x",
        "?%6bey=x",
        "?api-version=1;token=x",
        "?sig",
    ] {
        assert_eq!(ask(query).await.header("cache-status"), BYPASS, "{query}");
    }
    assert_eq!(
        gateway.metric("embedding_gateway_bypassed_requests_total{reason=\"query\"}"),
        4
    );
}

#[tokio::test]
async fn one_worthless_vector_fails_its_request_and_the_others_are_kept() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers_json(
        StatusCode::OK,
        json!({"data": [
            {"index": 0, "embedding": [1.0, 2.0]},
            {"index": 1, "embedding": [3.0, null]},
            {"index": 2, "embedding": [5.0, 6.0]},
        ]}),
    );
    let body = || json!({"model": "m", "input": ["a", "b", "c"]});
    let answer = gateway.embed(body()).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.error_code(), "upstream_unusable");

    upstream.answers_json(
        StatusCode::OK,
        json!({"data": [{"index": 0, "embedding": [3.0, 4.0]}]}),
    );
    let answer = gateway.embed(body()).await;
    assert_eq!(upstream.calls()[1].inputs(), ["b"]);
    let items = &answer.json()["data"];
    let vector = |place: usize| items[place]["embedding"].clone();
    assert_eq!(vector(0), json!([1.0, 2.0]));
    assert_eq!(vector(1), json!([3.0, 4.0]));
    assert_eq!(vector(2), json!([5.0, 6.0]));
}

#[tokio::test]
async fn a_body_of_empty_strings_is_refused_before_it_is_taken_apart() {
    let (upstream, gateway) = Setup::new().start().await;
    let many = |element: &str| {
        let list = vec![element; 1 << 20].join(",");
        format!(r#"{{"model":"m","input":[{list}]}}"#)
    };
    for element in ["\"\"", "[1]"] {
        let answer = gateway.send(post_raw(many(element))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.error_code(), "too_many_inputs");
    }
    let answer = gateway.send(post_raw(many("1"))).await;
    assert_eq!(answer.error_code(), "input_too_large");
    assert_eq!(upstream.call_count(), 0);
}
