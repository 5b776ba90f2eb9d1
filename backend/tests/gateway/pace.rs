//! The upstream's pace: calls wait for their turn, so that no client hears of a rate that is used
//! up, and a client that cannot be served in time hears when it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_util::future::join_all;
use http::{HeaderName, Request, StatusCode};
use serde_json::{Value, json};

use crate::support::Setup;
use crate::support::clock::StoppedClock;
use crate::support::gateway::{Answer, Gateway, post};
use crate::support::upstream::{Upstream, embeddings, vectors};

const WAITS: &str = "embedding_gateway_rate_wait_seconds_count";

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(body.into()).unwrap()
}

/// Refuses the rate of the first calls, as many as these.
fn refuses(
    upstream: &Upstream,
    calls: usize,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) {
    let so_far = Arc::new(AtomicUsize::new(0));
    upstream.answers(move |call| {
        std::future::ready(match so_far.fetch_add(1, Ordering::Relaxed) < calls {
            true => answer(429, headers, body),
            false => embeddings(&call),
        })
    });
}

/// Answers well, and tells of limits.
fn tells(upstream: &Upstream, headers: &'static [(&'static str, &'static str)]) {
    upstream.answers(move |call| {
        let mut answer = embeddings(&call);
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        std::future::ready(answer)
    });
}

async fn ask(gateway: &Gateway, input: impl Into<Value>) -> Answer {
    let input: Value = input.into();
    gateway.embed(json!({"model": "m", "input": input})).await
}

fn with_key(key: &str, input: &Value) -> Request<Body> {
    let mut request = post(&json!({"model": "m", "input": input}));
    let bearer = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    request
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

#[tokio::test]
async fn a_refused_rate_is_waited_for_and_no_client_hears_of_it() {
    for header in ["retry-after-ms", "x-ms-retry-after-ms"] {
        let (upstream, gateway) = Setup::new().start().await;
        let headers: &'static [_] = Box::leak(Box::new([(header, "18")]));
        refuses(&upstream, 2, headers, "try again in 18ms");
        let answer = ask(&gateway, "a").await;
        assert_eq!(answer.vectors(), vectors("m", &["a"]));
        assert_eq!(upstream.call_count(), 3);
        assert_eq!(gateway.metric(WAITS), 2);
        let calls = "embedding_gateway_upstream_calls_total{result=\"429\"}";
        assert_eq!(gateway.metric(calls), 2);
    }
}

#[tokio::test]
async fn an_upstream_that_says_at_once_is_not_asked_without_a_pause() {
    for (header, value) in [
        ("retry-after", "0"),
        ("retry-after-ms", "0"),
        ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"),
    ] {
        let setup = Setup::new().with("RATE_WAIT", "1s");
        let (upstream, gateway) = setup.start().await;
        let headers: &'static [_] = Box::leak(Box::new([(header, value)]));
        refuses(&upstream, usize::MAX, headers, "at once");
        let clock = StoppedClock::by(Duration::from_millis(10));
        let answer = clock.passes_until(ask(&gateway, "a")).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{value}");
        assert!((2..12).contains(&upstream.call_count()), "{value}");
    }
}

#[tokio::test]
async fn a_refusal_that_lasts_too_long_is_passed_on_and_remembered_for_its_credential() {
    let (upstream, gateway) = Setup::new().start().await;
    refuses(&upstream, 1, &[("retry-after", "30")], "in half a minute");
    let first = ask(&gateway, "a").await;
    assert_eq!(first.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(&first.body[..], b"in half a minute");
    assert_eq!(retry_after(&first), 30);

    let second = ask(&gateway, "a").await;
    assert_eq!(second.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(second.error_code(), "rate_limit_exceeded");
    assert_eq!(second.json()["error"]["type"], "rate_limit_error");
    assert!((1..=30).contains(&retry_after(&second)));
    assert_eq!(upstream.call_count(), 1);

    let other = gateway.send(with_key("sk-of-another", &json!("a"))).await;
    assert_eq!(other.vectors(), vectors("m", &["a"]));
    let other_model = gateway.embed(json!({"model": "n", "input": "a"})).await;
    assert_eq!(other_model.status, StatusCode::OK);
}

#[tokio::test]
async fn what_waiting_does_not_help_is_passed_on_at_once_and_not_remembered() {
    for (headers, body) in [
        (
            &[("retry-after", "1"), ("x-should-retry", "false")][..],
            "no",
        ),
        (
            &[("retry-after", "1")][..],
            r#"{"error":{"code":"insufficient_quota"}}"#,
        ),
        (&[][..], "no"),
    ] {
        let (upstream, gateway) = Setup::new().start().await;
        refuses(&upstream, 1, headers, body);
        let answer = ask(&gateway, "a").await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.body, body);
        assert_eq!(ask(&gateway, "a").await.status, StatusCode::OK);
        assert_eq!(upstream.call_count(), 2);
    }
}

#[tokio::test]
async fn without_time_to_wait_the_upstream_has_the_word() {
    let (upstream, gateway) = Setup::new().with("RATE_WAIT", "0s").start().await;
    refuses(&upstream, 1, &[("retry-after-ms", "18")], "soon");
    assert_eq!(&ask(&gateway, "a").await.body[..], b"soon");
    assert_eq!(ask(&gateway, "a").await.status, StatusCode::OK);
    assert_eq!(upstream.call_count(), 2);
}

#[tokio::test]
async fn the_operators_limits_hold() {
    for (variable, limit, inputs, seconds) in [
        ("UPSTREAM_REQUESTS_PER_MINUTE", "1", ["a", "b"], 60),
        ("UPSTREAM_TOKENS_PER_MINUTE", "8", ["12345678", "1234"], 30),
    ] {
        for wait in ["0s", "5s"] {
            let setup = Setup::new().with(variable, limit).with("RATE_WAIT", wait);
            let (upstream, gateway) = setup.start().await;
            assert_eq!(ask(&gateway, inputs[0]).await.status, StatusCode::OK);
            let refused = ask(&gateway, inputs[1]).await;
            assert_eq!(refused.error_code(), "rate_limit_exceeded");
            let after = retry_after(&refused);
            assert!(
                (seconds / 2..=seconds).contains(&after),
                "{variable}: {after}"
            );
            // Hits take no turn.
            assert_eq!(ask(&gateway, inputs[0]).await.status, StatusCode::OK);
            assert_eq!(upstream.call_count(), 1);
        }
    }
}

#[tokio::test]
async fn limits_that_answers_tell_hold() {
    let (upstream, gateway) = Setup::new().start().await;
    tells(
        &upstream,
        &[
            ("x-ratelimit-limit-tokens", "1000"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "2m0s"),
        ],
    );
    let clock = StoppedClock::by(Duration::from_millis(10));
    assert_eq!(ask(&gateway, "a").await.status, StatusCode::OK);
    let refused = ask(&gateway, "x".repeat(500)).await;
    assert_eq!(refused.error_code(), "rate_limit_exceeded");
    assert!((15..=61).contains(&retry_after(&refused)));
    assert_eq!(upstream.call_count(), 1);
    // What fits waits for a moment.
    let waits = clock.passes_until(ask(&gateway, "b"));
    assert_eq!(waits.await.status, StatusCode::OK);
    assert_eq!(gateway.metric(WAITS), 1);
}

/// Some upstreams tell only what is left, in units of their own.
#[tokio::test]
async fn limits_that_are_told_in_part_hold_nothing_up() {
    let (upstream, gateway) = Setup::new().start().await;
    tells(
        &upstream,
        &[
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-limit-tokens", "1"),
        ],
    );
    for input in ["a", "b"] {
        assert_eq!(ask(&gateway, input).await.status, StatusCode::OK);
    }
    assert_eq!(gateway.metric(WAITS), 0);
}

#[tokio::test]
async fn a_single_input_does_not_wait_for_another_callers_bulk() {
    let gateways_key = [
        ("OPENAI_API_KEY", "sk-own-key"),
        ("ALLOW_ANONYMOUS", "true"),
    ];
    let (upstream, gateway) = Setup::new().with_all(&gateways_key).start().await;
    // One call in 100 ms.
    tells(
        &upstream,
        &[
            ("x-ratelimit-limit-requests", "1000"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "100s"),
        ],
    );
    let clock = StoppedClock::by(Duration::from_millis(10));
    ask(&gateway, "first").await;
    let bulk = (0..6).map(|n| json!([format!("a{n}"), format!("b{n}")]));
    let requests = bulk.map(|input| with_key("sk-of-bulk", &input));
    let single = with_key("sk-of-single", &json!("single"));
    let asked = requests.chain([single]);
    let answers = join_all(asked.map(|request| gateway.send(request)));
    for answer in clock.passes_until(answers).await {
        assert_eq!(answer.status, StatusCode::OK);
    }
    let calls = upstream.calls();
    assert_eq!(calls.len(), 1 + 6 + 1);
    let place = calls
        .iter()
        .position(|call| call.inputs() == [json!("single")]);
    assert!(place.unwrap() <= 4, "{place:?}");
}
