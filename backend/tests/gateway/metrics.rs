//! The metrics count every request, input, token and call.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::oneshot;

use crate::support::Setup;
use crate::support::bucket::Bucket;
use crate::support::gateway::{Gateway, post, post_raw};
use crate::support::upstream::{Upstream, embeddings};

/// The series of `name` (with its labels), 0 if it is not there.
fn count(gateway: &Gateway, name: &str) -> u64 {
    gateway.metric(&format!("embedding_gateway_{name} "))
}

fn page(gateway: &Gateway) -> String {
    gateway.app.metrics.render(&gateway.app.gauges())
}

fn seconds(gateway: &Gateway, name: &str) -> f64 {
    let name = format!("embedding_gateway_{name} ");
    let page = page(gateway);
    let value = page.lines().find_map(|line| line.strip_prefix(&name));
    value.unwrap().parse().unwrap()
}

#[tokio::test]
async fn inputs_are_counted_by_what_became_of_them() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    let first = Setup::new()
        .with_all(&bucket.variables())
        .before(&upstream)
        .await;
    first.embed(json!({"model": "m", "input": "stored"})).await;
    first.app.finish().await;

    let gateway = Setup::new()
        .with_all(&bucket.variables())
        .before(&upstream)
        .await;
    gateway.warm_up().await;
    let inputs = json!(["stored", "to be accepted", "new", "new", "newer"]);
    gateway.embed(json!({"model": "m", "input": inputs})).await;
    let inputs = |outcome: &str| {
        let name = format!("inputs_total{{outcome=\"{outcome}\"}}");
        count(&gateway, &name)
    };
    let outcomes = ["memory", "store", "miss", "collapsed", "repeat"];
    assert_eq!(outcomes.map(inputs), [1, 1, 1 + 2, 0, 1]);
}

#[tokio::test]
async fn refused_inputs_are_counted_nowhere() {
    let upstream = Upstream::start().await;
    upstream.answers_json(StatusCode::BAD_REQUEST, json!({"error": {}}));
    let gateway = Setup::new().before(&upstream).await;
    gateway
        .embed(json!({"model": "no-such-model", "input": ["a", "a"]}))
        .await;
    assert_eq!(count(&gateway, "inputs_total{outcome=\"repeat\"}"), 0);
    assert!(!page(&gateway).contains("no-such-model"));
    assert_eq!(count(&gateway, "upstream_calls_total{result=\"400\"}"), 1);
    let refused = "requests_total{route=\"embeddings\",status=\"400\"}";
    assert_eq!(count(&gateway, refused), 1);
}

#[tokio::test]
async fn tokens_are_nominal_billed_or_saved() {
    let (_upstream, gateway) = Setup::new().start().await;
    for _ in 0..3 {
        gateway
            .embed(json!({"model": "m", "input": ["four", "four"]}))
            .await;
    }
    let tokens = |kind: &str| count(&gateway, &format!("{kind}_tokens_total{{model=\"m\"}}"));
    // A token a byte, and twice the same text is paid for once.
    assert_eq!(tokens("nominal"), 3 * 8);
    assert_eq!(tokens("billed"), 4);
    assert_eq!(tokens("saved"), 3 * 8 - 4);
}

#[tokio::test]
async fn models_without_end_share_one_series() {
    let (_upstream, gateway) = Setup::new().start().await;
    for n in 0..60 {
        gateway
            .embed(json!({"model": format!("m{n}"), "input": "four"}))
            .await;
    }
    let page = page(&gateway);
    let series = |line: &&str| line.starts_with("embedding_gateway_billed_tokens_total{");
    assert_eq!(page.lines().filter(series).count(), 50 + 1);
    let other = count(&gateway, "billed_tokens_total{model=\"other\"}");
    assert_eq!(other, 10 * 4);
}

#[tokio::test]
async fn added_latency_leaves_out_the_wait_for_the_upstream() {
    const WAIT: Duration = Duration::from_millis(300);
    let upstream = Upstream::start().await;
    upstream.answers(|call| async move {
        tokio::time::sleep(WAIT).await;
        embeddings(&call)
    });
    let gateway = Setup::new().before(&upstream).await;
    // Both requests that share a call wait for it.
    let body = json!({"model": "m", "input": "a"});
    tokio::join!(gateway.embed(body.clone()), gateway.embed(body));
    let total = seconds(
        &gateway,
        "request_duration_seconds_sum{route=\"embeddings\"}",
    );
    let added = seconds(&gateway, "added_latency_seconds_sum");
    assert_eq!(count(&gateway, "added_latency_seconds_count"), 2);
    let waited = total - added;
    assert!(
        waited > 1.9 * WAIT.as_secs_f64(),
        "{total} s, of which {added} s are ours"
    );
    let called = seconds(&gateway, "upstream_call_duration_seconds_sum");
    assert!(called >= WAIT.as_secs_f64(), "{called} s");
    assert_eq!(count(&gateway, "upstream_call_duration_seconds_count"), 1);
}

#[tokio::test]
async fn added_latency_leaves_out_the_wait_for_a_slow_reader() {
    const WAIT: Duration = Duration::from_millis(300);
    let (_upstream, gateway) = Setup::new().start().await;
    let inputs = vec!["a"; 1000];
    let body = json!({
        "model": "m", "dimensions": 1536, "encoding_format": "base64", "input": inputs
    });
    let mut answer = gateway.begin(post(&body)).await.into_body();
    while answer.frame().await.is_some() {
        tokio::time::sleep(WAIT / 10).await;
    }
    let total = seconds(
        &gateway,
        "request_duration_seconds_sum{route=\"embeddings\"}",
    );
    let added = seconds(&gateway, "added_latency_seconds_sum");
    let waited = total - added;
    assert!(
        waited > WAIT.as_secs_f64(),
        "{total} s, of which {added} s are ours"
    );
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let upstream = Upstream::start().await;
    upstream.answers_json(StatusCode::OK, json!({"data": []}));
    let gateway = Setup::new()
        .with("ADMIN_TOKEN", "t")
        .before(&upstream)
        .await;
    let request = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path);
        request.body(Body::empty()).unwrap()
    };
    gateway.send(post_raw("{")).await;
    gateway.send(request("GET", "/v1/models")).await;
    gateway.send(request("PURGE", "/v1/embeddings")).await;
    gateway.send(request("GET", "/elsewhere")).await;
    for probe in ["/healthz", "/readyz", "/metrics"] {
        gateway.send(request("GET", probe)).await;
    }
    let page = page(&gateway);
    let counted = page
        .lines()
        .filter_map(|line| line.strip_prefix("embedding_gateway_requests_total"))
        .filter(|line| !line.ends_with(" 0"))
        .collect::<std::collections::BTreeSet<_>>();
    let expected = [
        "{route=\"embeddings\",status=\"400\"} 1",
        "{route=\"other\",status=\"404\"} 1",
        "{route=\"passthrough\",status=\"200\"} 1",
        "{route=\"purge\",status=\"401\"} 1",
    ];
    assert_eq!(counted, expected.into());
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted() {
    let upstream = Upstream::start().await;
    let (asked, was_asked) = oneshot::channel();
    let asked = std::sync::Mutex::new(Some(asked));
    upstream.answers(move |_| {
        asked.lock().unwrap().take().map(|asked| asked.send(()));
        std::future::pending()
    });
    let gateway = Setup::new().before(&upstream).await;
    let request = post(&json!({"model": "m", "input": "a"}));
    tokio::select! {
        _ = gateway.send(request) => panic!("the upstream does not answer"),
        _ = was_asked => assert_eq!(count(&gateway, "in_flight_requests"), 1),
    }
    let gone = "requests_total{route=\"embeddings\",status=\"499\"}";
    assert_eq!(count(&gateway, gone), 1);
}

#[tokio::test]
async fn gauges_tell_how_full_everything_is() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    let mut variables = bucket.variables();
    variables.push(("MEMORY_CACHE_BYTES", "1MiB"));
    let gateway = Setup::new().with_all(&variables).before(&upstream).await;
    assert_eq!(count(&gateway, "memory_entries"), 0);
    gateway
        .embed(json!({"model": "m", "input": ["a", "b"]}))
        .await;
    assert_eq!(count(&gateway, "memory_entries"), 2);
    assert_eq!(count(&gateway, "memory_limit_bytes"), 1 << 20);
    let bytes = count(&gateway, "memory_bytes");
    assert!((64..4096).contains(&bytes), "{bytes}");
    assert_eq!(count(&gateway, "in_flight_requests"), 0);
    gateway.app.finish().await;
    assert_eq!(count(&gateway, "store_writes_pending"), 0);
    let puts = "store_operation_duration_seconds_count{operation=\"put\"}";
    assert_eq!(count(&gateway, puts), 2);
    let states = ["closed", "open", "half_open"];
    let state = |state| {
        count(
            &gateway,
            &format!("store_breaker_state{{operation=\"get\",state=\"{state}\"}}"),
        )
    };
    assert_eq!(states.map(state), [1, 0, 0]);
}

#[tokio::test]
async fn the_build_is_named() {
    let upstream = Upstream::start().await;
    let page = page(&Setup::new().before(&upstream).await);
    let build = format!(
        "embedding_gateway_build_info{{version=\"{}\",commit=\"",
        env!("CARGO_PKG_VERSION")
    );
    assert!(page.contains(&build), "{page}");
}

#[tokio::test]
async fn a_browser_gets_a_format_that_it_shows() {
    let (_upstream, gateway) = Setup::new().start().await;
    let newer = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let older = "text/plain; version=0.0.4; charset=utf-8";
    for (accept, expected) in [
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            older,
        ),
        ("text/plain", older),
        ("application/openmetrics-text,text/plain;q=0.3", newer),
        ("*/*", newer),
    ] {
        let request = Request::get("/metrics").header("accept", accept);
        let answer = gateway.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.header("content-type"), expected, "{accept}");
    }
}

#[tokio::test]
async fn what_half_precision_saves_is_told() {
    let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
    let numbers: Vec<f64> = (0..64).map(|n| f64::from(n - 31) / 64.0).collect();
    let body = json!({"data": [{"index": 0, "embedding": numbers}], "model": "m-v2"});
    upstream.answers_json(StatusCode::OK, body);
    let gateway = Setup::new()
        .with_all(&bucket.variables())
        .before(&upstream)
        .await;
    gateway.embed(json!({"model": "m", "input": "a"})).await;
    gateway.app.finish().await;
    assert_eq!(count(&gateway, "memory_saved_bytes"), 2 * 64);
    // Head, name of the model, numbers, checksum; format 2 has a scale besides.
    let (as_floats, as_halves) = (54 + 4 + 4 * 64 + 32, 54 + 4 + 9 + 2 * 64 + 32);
    let put = |name: &str| {
        count(
            &gateway,
            &format!("store_{name}_total{{operation=\"put\"}}"),
        )
    };
    assert_eq!(put("bytes"), as_halves);
    assert_eq!(put("saved_bytes"), as_floats - as_halves);
}
