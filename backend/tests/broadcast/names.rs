//! The broadcaster resolves the name to all its addresses, anew for each purge.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use tokio::time::Instant;

use crate::broadcaster::Service;
use crate::clock::{StoppedClock, turn};
use crate::peer::{Manner, Peer, peers};
use crate::zone::{Knowledge, Zone, parsed};

#[tokio::test]
async fn each_purge_goes_where_the_name_points_then() {
    let manners = [
        ("127.0.0.1", Manner::purged("a")),
        ("127.0.0.2", Manner::purged("b")),
    ];
    let varnishes = peers(&manners).await;
    let (zone, backend) = (Zone::with(&["127.0.0.1"]).await, Peer::good().await);
    let service = Service::start(&zone, &backend, varnishes[0].address.port());
    assert_eq!(service.purge("/", &[]).await.pods(), [("a", Some(200))]);
    // The first answer was good for a day.
    zone.know(Knowledge::Addresses(parsed(&["127.0.0.2"])));
    assert_eq!(service.purge("/", &[]).await.pods(), [("b", Some(200))]);
    zone.know(Knowledge::Addresses(parsed(&[
        "127.0.0.2",
        "127.0.0.1",
        "127.0.0.2",
    ])));
    assert_eq!(service.purge("/", &[]).await.counts(), [2, 2, 0]);
}

#[tokio::test]
async fn both_families_count() {
    let Ok(_) = tokio::net::TcpListener::bind("[::1]:0").await else {
        println!("SKIP: this machine has no IPv6");
        return;
    };
    let manners = [
        ("127.0.0.1", Manner::purged("four")),
        ("::1", Manner::purged("six")),
    ];
    let varnishes = peers(&manners).await;
    let (zone, backend) = (Zone::with(&["::1", "127.0.0.1"]).await, Peer::good().await);
    let port = varnishes[0].address.port();
    let service = Service::start(&zone, &backend, port);
    let answer = service.purge("/", &[]).await;
    assert_eq!(answer.pods(), [("four", Some(200)), ("six", Some(200))]);

    let more = [("VARNISH_SERVICE", &*format!("[::1]:{port}"))];
    let service = Service::start_with(&zone, &backend, port, &more);
    assert_eq!(service.purge("/", &[]).await.pods(), [("six", Some(200))]);
    let head = varnishes[1].received().pop().unwrap();
    assert!(head.contains(&format!("host: [::1]:{port}\r\n")), "{head}");
}

#[tokio::test]
async fn more_addresses_than_a_datagram_holds_are_all_purged() {
    let everywhere = (Ipv4Addr::UNSPECIFIED, 0).into();
    let varnish = Peer::start(everywhere, Manner::purged("v")).await;
    let many = (0..150)
        .map(|number| IpAddr::from([127, 0, 1, number]))
        .collect();
    let zone = Zone::start(Knowledge::OnlyByTcp(many)).await;
    let backend = Peer::good().await;
    let service = Service::start(&zone, &backend, varnish.address.port());
    assert_eq!(service.purge("/", &[]).await.counts(), [150, 150, 0]);
    assert_eq!(varnish.received().len(), 150);
}

#[tokio::test]
async fn no_address_is_said_after_the_backend_was_purged() {
    let (zone, backend) = (Zone::with(&[]).await, Peer::good().await);
    let more = [("RESOLVE_TIMEOUT", "6s")];
    let service = Service::start_with(&zone, &backend, 1, &more);
    let clock = StoppedClock::by(Duration::from_millis(100));
    let ways = [
        Knowledge::Addresses(vec![]),
        Knowledge::NoSuchName,
        Knowledge::Failure,
        Knowledge::Silence,
    ];
    for (count, knowledge) in ways.into_iter().enumerate() {
        zone.know(knowledge.clone());
        let began = Instant::now();
        let answer = clock.passes_until(service.purge("/", &[])).await;
        assert!(began.elapsed() < Duration::from_secs(8), "{knowledge:?}");
        assert_eq!(
            answer.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{knowledge:?}"
        );
        assert_eq!(answer.code(), "no_address");
        assert_eq!(answer.counts(), [0, 0, 0]);
        assert!(answer.pods().is_empty());
        assert_eq!(backend.received().len(), count + 1);
    }
    let counted = "endpoint_broadcaster_fanouts_total{outcome=\"no_address\"}";
    assert_eq!(service.metric(counted).await, "4");
}

#[tokio::test]
async fn a_question_that_was_lost_is_asked_again() {
    let varnish = Peer::good().await;
    let (zone, backend) = (Zone::start(Knowledge::Silence).await, Peer::good().await);
    let service = Service::start(&zone, &backend, varnish.address.port());
    let found = async {
        // One for each family.
        while zone.asked() < 2 {
            turn().await;
        }
        zone.know(Knowledge::Addresses(parsed(&["127.0.0.1"])));
    };
    let clock = StoppedClock::by(Duration::from_millis(50));
    let (answer, ()) = tokio::join!(clock.passes_until(service.purge("/", &[])), found);
    assert_eq!(answer.counts(), [1, 1, 0]);
}

#[tokio::test]
async fn name_servers_that_say_nothing_are_passed_over() {
    let varnish = Peer::good().await;
    let (zone, backend) = (Zone::with(&["127.0.0.1"]).await, Peer::good().await);
    let (dead, deaf) = (
        Zone::start(Knowledge::Silence).await,
        Zone::start(Knowledge::Silence).await,
    );
    let servers = [&dead, &deaf, &zone].map(|zone| zone.address.to_string());
    let more = [("DNS_SERVERS", &*servers.join(","))];
    let service = Service::start_with(&zone, &backend, varnish.address.port(), &more);
    // Which two are asked first is chance: one of three chooses the wrong ones.
    let purges = (0..8).map(|_| service.purge("/", &[]));
    let clock = StoppedClock::by(Duration::from_millis(50));
    for answer in clock.passes_until(join_all(purges)).await {
        assert_eq!(answer.counts(), [1, 1, 0]);
    }
}
