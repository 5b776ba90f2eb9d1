//! Which peers get which request, and in which order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Barrier;
use tokio::time::timeout;

use crate::broadcaster::{Service, purge};
use crate::clock::StoppedClock;
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
        ("surrogate-key", "model:a, scope:b,docs model:a"),
        ("cookie", "a=b"),
        ("x-other", "1"),
    ];
    let answer = service
        .purge("/v1/embeddings?a='b'&c={%7b}", &headers)
        .await;
    assert_eq!(answer.status, StatusCode::OK);

    let head =
        "purge /v1/embeddings?a='b'&c={%7b} http/1.1\r\nsurrogate-key: model:a scope:b docs\r\n";
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

    // No peer listens at the third address.
    let answer = service.purge("/", &[]).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    assert_eq!(answer.counts(), [4, 2, 2]);
    let errors = ["connection failed", "backend: connection failed"];
    for (result, error) in answer.body["results"].as_array().unwrap()[2..]
        .iter()
        .zip(errors)
    {
        let missed = json!({"pod": "127.0.0.3", "status": null, "success": false, "error": error});
        assert_eq!(*result, missed);
    }
    assert!(backends.iter().all(|backend| backend.received().len() == 1));
}

#[tokio::test]
async fn a_replica_of_the_backend_that_takes_no_connection_in_time_is_told_and_every_varnish_purged()
 {
    let manners = ["127.0.0.1", "127.0.0.2"].map(|address| (address, Manner::purged("varnish")));
    let varnishes = peers(&manners).await;
    let backends = peers(&[("127.0.0.1", Manner::purged("backend"))]).await;
    let port = backends[0].address.port();
    let (_full, _waiting) = silent("127.0.0.2", port).await;
    let zone = Zone::with(&["127.0.0.1", "127.0.0.2"]).await;
    let headless = format!("{NAME}:{port}");
    let more = [("BACKEND_SERVICE", &*headless), ("BACKEND_TIMEOUT", "10s")];
    let port = varnishes[0].address.port();
    let service = Service::start_with(&zone, &backends[0], port, &more);

    let clock = StoppedClock::stop();
    let answer = clock.passes_until(service.purge("/", &[])).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    assert_eq!(answer.counts(), [3, 2, 1]);
    let missed = &answer.body["results"][2];
    assert_eq!(missed["error"], "backend: connection failed");
    let observed = "endpoint_broadcaster_fanouts_total{outcome=\"some\"}";
    assert_eq!(service.metric(observed).await, "1");
}

#[tokio::test]
async fn a_varnish_is_purged_again_for_answers_that_were_on_their_way() {
    let manners = [
        ("127.0.0.1", Manner::purged("varnish-0")),
        ("127.0.0.2", Manner::answers("500 Broken", "")),
    ];
    let varnishes = peers(&manners).await;
    let zone = Zone::with(&["127.0.0.1", "127.0.0.2"]).await;
    let (backend, port) = (Peer::good().await, varnishes[0].address.port());
    let service = Service::start_with(&zone, &backend, port, &[("PURGE_AGAIN_AFTER", "1ms")]);

    let answer = service.purge("/", &[("x-purge-all", "true")]).await;
    assert_eq!(answer.counts(), [2, 1, 1]);
    let received = |peer: &Peer| peer.received().len();
    assert_eq!(varnishes.iter().map(received).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(varnishes[0].received()[0], varnishes[0].received()[1]);
    assert_eq!(
        received(&backend),
        1,
        "it stores nothing that is on its way"
    );
}

/// A listener whose queue is full, so that further connections are neither taken nor refused.
async fn silent(address: &str, port: u16) -> (TcpListener, Vec<TcpStream>) {
    let address = SocketAddr::new(address.parse().unwrap(), port);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    let patience = Duration::from_millis(200);
    while let Ok(Ok(stream)) = timeout(patience, TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    (listener, waiting)
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
