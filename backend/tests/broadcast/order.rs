//! Which peers get which request, and in which order.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;
use tokio::sync::Barrier;

use crate::broadcaster::{Service, purge};
use crate::peer::{Manner, Peer, peers};
use crate::zone::{NAME, Zone};

#[tokio::test]
async fn every_varnish_is_purged_and_named() {
    let manners = [
        ("127.0.0.1", Manner::purged("varnish-0")),
        ("127.0.0.2", Manner::purged("varnish-1")),
    ];
    let varnishes = peers(&manners).await;
    let (zone, backend) = (
        Zone::with(&["127.0.0.1", "127.0.0.2"]).await,
        Peer::good().await,
    );
    let service = Service::start(&zone, &backend, varnishes[0].address.port());

    let answer = service.purge("/v1/embeddings", &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let result = |pod| json!({"pod": pod, "status": 200, "success": true, "error": null});
    let results = [result("varnish-0"), result("varnish-1")];
    let expected = json!({"total": 2, "success": 2, "failed": 0, "results": results});
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn all_are_asked_at_the_same_time() {
    let barrier = Arc::new(Barrier::new(3));
    let manner = Manner::Waits(barrier);
    let addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
    let varnishes = peers(&addresses.map(|address| (address, manner.clone()))).await;
    let (zone, backend) = (Zone::with(&addresses).await, Peer::good().await);
    let service = Service::start(&zone, &backend, varnishes[0].address.port());
    assert_eq!(service.purge("/", &[]).await.counts(), [3, 3, 0]);
}

#[tokio::test]
async fn all_hear_the_same_and_nothing_else() {
    let varnish = Peer::good().await;
    let (zone, backend) = (Zone::with(&["127.0.0.1"]).await, Peer::good().await);
    let port = varnish.address.port();
    let tokens = [
        ("ALLOW_ANONYMOUS_PURGE", "false"),
        ("ADMIN_TOKEN", "for-us"),
        ("BACKEND_ADMIN_TOKEN", "for-the-backend"),
    ];
    let service = Service::start_with(&zone, &backend, port, &tokens);
    let headers = [
        ("authorization", "Bearer for-us"),
        ("surrogate-key", "model:a, scope:b"),
        ("cookie", "a=b"),
        ("x-other", "1"),
    ];
    let answer = service
        .purge("/v1/embeddings?a='b'&c={%7b}", &headers)
        .await;
    assert_eq!(answer.status, StatusCode::OK);

    let head = "purge /v1/embeddings?a='b'&c={%7b} http/1.1\r\nsurrogate-key: model:a scope:b\r\n";
    let to_varnish = format!("{head}host: {NAME}:{port}\r\nconnection: close\r\n\r\n");
    assert_eq!(varnish.received(), [to_varnish]);
    let to_backend = format!(
        "{head}host: {}\r\nconnection: close\r\nauthorization: bearer for-the-backend\r\n\r\n",
        backend.address
    );
    assert_eq!(backend.received(), [to_backend]);
}

#[tokio::test]
async fn everything_is_said_in_the_way_that_both_understand() {
    let varnish = Peer::good().await;
    let (zone, backend) = (Zone::with(&["127.0.0.1"]).await, Peer::good().await);
    let service = Service::start(&zone, &backend, varnish.address.port());
    for all in [("x-purge-all", "TRUE"), ("surrogate-key", "all:all")] {
        assert_eq!(service.purge("/", &[all]).await.status, StatusCode::OK);
    }
    for head in [varnish.received(), backend.received()].concat() {
        assert!(head.contains("\r\nx-purge-all: true\r\n"), "{head}");
        assert!(!head.contains("surrogate-key"), "{head}");
    }
}

#[tokio::test]
async fn no_varnish_is_asked_before_the_backend_has_purged() {
    let (backend, barrier) = Peer::waiting().await;
    let varnish = Peer::good().await;
    let zone = Zone::with(&["127.0.0.1"]).await;
    let service = Service::start(&zone, &backend, varnish.address.port());

    let purging = service.send(purge("/", &[]));
    let watching = async {
        backend.asked().await;
        // It resolves no Varnish yet: one that starts by then would be missed.
        assert_eq!((zone.asked(), varnish.received().len()), (0, 0));
        barrier.wait().await;
    };
    let (answer, ()) = tokio::join!(purging, watching);
    assert_eq!(answer.counts(), [1, 1, 0]);
}

#[tokio::test]
async fn every_replica_of_a_backend_is_purged_if_its_name_has_several_addresses() {
    // The zone has one name, so both Services have it, on two ports.
    let good = |name| {
        [
            ("127.0.0.1", Manner::purged(name)),
            ("127.0.0.2", Manner::purged(name)),
        ]
    };
    let (varnishes, backends) = (peers(&good("varnish")).await, peers(&good("backend")).await);
    let zone = Zone::with(&["127.0.0.1", "127.0.0.2", "127.0.0.3"]).await;
    let headless = format!("{NAME}:{}", backends[0].address.port());
    let more = [("BACKEND_SERVICE", &*headless)];
    let port = varnishes[0].address.port();
    let service = Service::start_with(&zone, &backends[0], port, &more);

    // No peer listens at the third address: for a backend that is no failure, for a Varnish it is.
    assert_eq!(service.purge("/", &[]).await.counts(), [3, 2, 1]);
    assert!(backends.iter().all(|backend| backend.received().len() == 1));
}

#[tokio::test]
async fn a_purge_runs_to_its_end_without_its_caller() {
    let (backend, barrier) = Peer::waiting().await;
    let varnish = Peer::good().await;
    let zone = Zone::with(&["127.0.0.1"]).await;
    let service = Service::start(&zone, &backend, varnish.address.port());

    let hung_up = async {
        backend.asked().await;
    };
    tokio::select! {
        _ = service.send(purge("/", &[])) => unreachable!(),
        () = hung_up => {}
    }
    barrier.wait().await;
    service.broadcaster.finish().await;
    assert_eq!(varnish.received().len(), 1);
    assert_eq!(
        service
            .metric("endpoint_broadcaster_fanouts_total{outcome=\"all\"}")
            .await,
        "1"
    );
}
