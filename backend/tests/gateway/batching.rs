//! `BATCH_WINDOW`: misses of several requests in one call. Each request has its own vectors, its
//! own price and its own errors, as if it had called alone.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_util::future::{join, join_all};
use http::{HeaderValue, Request, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::Setup;
use crate::support::clock::StoppedClock;
use crate::support::gateway::{Answer, BILLED, Gateway, post, with};
use crate::support::upstream::{
    Call, Upstream, embeddings, embeddings_body, json_answer, vector, vectors,
};
use crate::support::waiting::until;

const WINDOW: &str = "100ms";

const MISS: &str = "embedding-gateway; fwd=miss; stored";
const SHARED: &str = "embedding_gateway_shared_calls_total{result=\"shared\"}";
const APART: &str = "embedding_gateway_shared_calls_total{result=\"apart\"}";
const REQUESTS: &str = "embedding_gateway_shared_call_requests_total";

/// Callers with keys of their own share the gateway's key, and their vectors.
fn callers(window: &str) -> Setup {
    Setup::new().with("BATCH_WINDOW", window).with_all(&[
        ("OPENAI_API_KEY", "sk-own-key"),
        ("ALLOW_ANONYMOUS", "true"),
    ])
}

fn of_caller(caller: usize, body: &Value) -> Request<Body> {
    let mut request = post(body);
    let bearer = format!("Bearer sk-of-caller-{caller}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    request
}

/// One input of each of so many callers, at once.
async fn crowd(gateway: &Gateway, inputs: &[&str]) -> Vec<Answer> {
    let requests = inputs.iter().enumerate().map(|(caller, input)| {
        gateway.send(of_caller(caller, &json!({"model": "m", "input": input})))
    });
    at_once(join_all(requests)).await
}

/// What a test sends at once is there before a window closes, also on a busy machine.
async fn at_once<T>(requests: impl Future<Output = T>) -> T {
    let clock = StoppedClock::by(Duration::from_millis(1));
    clock.passes_until(requests).await
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("text {n:02}")).collect()
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Answers, and numbers each answer in its request id.
fn numbers(upstream: &Upstream, answer: impl Fn(&Call) -> Response + Send + Sync + 'static) {
    let so_far = AtomicUsize::new(0);
    upstream.answers(move |call| {
        let id = format!("req-{}", so_far.fetch_add(1, Ordering::Relaxed));
        let mut answer = answer(&call);
        let id = HeaderValue::try_from(id).unwrap();
        answer.headers_mut().insert("x-request-id", id);
        std::future::ready(answer)
    });
}

/// Refuses each call that holds "bad", in words that quote all that it holds.
fn refuses_bad(status: StatusCode) -> impl Fn(&Call) -> Response {
    move |call| match call.inputs().contains(&json!("bad")) {
        true => json_answer(status, &json!({"error": {"message": call.inputs()}})),
        false => embeddings(call),
    }
}

#[tokio::test]
async fn a_crowd_shares_calls_and_each_caller_has_its_own() {
    let (upstream, gateway) = callers("5ms").start().await;
    let texts = names(64);
    let answers = crowd(&gateway, &strs(&texts)).await;
    for (text, answer) in texts.iter().zip(&answers) {
        assert_eq!(answer.vectors(), vectors("m", &[text]));
        let tokens = text.len().to_string();
        assert_eq!(answer.header("x-embedding-billed-tokens"), tokens);
        assert_eq!(answer.json()["usage"]["prompt_tokens"], text.len());
        assert_eq!(answer.header("cache-status"), MISS);
        // Another caller's call is none of its business.
        for header in ["x-request-id", "x-ratelimit-remaining-requests"] {
            assert_eq!(answer.header(header), "");
        }
    }
    let calls = upstream.call_count();
    assert!(calls <= 64 / 8, "{calls} calls");
    let charged: usize = texts.iter().map(String::len).sum();
    assert_eq!(gateway.metric(BILLED), charged as u64);
    assert_eq!(gateway.metric(APART), 0);
    let asked: HashSet<String> = upstream.inputs().iter().map(Value::to_string).collect();
    assert_eq!(asked.len(), texts.len());
    // What a call brought is kept for all.
    for answer in crowd(&gateway, &strs(&texts)).await {
        assert_eq!(answer.header("cache-status"), "embedding-gateway; hit");
    }
}

#[tokio::test]
async fn the_calls_and_their_requests_are_counted() {
    let (upstream, gateway) = callers(WINDOW).start().await;
    crowd(&gateway, &["a", "b", "c"]).await;
    assert_eq!(upstream.call_count(), 1);
    assert_eq!(gateway.metric(SHARED), 1);
    assert_eq!(gateway.metric(REQUESTS), 3);
    let calls = "embedding_gateway_upstream_calls_total{result=\"200\"}";
    assert_eq!(gateway.metric(calls), 1);
}

#[tokio::test]
async fn a_caller_alone_calls_as_it_would_without_a_window() {
    let body = json!({"model": "m", "input": ["a", "b"], "dimensions": 4, "user": "u"});
    let mut seen = Vec::new();
    for window in ["0", "0s", "20ms"] {
        let (upstream, gateway) = callers(window).start().await;
        let answer = gateway.send(of_caller(1, &body)).await;
        assert_eq!(gateway.metric(REQUESTS), 0);
        let call = upstream.calls().remove(0);
        let header = |name| answer.header(name).to_owned();
        let headers = ["x-request-id", "cache-status", "x-embedding-billed-tokens"];
        seen.push((call.body, answer.body.clone(), headers.map(header)));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

#[tokio::test]
async fn the_requests_of_one_caller_get_the_headers_of_their_call() {
    let (upstream, gateway) = Setup::new().with("BATCH_WINDOW", WINDOW).start().await;
    let requests = ["a", "b"].map(|input| gateway.embed(json!({"model": "m", "input": input})));
    for answer in at_once(join_all(requests)).await {
        assert_eq!(answer.header("x-request-id"), "req_1");
    }
    assert_eq!(upstream.call_count(), 1);
}

#[tokio::test]
async fn a_bad_input_spoils_no_other_request_and_tells_it_nothing() {
    for status in [400, 403, 404, 413, 422, 429, 500, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        let (upstream, gateway) = callers(WINDOW).start().await;
        numbers(&upstream, refuses_bad(status));
        let inputs = ["a", "b", "bad", "c"];
        let answers = crowd(&gateway, &inputs).await;
        for (input, answer) in inputs.iter().zip(answers) {
            if *input == "bad" {
                let of_key = status == StatusCode::FORBIDDEN;
                let shown = if of_key {
                    StatusCode::BAD_GATEWAY
                } else {
                    status
                };
                assert_eq!(answer.status, shown);
                if !of_key {
                    assert_eq!(answer.json()["error"]["message"], json!(["bad"]));
                }
                continue;
            }
            assert_eq!(answer.vectors(), vectors("m", &[input]), "{status}");
            let id = answer.header("x-request-id").strip_prefix("req-");
            let own = &upstream.calls()[id.unwrap().parse::<usize>().unwrap()];
            assert_eq!(own.inputs(), [json!(input)], "{status}");
        }
        assert_eq!(gateway.metric(APART), 1, "{status}");
        assert_eq!(upstream.calls()[0].inputs().len(), inputs.len());
    }
}

#[tokio::test]
async fn a_shared_call_that_may_have_been_charged_is_said_to_each_of_its_callers() {
    for (status, says) in [(503, true), (200, true), (400, false), (429, false)] {
        // The call is full with two inputs, and goes.
        let setup = callers("1s").with("UPSTREAM_MAX_INPUTS", "2");
        let (upstream, gateway) = setup.start().await;
        let status = StatusCode::from_u16(status).unwrap();
        upstream.answers(move |call| {
            std::future::ready(match call.inputs().len() {
                1 => embeddings(&call),
                _ => json_answer(status, &json!({})),
            })
        });
        let expected = match says {
            true => format!("{MISS}; detail=\"repeated=1\""),
            false => MISS.to_owned(),
        };
        // A busy machine may bring the second request too late.
        for round in 0.. {
            let inputs = [format!("a {round}"), format!("b {round}")];
            let answers = crowd(&gateway, &strs(&inputs)).await;
            if gateway.metric(APART) == 0 {
                continue;
            }
            for (input, answer) in inputs.iter().zip(answers) {
                assert_eq!(answer.vectors(), vectors("m", &[input]), "{status}");
                assert_eq!(answer.header("cache-status"), expected, "{status}");
            }
            break;
        }
    }
}

#[tokio::test]
async fn a_place_in_a_refusal_is_the_callers_own() {
    let (upstream, gateway) = callers(WINDOW).start().await;
    upstream.answers(|call| {
        let too_long = "This model's maximum context length is 8192 tokens";
        std::future::ready(match call.inputs().contains(&json!("bad")) {
            true => json_answer(
                StatusCode::BAD_REQUEST,
                &json!({"error": {"message": too_long}}),
            ),
            false => embeddings(&call),
        })
    });
    let ask = |caller, input: Value| {
        gateway.send(of_caller(caller, &json!({"model": "m", "input": input})))
    };
    let asked = join(ask(1, json!(["a", "b"])), ask(2, json!(["c", "bad"])));
    let (good, bad) = at_once(asked).await;
    assert_eq!(good.vectors(), vectors("m", &["a", "b"]));
    assert_eq!(bad.error_code(), "input_too_long");
    let message = bad.json()["error"]["message"].to_string();
    assert!(message.starts_with("\"Input 1 is too long"), "{message}");
    // A single input that is too long teaches no limit of calls.
    let asked = join(ask(1, json!(["d", "e"])), ask(2, json!(["f", "g"])));
    let (one, other) = at_once(asked).await;
    assert!(one.status == StatusCode::OK && other.status == StatusCode::OK);
    assert_eq!(upstream.calls().last().unwrap().inputs().len(), 4);
}

/// The answer to a call, with the vector of "bad" all zero.
fn with_a_worthless_vector(call: &Call) -> Response {
    let mut body = embeddings_body(call);
    let place = call
        .inputs()
        .iter()
        .position(|input| *input == json!("bad"));
    if let Some(place) = place {
        body["data"][place]["embedding"] = json!([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
    json_answer(StatusCode::OK, &body)
}

#[tokio::test]
async fn a_worthless_vector_is_its_callers_alone_and_nothing_is_paid_for_twice() {
    let (upstream, gateway) = callers(WINDOW).start().await;
    upstream.answers(|call| std::future::ready(with_a_worthless_vector(&call)));
    let inputs = ["a", "b", "bad"];
    let answers = crowd(&gateway, &inputs).await;
    assert_eq!(upstream.call_count(), 1);
    for (input, answer) in inputs.iter().zip(answers) {
        if *input == "bad" {
            assert_eq!(answer.error_code(), "upstream_unusable");
            let message = answer.json()["error"]["message"].to_string();
            assert!(message.contains("index 0"), "{message}");
        } else {
            assert_eq!(answer.vectors(), vectors("m", &[input]));
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_unusable_as_a_whole_is_asked_for_apart() {
    let (upstream, gateway) = callers(WINDOW).start().await;
    upstream.answers(|call| {
        let mut body = embeddings_body(&call);
        if call.inputs().len() > 1 {
            body["data"].as_array_mut().unwrap().pop();
        }
        std::future::ready(json_answer(StatusCode::OK, &body))
    });
    for (input, answer) in ["a", "b"].iter().zip(crowd(&gateway, &["a", "b"]).await) {
        assert_eq!(answer.vectors(), vectors("m", &[input]));
    }
    assert_eq!(upstream.call_count(), 3);
    assert_eq!(gateway.metric(APART), 1);
}

#[tokio::test]
async fn an_upstream_that_hangs_is_not_asked_again_by_each() {
    let (upstream, gateway) = callers(WINDOW).with("UPSTREAM_TIMEOUT", "1s").start().await;
    upstream.answers(|_| std::future::pending());
    for answer in crowd(&gateway, &["a", "b", "c"]).await {
        assert_eq!(answer.error_code(), "upstream_timeout");
    }
    // The call goes on for four times as long, and ends for all.
    let ended = until(|| gateway.metric(SHARED) == 1);
    StoppedClock::stop().passes_until(ended).await;
    assert_eq!(upstream.call_count(), 1);
}

/// Bodies that differ in one thing, with the model that names their kind's vectors.
fn kinds() -> Vec<Request<Body>> {
    let body = |more: Value| {
        let mut body = json!({"model": "m"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let mut bodies = vec![
        json!({}),
        json!({"model": "n"}),
        json!({"dimensions": 4}),
        json!({"user": "u"}),
        json!({"user": "v"}),
        json!({"encoding_format": "float"}),
        json!({"encoding_format": "base64"}),
        json!({"input_type": "query"}),
        json!({"input_type": "document"}),
    ];
    let count = bodies.len();
    bodies.extend([json!({}), json!({}), json!({}), json!({})]);
    let request = |(kind, more): (usize, Value)| {
        let mut body = body(more);
        body["input"] = json!(format!("of kind {kind}"));
        let request = post(&body);
        match kind - count.min(kind) {
            1 => with(request, "openai-project", "another"),
            2 => {
                let mut request = request;
                *request.uri_mut() = "/v1/embeddings?api-version=2".parse().unwrap();
                request
            }
            3 => {
                body["input"] = json!([format!("of kind {kind}"), format!("of kind {kind}, too")]);
                post(&body)
            }
            _ => request,
        }
    };
    bodies.into_iter().enumerate().map(request).collect()
}

#[tokio::test]
async fn what_differs_in_anything_shares_no_call() {
    let setup = Setup::new().with("BATCH_WINDOW", WINDOW);
    let (upstream, gateway) = setup.with("UPSTREAM_ENCODING", "as-asked").start().await;
    let requests = kinds().into_iter().map(|request| gateway.send(request));
    for answer in at_once(join_all(requests)).await {
        assert_eq!(answer.status, StatusCode::OK);
    }
    // The tenth is of the first's kind.
    let shared: Vec<_> = upstream.calls().iter().map(Call::inputs).collect();
    let of_two: Vec<_> = shared.iter().filter(|inputs| inputs.len() > 1).collect();
    assert_eq!(shared.len(), kinds().len() - 1, "{shared:?}");
    assert_eq!(of_two.len(), 2, "{of_two:?}");
    assert!(of_two.contains(&&vec![json!("of kind 0"), json!("of kind 9")]));
}

#[tokio::test]
async fn clients_with_caches_of_their_own_share_no_call() {
    let (upstream, gateway) = callers(WINDOW).with("CACHE_SCOPE", "caller").start().await;
    crowd(&gateway, &["a", "b", "c"]).await;
    assert_eq!(upstream.call_count(), 3);
}

#[tokio::test]
async fn no_call_is_larger_than_the_limits() {
    for (variable, limit, inputs, expected) in [
        ("UPSTREAM_MAX_INPUTS", "4", 10, vec![2, 4, 4]),
        ("UPSTREAM_MAX_BYTES", "20", 4, vec![2, 2]),
        ("UPSTREAM_MAX_INPUTS", "1", 3, vec![1, 1, 1]),
    ] {
        let (upstream, gateway) = callers(WINDOW).with(variable, limit).start().await;
        let texts = names(inputs);
        for (text, answer) in texts.iter().zip(crowd(&gateway, &strs(&texts)).await) {
            assert_eq!(answer.vectors(), vectors("m", &[text]));
        }
        let calls = upstream.calls();
        let mut held: Vec<usize> = calls.iter().map(|call| call.inputs().len()).collect();
        held.sort_unstable();
        assert_eq!(held, expected, "{variable}");
    }
}

#[tokio::test]
async fn a_limit_that_a_shared_call_meets_is_learnt() {
    let (upstream, gateway) = callers(WINDOW).start().await;
    upstream.answers(|call| {
        let words = "batch size 8 > maximum allowed batch size 4";
        std::future::ready(match call.inputs().len() > 4 {
            true => json_answer(StatusCode::UNPROCESSABLE_ENTITY, &json!({"error": words})),
            false => embeddings(&call),
        })
    });
    let texts = names(16);
    let texts = strs(&texts);
    for answer in crowd(&gateway, &texts[..8]).await {
        assert_eq!(answer.status, StatusCode::OK);
    }
    let before = upstream.call_count();
    for answer in crowd(&gateway, &texts[8..]).await {
        assert_eq!(answer.status, StatusCode::OK);
    }
    let later: Vec<usize> = upstream.calls()[before..]
        .iter()
        .map(|call| call.inputs().len())
        .collect();
    assert_eq!(later, [4, 4]);
}

#[tokio::test]
async fn a_request_that_hangs_up_cancels_no_other() {
    let upstream = Upstream::start().await;
    let gateway = Arc::new(callers(WINDOW).before(&upstream).await);
    let mut leader = JoinSet::new();
    let leading = Arc::clone(&gateway);
    leader.spawn(async move { crowd(&leading, &["a"]).await });
    // Its call is open to others, and it is gone.
    tokio::task::yield_now().await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    leader.shutdown().await;
    let answers = crowd(&gateway, &["b", "c"]).await;
    assert_eq!(answers[0].vectors(), vectors("m", &["b"]));
    assert_eq!(answers[1].vectors(), vectors("m", &["c"]));
    let kept = crowd(&gateway, &["a"]).await;
    assert_eq!(kept[0].header("cache-status"), "embedding-gateway; hit");
    assert_eq!(upstream.inputs().len(), 3);
}

#[tokio::test]
async fn a_waiter_has_the_vector_that_a_shared_call_brings() {
    let (upstream, gateway) = callers(WINDOW).start().await;
    let answers = crowd(&gateway, &["a", "b", "a", "b", "a"]).await;
    let statuses: Vec<_> = answers
        .iter()
        .map(|answer| answer.header("cache-status"))
        .collect();
    let collapsed = "embedding-gateway; fwd=miss; stored; collapsed";
    assert_eq!(statuses, [MISS, MISS, collapsed, collapsed, collapsed]);
    assert_eq!(upstream.inputs(), [json!("a"), json!("b")]);
    assert_eq!(upstream.call_count(), 1);
}

/// Numbers without end that are the same in each run.
fn numbers_from(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    }
}

/// Some of the upstream's answers come late, out of order, or not at all.
async fn whimsical(call: Call, whim: u64) -> Response {
    tokio::time::sleep(Duration::from_millis(whim % 4)).await;
    if whim.is_multiple_of(7) && call.inputs().len() > 1 {
        return json_answer(StatusCode::BAD_REQUEST, &json!({"error": {}}));
    }
    let mut body = embeddings_body(&call);
    body["data"].as_array_mut().unwrap().reverse();
    json_answer(StatusCode::OK, &body)
}

#[tokio::test]
async fn each_request_has_its_own_vectors_whatever_comes_between() {
    for seed in 0..3 {
        let upstream = Upstream::start().await;
        let calls = AtomicUsize::new(0);
        upstream.answers(move |call| {
            let mut numbers = numbers_from(calls.fetch_add(1, Ordering::Relaxed) as u64);
            whimsical(call, numbers(1000))
        });
        let setup = callers("2ms").with("UPSTREAM_MAX_INPUTS", "20");
        let gateway = Arc::new(setup.before(&upstream).await);
        let mut random = numbers_from(seed);
        let mut running = JoinSet::new();
        for caller in 0..150 {
            let model = ["m", "n"][random(2) as usize];
            let dimensions = [8, 4][random(2) as usize];
            let (count, from) = (1 + random(5), random(400));
            let texts: Vec<String> = (from..from + count).map(|n| format!("text {n}")).collect();
            let gateway = Arc::clone(&gateway);
            let pause = Duration::from_millis(random(10));
            running.spawn(async move {
                tokio::time::sleep(pause).await;
                let body = json!({"model": model, "input": texts, "dimensions": dimensions});
                let answer = gateway.send(of_caller(caller, &body)).await;
                // What is asked again as the client asked comes as the upstream answers it.
                if answer.header("cache-status").contains("fwd=bypass") {
                    return 1;
                }
                // A call of one request may be refused as well, and its own alone.
                if answer.status == StatusCode::BAD_REQUEST && count > 1 {
                    return 1;
                }
                let own = texts
                    .iter()
                    .map(|text| vector(model, &json!(text), dimensions));
                // What is asked again as the client asked it comes as the upstream answers it.
                assert_eq!(answer.vectors_by_index(), own.collect::<Vec<_>>());
                0
            });
        }
        let refused: usize = running.join_all().await.into_iter().sum();
        assert!(refused < 75, "{refused}");
        assert!(gateway.metric(REQUESTS) > 0);
    }
}
