//! A backend or a Varnish that fails, hangs or lies.

use std::net::{Ipv4Addr, SocketAddr};

use http::StatusCode;
use tokio::time::Instant;

use crate::broadcaster::{Answer, Service};
use crate::clock::StoppedClock;
use crate::peer::{Manner, Peer, peers};
use crate::zone::Zone;

const SHORT: (&str, &str) = ("ENDPOINT_TIMEOUT", "10s");

/// The report of a purge if the only Varnish behaves like this.
async fn with_varnish(manner: Manner) -> (Answer, usize) {
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let varnish = Peer::start(any, manner).await;
    let (zone, backend) = (Zone::with(&["127.0.0.1"]).await, Peer::good().await);
    let service = Service::start(&zone, &backend, varnish.address.port());
    let answer = service.purge("/", &[]).await;
    (answer, varnish.received().len())
}

#[tokio::test]
async fn one_dead_and_one_hanging_cost_their_time_out_and_no_more() {
    let manners = [
        ("127.0.0.1", Manner::purged("a")),
        ("127.0.0.2", Manner::Hangs),
    ];
    let varnishes = peers(&manners).await;
    let zone = Zone::with(&["127.0.0.1", "127.0.0.2", "127.0.0.3"]).await;
    let backend = Peer::good().await;
    let port = varnishes[0].address.port();
    let service = Service::start_with(&zone, &backend, port, &[SHORT]);

    let (clock, began) = (StoppedClock::stop(), Instant::now());
    let answer = clock.passes_until(service.purge("/", &[])).await;
    assert!((10..12).contains(&began.elapsed().as_secs()));
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    assert_eq!(answer.counts(), [3, 1, 2]);
    let pods = [("a", Some(200)), ("127.0.0.2", None), ("127.0.0.3", None)];
    assert_eq!(answer.pods(), pods);
    let results = &answer.body["results"];
    assert_eq!(results[1]["error"], "timed out");
    assert_eq!(results[2]["error"], "connection failed");
    assert_eq!(
        varnishes[1].received().len(),
        1,
        "what hangs is not asked twice"
    );
    let counted = "endpoint_broadcaster_fanouts_total{outcome=\"some\"}";
    assert_eq!(service.metric(counted).await, "1");
    let observed = "endpoint_broadcaster_endpoint_duration_seconds_count";
    assert_eq!(service.metric(observed).await, "3");
}

#[tokio::test]
async fn none_is_502() {
    let (answer, _) = with_varnish(Manner::answers("503 Service Unavailable", "{}")).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.counts(), [1, 0, 1]);
    assert!(answer.body.get("error").is_none());
}

#[tokio::test]
async fn an_answer_that_is_no_200_does_not_count_and_only_a_503_is_asked_once_more() {
    for (status, number, attempts) in [
        ("403 Forbidden", 403, 1),
        ("500 Broken", 500, 1),
        ("503 Out", 503, 2),
        ("204 None", 204, 1),
    ] {
        let (answer, asked) = with_varnish(Manner::answers(status, "")).await;
        assert_eq!(answer.counts(), [1, 0, 1], "{status}");
        assert_eq!(answer.pods(), [("127.0.0.1", Some(number))]);
        let error = answer.body["results"][0]["error"].as_str().unwrap();
        assert!(error.contains(&number.to_string()), "{error}");
        assert_eq!(asked, attempts, "{status}");
    }
}

#[tokio::test]
async fn what_a_sidecar_cannot_deliver_at_first_is_purged_all_the_same() {
    let manner = Manner::After503(Box::new(Manner::purged("recovered")));
    let (answer, asked) = with_varnish(manner).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.pods(), [("recovered", Some(200))]);
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn a_503_is_told_if_the_second_attempt_hangs() {
    let clock = StoppedClock::stop();
    let hangs = Manner::After503(Box::new(Manner::Hangs));
    let (answer, asked) = clock.passes_until(with_varnish(hangs)).await;
    assert_eq!(answer.pods(), [("127.0.0.1", Some(503))]);
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn a_whole_200_counts_under_its_address_if_it_gives_no_name() {
    let deep = "[".repeat(60_000);
    let long = format!(r#"{{"pod":"{}"}}"#, "x".repeat(60_000));
    for body in ["", "purged", "\u{0}\u{ff}", &deep, r#"{"pod":7}"#, &long] {
        let (answer, _) = with_varnish(Manner::answers("200 OK", body)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.pods(), [("127.0.0.1", Some(200))]);
    }
}

#[tokio::test]
async fn an_answer_without_end_or_measure_does_not_count() {
    let huge = format!(r#"{{"pod":"a","x":"{}"}}"#, "x".repeat(1 << 20));
    for manner in [Manner::NeverEnds, Manner::answers("200 OK", &huge)] {
        let (answer, _) = with_varnish(manner).await;
        assert_eq!(answer.counts(), [1, 0, 1]);
        assert_eq!(answer.pods(), [("127.0.0.1", Some(200))]);
        assert_eq!(
            answer.body["results"][0]["error"],
            "answer larger than 65536 bytes"
        );
    }
}

#[tokio::test]
async fn what_is_no_http_does_not_count() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}";
    let long_head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    for (bytes, status) in [
        ("", None),
        ("SSH-2.0-OpenSSH\r\n", None),
        ("HTTP/1.1 200 OK\r\n", None),
        (&long_head, None),
        (cut, Some(200)),
    ] {
        let (answer, asked) = with_varnish(Manner::Says(bytes.into())).await;
        assert_eq!(answer.pods(), [("127.0.0.1", status)], "{bytes:.20}");
        assert_eq!(
            answer.body["results"][0]["error"], "answer broken",
            "{bytes:.20}"
        );
        assert_eq!(asked, 1, "only a failed connection is tried again");
    }
}

#[tokio::test]
async fn without_the_backend_no_varnish_is_purged() {
    let varnish = Peer::good().await;
    let zone = Zone::with(&["127.0.0.1"]).await;
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let closed = tokio::net::TcpListener::bind(any).await.unwrap();
    let nowhere = closed.local_addr().unwrap().to_string();
    drop(closed);
    let more = [("BACKEND_TIMEOUT", "10s"), ("BACKEND_SERVICE", &*nowhere)];
    let clock = StoppedClock::stop();
    for (manner, more, reason) in [
        (Manner::answers("503 Busy", "{}"), &more[..1], "503"),
        (Manner::answers("401 Who", "{}"), &more[..1], "401"),
        (Manner::Hangs, &more[..1], "timed out"),
        (Manner::Hangs, &more[..], "connection failed"),
    ] {
        let backend = Peer::start(any, manner).await;
        let service = Service::start_with(&zone, &backend, varnish.address.port(), more);
        let answer = clock.passes_until(service.purge("/", &[])).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        assert_eq!(answer.code(), "backend_failed");
        assert_eq!(answer.counts(), [0, 0, 0]);
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{message}");
        let counted = "endpoint_broadcaster_fanouts_total{outcome=\"backend_failed\"}";
        assert_eq!(service.metric(counted).await, "1");
    }
    assert!(varnish.received().is_empty());
}
