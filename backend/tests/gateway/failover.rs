//! Several upstreams of one model: what one does not serve, another does.

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::support::clock::StoppedClock;
use crate::support::gateway::{Answer, Gateway};
use crate::support::upstream::{Call, Upstream, embeddings, embeddings_body, json_answer, vectors};
use crate::support::waiting::until;
use crate::support::{Setup, UpstreamsFile};

const FAILOVERS: &str = "embedding_gateway_failovers_total";

/// Two upstreams of model `m`, of which `a` is asked first unless their priorities are one.
pub fn both(a: &str, b: &str, more: &str) -> UpstreamsFile {
    let one = |name, url, priority| {
        format!(
            "[upstreams.{name}]\nbase_url = '{url}'\ncredential = 'none'\npriority = {priority}\n{more}\n"
        )
    };
    UpstreamsFile::new(&(one("a", a, 1) + &one("b", b, 2) + "[models.m]\nupstreams = ['a', 'b']\n"))
}

pub fn of_one_priority(a: &str, b: &str) -> UpstreamsFile {
    let file = both(a, b, "");
    let text = std::fs::read_to_string(file.0.path()).unwrap();
    file.write(&text.replace("priority = 2", "priority = 1"));
    file
}

/// A gateway that knows that the second one gives the vectors of the first.
pub async fn start(setup: Setup, file: &UpstreamsFile) -> Gateway {
    let gateway = setup.with_file(file).await;
    let line = "upstream_vectors_differ{model=\"m\",upstream=\"b\"} 0";
    until(|| {
        let metrics = gateway.app.metrics.render(&gateway.app.gauges());
        metrics.contains(line)
    })
    .await;
    gateway
}

async fn embed(gateway: &Gateway, input: &str) -> Answer {
    gateway.embed(json!({"model": "m", "input": input})).await
}

/// The calls for inputs of the test: the gateway has questions of its own.
pub fn asked(upstream: &Upstream) -> usize {
    let inputs = upstream.inputs();
    let own = |input: &&Value| input.as_str().is_some_and(|text| text.starts_with("own "));
    inputs.iter().filter(own).count()
}

pub fn failovers(gateway: &Gateway, reason: &str) -> u64 {
    gateway.metric(&format!("{FAILOVERS}{{reason=\"{reason}\"}}"))
}

pub async fn hangs(call: Call) -> Response {
    if call
        .inputs()
        .iter()
        .any(|input| input.as_str().unwrap().starts_with("own "))
    {
        std::future::pending::<()>().await;
    }
    embeddings(&call)
}

/// Answers the gateway's own questions, and clients' with a status.
pub fn refuses(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
) -> impl Fn(Call) -> Ready<Response> {
    move |call| {
        let is_own = call
            .inputs()
            .iter()
            .any(|input| input.as_str().unwrap().starts_with("own "));
        if !is_own {
            return ready(embeddings(&call));
        }
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        ready(answer.body(Body::from("{}")).unwrap())
    }
}

/// An address where nothing listens.
pub async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

#[tokio::test]
async fn an_upstream_that_is_gone_costs_no_client_an_error_and_is_asked_no_more() {
    let b = Upstream::start().await;
    let gateway = start(Setup::new(), &both(&nowhere().await, &b.url, "")).await;
    let _ejected_for_ever = StoppedClock::stop();
    for number in 0..6 {
        let input = format!("own {number}");
        let answer = embed(&gateway, &input).await;
        assert_eq!(answer.vectors(), vectors("m", &[&input]));
        assert_eq!(
            answer.header("cache-status"),
            "embedding-gateway; fwd=miss; stored"
        );
    }
    // From then on it is ejected.
    assert_eq!(failovers(&gateway, "unreachable"), 3);
    assert_eq!(
        gateway.metric("embedding_gateway_upstream_ejections_total{upstream=\"a\"}"),
        1
    );
}

#[tokio::test]
async fn what_may_have_been_charged_twice_is_counted_and_said() {
    for (reason, says) in [
        ("server_error", true),
        ("timeout", true),
        ("key_refused", false),
    ] {
        let (a, b) = (Upstream::start().await, Upstream::start().await);
        match reason {
            "server_error" => a.answers(refuses(503, &[])),
            "timeout" => a.answers(hangs),
            _ => a.answers(refuses(401, &[])),
        }
        let gateway = start(Setup::new(), &both(&a.url, &b.url, "")).await;
        let clock = StoppedClock::stop();
        let answer = clock.passes_until(embed(&gateway, "own 1")).await;
        assert_eq!(answer.vectors(), vectors("m", &["own 1"]), "{reason}");
        assert_eq!((asked(&a), asked(&b)), (1, 1), "{reason}");
        assert_eq!(failovers(&gateway, reason), 1);
        let status = answer.header("cache-status");
        assert_eq!(
            status.contains("detail=\"repeated=1\""),
            says,
            "{reason}: {status}"
        );
    }
}

#[tokio::test]
async fn a_rate_that_is_used_up_here_is_not_waited_for_while_there_is_room_elsewhere() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    a.answers(refuses(429, &[("retry-after", "9")]));
    let gateway = start(Setup::new(), &both(&a.url, &b.url, "")).await;
    // None of them waits for a time.
    let _clock = StoppedClock::stop();
    for number in 0..4 {
        let answer = embed(&gateway, &format!("own {number}")).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    // It says when to ask again, and is not asked before.
    assert_eq!((asked(&a), asked(&b)), (1, 4));
    assert_eq!(
        gateway.metric("embedding_gateway_upstream_ejections_total{upstream=\"a\"}"),
        0
    );
}

#[tokio::test]
async fn a_call_waits_where_it_has_its_turn_first() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    a.answers(refuses(429, &[("retry-after", "9")]));
    let gateway = start(Setup::new(), &both(&a.url, &b.url, "")).await;
    let (refuse, is_first) = (
        refuses(429, &[("retry-after-ms", "50")]),
        AtomicBool::new(true),
    );
    b.answers(move |call| match is_first.swap(false, Ordering::Relaxed) {
        true => refuse(call),
        false => ready(embeddings(&call)),
    });
    let clock = StoppedClock::by(Duration::from_millis(10));
    let answer = clock.passes_until(embed(&gateway, "own 1")).await;
    assert_eq!(answer.vectors(), vectors("m", &["own 1"]));
    assert_eq!((asked(&a), asked(&b)), (1, 2));
}

#[tokio::test]
async fn a_refusal_of_the_request_itself_is_the_clients_and_asked_once() {
    for status in [400, 404, 422] {
        let (a, b) = (Upstream::start().await, Upstream::start().await);
        a.answers(refuses(status, &[]));
        let gateway = start(Setup::new(), &both(&a.url, &b.url, "encoding = 'as-asked'")).await;
        let answer = embed(&gateway, "own 1").await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!((asked(&a), asked(&b)), (1, 0), "{status}");
    }
}

#[tokio::test]
async fn where_all_fail_the_last_ones_error_is_the_clients() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    a.answers(refuses(500, &[]));
    b.answers(refuses(503, &[]));
    let gateway = start(Setup::new(), &both(&a.url, &b.url, "")).await;
    let answer = embed(&gateway, "own 1").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((asked(&a), asked(&b)), (1, 1));
}

#[tokio::test]
async fn an_upstream_that_is_back_is_probed_and_serves_again() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    a.answers(refuses(500, &[]));
    let gateway = start(Setup::new(), &both(&a.url, &b.url, "")).await;
    let clock = StoppedClock::by(Duration::from_millis(100));
    for number in 0..5 {
        assert_eq!(
            embed(&gateway, &format!("own {number}")).await.status,
            StatusCode::OK
        );
    }
    let of_ejected = asked(&a);
    assert!(of_ejected < 5);
    a.answers(|call| async move { embeddings(&call) });
    // The first pause is a second long.
    let mut number = 5;
    while asked(&a) == of_ejected {
        let input = format!("own {number}");
        let answer = embed(&gateway, &input);
        assert_eq!(clock.passes_until(answer).await.status, StatusCode::OK);
        clock.passes_until(sleep(Duration::from_millis(200))).await;
        number += 1;
    }
    let before = asked(&b);
    for number in 0..3 {
        assert_eq!(
            embed(&gateway, &format!("own back {number}")).await.status,
            StatusCode::OK
        );
    }
    assert_eq!(asked(&b), before);
}

#[tokio::test]
async fn load_goes_to_the_less_busy_one_of_a_priority() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    a.answers(hangs);
    let gateway = start(Setup::new(), &of_one_priority(&a.url, &b.url)).await;
    let mut calls = Vec::new();
    let mut ended = 0;
    for number in 0..20 {
        let mut call = Box::pin({
            let gateway = &gateway;
            async move { embed(gateway, &format!("own {number}")).await }
        });
        let hanging = asked(&a);
        tokio::select! {
            answer = &mut call => {
                assert_eq!(answer.status, StatusCode::OK);
                ended += 1;
            }
            () = until(|| asked(&a) > hanging) => calls.push(call),
        }
    }
    // One call hangs, and from then on the other one has less to do.
    assert!(asked(&a) <= 2 && ended >= 18, "{} {ended}", asked(&a));
}

#[tokio::test]
async fn calls_are_shared_by_weight() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let file = of_one_priority(&a.url, &b.url);
    let text = std::fs::read_to_string(file.0.path()).unwrap();
    file.write(&text.replacen("priority = 1", "priority = 1\nweight = 9", 1));
    let gateway = start(Setup::new(), &file).await;
    for number in 0..200 {
        assert_eq!(
            embed(&gateway, &format!("own {number}")).await.status,
            StatusCode::OK
        );
    }
    let (of_a, of_b) = (asked(&a), asked(&b));
    // Nine of ten; the bounds are ten standard deviations away.
    assert!(of_a > 130 && of_b > 0, "{of_a} and {of_b}");
}

#[tokio::test]
async fn answers_of_several_upstreams_never_mix_two_models() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    b.answers(|call| async move {
        let mut body = embeddings_body(&call);
        body["model"] = json!("another");
        json_answer(StatusCode::OK, &body)
    });
    let gateway = start(Setup::new(), &of_one_priority(&a.url, &b.url)).await;
    for number in 0..20 {
        let inputs: Vec<String> = (0..=number).map(|n| format!("own {n}")).collect();
        let answer = gateway.embed(json!({"model": "m", "input": inputs})).await;
        let models: BTreeMap<String, ()> = [(answer.json()["model"].to_string(), ())].into();
        assert_eq!(models.len(), 1);
        assert_eq!(answer.vectors().len(), number + 1);
    }
}

#[tokio::test]
async fn no_client_sees_an_error_while_one_of_two_dies_under_load() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let gateway = start(Setup::new(), &of_one_priority(&a.url, &b.url)).await;
    let fails = [500, 503, 429];
    for round in 0..6_usize {
        match fails.get(round / 2) {
            Some(&status) if round % 2 == 0 => a.answers(refuses(status, &[])),
            _ => a.answers(|call| async move { embeddings(&call) }),
        }
        let asked = (0..40).map(|n| {
            let (gateway, input) = (&gateway, format!("own {round} {n}"));
            async move { embed(gateway, &input).await.status }
        });
        let statuses = futures_util::future::join_all(asked).await;
        assert!(
            statuses.iter().all(|status| *status == StatusCode::OK),
            "{round}: {statuses:?}"
        );
    }
    until(|| failovers(&gateway, "server_error") > 0).await;
}

#[tokio::test]
async fn what_an_upstream_that_hangs_leaves_behind_costs_no_client_an_error() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    a.answers(hangs);
    // The other one answers all that come back at once within this time, on a busy machine, too.
    let setup = Setup::new().with("UPSTREAM_FAILOVER_AFTER", "5s");
    let gateway = start(setup, &both(&a.url, &b.url, "")).await;
    // Three times the repeats that so many calls have earned.
    let asked_at_once = (0..400).map(|n| {
        let (gateway, input) = (&gateway, format!("own {n}"));
        async move { embed(gateway, &input).await }
    });
    let answers = futures_util::future::join_all(asked_at_once).await;
    let failed = answers
        .iter()
        .filter(|answer| answer.status != StatusCode::OK);
    let codes: BTreeMap<_, _> = failed.map(|answer| (answer.error_code(), ())).collect();
    assert!(codes.is_empty(), "{codes:?}");
    assert_eq!(asked(&b), 400);
}

#[tokio::test]
async fn where_both_upstreams_fail_repeats_are_few() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    a.answers(refuses(500, &[]));
    b.answers(refuses(503, &[]));
    let gateway = start(Setup::new(), &both(&a.url, &b.url, "")).await;
    for number in 0..60 {
        let answer = embed(&gateway, &format!("own {number}")).await;
        assert!(answer.status.is_server_error());
    }
    let all = asked(&a) + asked(&b);
    assert!(all <= 60 + 20, "{all}");
}

#[tokio::test]
async fn no_call_joins_those_that_wait_for_a_silent_upstream() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    a.answers(hangs);
    let setup = Setup::new().with("UPSTREAM_FAILOVER_AFTER", "2s");
    let gateway = start(setup, &both(&a.url, &b.url, "")).await;
    let waiting = futures_util::future::join_all((0..3).map(|n| {
        let (gateway, input) = (&gateway, format!("own {n}"));
        async move { embed(gateway, &input).await.status }
    }));
    let later = async {
        until(|| asked(&a) == 3).await;
        // A quarter of the time after which they go elsewhere.
        tokio::time::sleep(Duration::from_millis(600)).await;
        embed(&gateway, "own 3").await.status
    };
    let (waited, asked_later) = tokio::join!(waiting, later);
    assert_eq!(asked_later, StatusCode::OK);
    assert!(waited.iter().all(|status| *status == StatusCode::OK));
    assert_eq!(asked(&a), 3);
}
