//! Concurrent misses: each input goes upstream once, and no request fails for another's fault.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::Setup;
use crate::support::clock::StoppedClock;
use crate::support::gateway::{Answer, BILLED, post, with};
use crate::support::upstream::{Call, Upstream, embeddings, json_answer, vectors};
use crate::support::waiting::until;

/// Holds every call back until the test releases it.
struct Gate(Arc<Semaphore>);

impl Gate {
    fn before<F>(upstream: &Upstream, answer: F) -> Self
    where
        F: Fn(&Call) -> Response + Send + Sync + 'static,
    {
        let gate = Arc::new(Semaphore::new(0));
        let answer = Arc::new(answer);
        let held = Arc::clone(&gate);
        upstream.answers(move |call| {
            let (held, answer) = (Arc::clone(&held), Arc::clone(&answer));
            async move {
                held.acquire().await.unwrap().forget();
                answer(&call)
            }
        });
        Self(gate)
    }

    fn open(&self) {
        self.0.add_permits(100_000);
    }
}

fn times_asked(upstream: &Upstream) -> HashMap<String, usize> {
    let mut times = HashMap::new();
    for input in upstream.inputs() {
        *times.entry(input.to_string()).or_default() += 1;
    }
    times
}

#[tokio::test]
async fn a_hundred_equal_requests_make_one_call() {
    let (upstream, gateway) = Setup::new().start().await;
    let gate = Gate::before(&upstream, embeddings);
    let requests = (0..100).map(|_| gateway.embed(json!({"model": "m", "input": "a"})));
    let (answers, ()) = tokio::join!(join_all(requests), async {
        until(|| upstream.call_count() == 1).await;
        gate.open();
    });
    assert!(
        answers
            .iter()
            .all(|answer| answer.vectors() == vectors("m", &["a"]))
    );
    assert_eq!(upstream.call_count(), 1);
    let collapsed = "embedding-gateway; fwd=miss; stored; collapsed";
    let followers = answers
        .iter()
        .filter(|answer| answer.header("cache-status") == collapsed);
    assert_eq!(followers.count(), 99);
    let billed = answers
        .iter()
        .filter(|a| a.header("x-embedding-billed-tokens") == "1")
        .count();
    assert_eq!(billed, 1);
}

#[tokio::test]
async fn a_hundred_overlapping_batches_ask_for_each_input_once() {
    let (upstream, gateway) = Setup::new().start().await;
    let texts: Vec<String> = (0..110).map(|n| format!("text {n}")).collect();
    let batch =
        |from: usize| -> Vec<&str> { texts[from..from + 10].iter().map(String::as_str).collect() };
    let requests = (0..100).map(|from| gateway.embed(json!({"model": "m", "input": batch(from)})));
    for (from, answer) in join_all(requests).await.iter().enumerate() {
        assert_eq!(answer.vectors(), vectors("m", &batch(from)));
    }
    let times = times_asked(&upstream);
    assert_eq!(times.len(), 109);
    assert!(times.values().all(|&times| times == 1), "{times:?}");
}

#[tokio::test]
async fn batches_that_come_while_others_land_ask_for_nothing_twice() {
    let upstream = Upstream::start().await;
    let gateway = Arc::new(Setup::new().before(&upstream).await);
    let mut running = JoinSet::new();
    for from in 0..200_usize {
        let gateway = Arc::clone(&gateway);
        running.spawn(async move {
            let texts: Vec<String> = (from..from + 8)
                .map(|n| format!("text {}", n % 50))
                .collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let answer = gateway.embed(json!({"model": "m", "input": texts})).await;
            assert_eq!(answer.vectors(), vectors("m", &texts));
        });
        tokio::task::yield_now().await;
    }
    running.join_all().await;
    assert!(times_asked(&upstream).values().all(|&times| times == 1));
}

#[tokio::test]
async fn a_leader_that_hangs_up_strands_no_waiter() {
    let upstream = Upstream::start().await;
    let gateway = Arc::new(Setup::new().before(&upstream).await);
    let gate = Gate::before(&upstream, embeddings);
    let mut leader = JoinSet::new();
    let leading = Arc::clone(&gateway);
    leader.spawn(async move {
        leading
            .embed(json!({"model": "m", "input": ["a", "b"]}))
            .await
    });
    until(|| upstream.call_count() == 1).await;
    let follower = gateway.embed(json!({"model": "m", "input": "b"}));
    let (answer, ()) = tokio::join!(follower, async {
        tokio::task::yield_now().await;
        leader.shutdown().await;
        gate.open();
    });
    assert_eq!(answer.vectors(), vectors("m", &["b"]));
    assert_eq!(upstream.call_count(), 1);
    // The tiers kept the vector although the leader's client had gone.
    let kept = gateway.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(kept.header("cache-status"), "embedding-gateway; hit");
}

/// Answers with `status` if the call holds the input "bad".
fn fails_if_bad(status: StatusCode) -> impl Fn(&Call) -> Response {
    move |call| match call.inputs().contains(&json!("bad")) {
        true => json_answer(status, &json!({"error": {"message": "bad"}})),
        false => embeddings(call),
    }
}

/// A batch with a bad input, and a concurrent request for its good input alone.
async fn neighbours(status: StatusCode) -> (Answer, Answer, usize) {
    let (upstream, gateway) = Setup::new().start().await;
    let gate = Gate::before(&upstream, fails_if_bad(status));
    let leader = gateway.embed(json!({"model": "m", "input": ["x", "bad"]}));
    let follower = async {
        until(|| upstream.call_count() == 1).await;
        gateway.embed(json!({"model": "m", "input": "x"})).await
    };
    let opening = async {
        until(|| upstream.call_count() == 1).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        gate.open();
    };
    let (leader, follower, ()) = tokio::join!(leader, follower, opening);
    (leader, follower, upstream.call_count())
}

#[tokio::test]
async fn another_requests_fault_is_not_the_waiters() {
    for status in [400, 401, 403, 404, 413, 422] {
        let status = StatusCode::from_u16(status).unwrap();
        let (leader, follower, calls) = neighbours(status).await;
        assert_eq!(leader.status, status);
        assert_eq!(follower.vectors(), vectors("m", &["x"]));
        // What may be a refusal of base64 is asked once more without; what is too large goes by
        // halves.
        let again = matches!(status.as_u16(), 400 | 413 | 422);
        assert_eq!(calls, 2 + usize::from(again), "{status}");
    }
}

#[tokio::test]
async fn a_request_that_asks_in_two_rounds_tells_what_both_of_them_cost() {
    let (upstream, gateway) = Setup::new().start().await;
    let gate = Gate::before(&upstream, fails_if_bad(StatusCode::NOT_FOUND));
    let leader = gateway.embed(json!({"model": "m", "input": ["x", "bad"]}));
    let follower = async {
        until(|| upstream.call_count() == 1).await;
        let inputs = ["x", "three"];
        gateway.embed(json!({"model": "m", "input": inputs})).await
    };
    let opening = async {
        // Its own call is under way, so it waits for the other input already.
        until(|| upstream.call_count() == 2).await;
        gate.open();
    };
    let (leader, follower, ()) = tokio::join!(leader, follower, opening);
    assert_eq!(leader.status, StatusCode::NOT_FOUND);
    assert_eq!(follower.vectors(), vectors("m", &["x", "three"]));
    let asked: Vec<_> = upstream.calls().iter().map(Call::inputs).collect();
    assert_eq!(asked[1..], [[json!("three")], [json!("x")]]);
    assert_eq!(follower.header("x-embedding-billed-tokens"), "6");
    assert_eq!(gateway.metric(BILLED), 6);
}

#[tokio::test]
async fn the_upstreams_trouble_is_shared_within_a_credential() {
    for status in [429, 500, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        let (leader, follower, calls) = neighbours(status).await;
        assert_eq!(leader.status, status);
        assert_eq!(follower.status, status);
        assert_eq!(follower.body, leader.body);
        assert_eq!(calls, 1);
    }
}

#[tokio::test]
async fn no_error_is_remembered() {
    let (upstream, gateway) = Setup::new().start().await;
    for status in [400, 429, 500] {
        upstream.answers_json(StatusCode::from_u16(status).unwrap(), json!({"error": {}}));
        assert_eq!(
            gateway
                .embed(json!({"model": "m", "input": "a"}))
                .await
                .status,
            status
        );
    }
    upstream.answers(|call| std::future::ready(embeddings(&call)));
    let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(answer.vectors(), vectors("m", &["a"]));
}

#[tokio::test]
async fn a_crowd_that_all_fails_does_not_queue() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers(|_| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        json_answer(StatusCode::BAD_REQUEST, &json!({"error": {}}))
    });
    let requests = (0..50).map(|_| gateway.embed(json!({"model": "m", "input": "a"})));
    let clock = StoppedClock::by(Duration::from_millis(20));
    let began = tokio::time::Instant::now();
    let answers = clock.passes_until(join_all(requests)).await;
    let took = began.elapsed();
    assert!(answers.iter().all(|answer| answer.status == 400));
    assert!(
        took < Duration::from_secs(8),
        "{took:?}: one after the other would be 10 s"
    );
}

#[tokio::test]
async fn in_a_shared_cache_a_waiter_is_not_told_of_another_credentials_limit() {
    let (upstream, gateway) = Setup::new().with("CACHE_SCOPE", "shared").start().await;
    let request = |key: &'static str, input: Value| {
        let mut request = post(&json!({"model": "m", "input": input}));
        request.headers_mut().remove("authorization");
        with(request, "api-key", key)
    };
    for key in ["one", "two"] {
        gateway.send(request(key, json!(key))).await;
    }
    let calls = upstream.call_count();
    let gate = Gate::before(&upstream, |call| match call.headers["api-key"].as_bytes() {
        b"one" => json_answer(StatusCode::TOO_MANY_REQUESTS, &json!({"error": {}})),
        _ => embeddings(call),
    });
    let leader = gateway.send(request("one", json!("x")));
    let follower = async {
        until(|| upstream.call_count() == calls + 1).await;
        gateway.send(request("two", json!("x"))).await
    };
    let opening = async {
        until(|| upstream.call_count() == calls + 1).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        gate.open();
    };
    let (leader, follower, ()) = tokio::join!(leader, follower, opening);
    assert_eq!(leader.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(follower.vectors(), vectors("m", &["x"]));
}

#[tokio::test]
async fn when_one_call_of_a_large_batch_fails_the_others_are_kept() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers(|call| std::future::ready(fails_if_bad(StatusCode::BAD_REQUEST)(&call)));
    let mut texts: Vec<String> = (0..4096).map(|n| format!("text {n}")).collect();
    texts[3000] = "bad".into();
    let answer = gateway.embed(json!({"model": "m", "input": texts})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let kept = gateway
        .embed(json!({"model": "m", "input": &texts[..2048]}))
        .await;
    assert_eq!(kept.header("cache-status"), "embedding-gateway; hit");
}
