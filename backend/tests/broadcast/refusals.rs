//! Requests that the broadcaster refuses before it calls any peer.

use axum::body::Body;
use http::{Request, StatusCode};

use crate::broadcaster::{Service, purge};
use crate::peer::Peer;
use crate::zone::Zone;

const REFUSED: &str = "endpoint_broadcaster_fanouts_total{outcome=\"refused\"}";

#[tokio::test]
async fn what_a_backend_or_varnish_would_refuse_is_refused_here() {
    let (zone, backend) = (Zone::with(&["127.0.0.1"]).await, Peer::good().await);
    let service = Service::start(&zone, &backend, 1);
    let many: String = (100_000..100_700).map(|n| format!("model:{n} ")).collect();
    for (target, header, code) in [
        ("/a\"b", None, "invalid_path"),
        ("/a\\b", None, "invalid_path"),
        ("*", None, "invalid_path"),
        (
            "/",
            Some(("surrogate-key", "model:a && obj.status == 200")),
            "invalid_tag",
        ),
        ("/", Some(("surrogate-key", "model:a|b")), "invalid_tag"),
        ("/", Some(("surrogate-key", "model:")), "invalid_tag"),
        ("/", Some(("surrogate-key", "")), "invalid_tag"),
        ("/", Some(("surrogate-key", &many)), "too_many_tags"),
        ("/", Some(("x-purge-all", "yes")), "invalid_tag"),
        ("/", Some(("x-purge-all", "")), "invalid_tag"),
    ] {
        let headers: Vec<_> = header.into_iter().collect();
        let answer = service.purge(target, &headers).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "{target} {header:?}"
        );
        assert_eq!(answer.code(), code, "{target} {header:?}");
    }
    assert!(backend.received().is_empty());
    assert_eq!(service.metric(REFUSED).await, "10");
}

#[tokio::test]
async fn a_body_is_refused() {
    let (zone, backend) = (Zone::with(&["127.0.0.1"]).await, Peer::good().await);
    let service = Service::start(&zone, &backend, 1);
    let mut request = purge("/", &[]);
    *request.body_mut() = Body::from(r#"{"tags":["model:a"]}"#);
    let answer = service.send(request).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.code(), "body_not_allowed");
    assert!(backend.received().is_empty());
}

#[tokio::test]
async fn headers_are_bounded() {
    let (zone, backend) = (Zone::with(&["127.0.0.1"]).await, Peer::good().await);
    let service = Service::start_with(&zone, &backend, 1, &[("MAX_HEADER_BYTES", "8KiB")]);
    let answer = service.purge("/", &[("x-filler", &"x".repeat(8192))]).await;
    assert_eq!(answer.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(answer.code(), "headers_too_large");
    assert!(backend.received().is_empty());
}

#[tokio::test]
async fn only_who_has_the_token_purges() {
    let varnish = Peer::good().await;
    let (zone, backend) = (Zone::with(&["127.0.0.1"]).await, Peer::good().await);
    let token = [("ALLOW_ANONYMOUS_PURGE", "false"), ("ADMIN_TOKEN", "token")];
    let service = Service::start_with(&zone, &backend, varnish.address.port(), &token);
    for presented in [
        "",
        "Bearer",
        "Bearer tokens",
        "Bearer Token",
        "token",
        "bearer token",
    ] {
        let answer = service.purge("/", &[("authorization", presented)]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{presented}");
        assert_eq!(answer.code(), "invalid_token");
    }
    assert_eq!(
        service.purge("/", &[]).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert!(backend.received().is_empty());
    let answer = service
        .purge("/", &[("authorization", "Bearer token")])
        .await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn nothing_but_purge_is_taken() {
    let (zone, backend) = (Zone::with(&["127.0.0.1"]).await, Peer::good().await);
    let service = Service::start(&zone, &backend, 1);
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/v1/embeddings"),
        ("POST", "/v1/embeddings"),
        ("POST", "/healthz"),
        ("DELETE", "/metrics"),
        ("purge", "/"),
        ("BAN", "/"),
    ] {
        let request = Request::builder().method(method).uri(target);
        let answer = service.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            answer.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{method} {target}"
        );
        assert_eq!(answer.headers["allow"], "PURGE");
        assert_eq!(answer.code(), "method_not_allowed");
    }
    for target in ["/healthz", "/readyz", "/metrics"] {
        let request = Request::get(target).body(Body::empty()).unwrap();
        assert_eq!(
            service.send(request).await.status,
            StatusCode::OK,
            "{target}"
        );
    }
    assert_eq!(service.metric(REFUSED).await, "0");
}

#[tokio::test]
async fn too_many_at_a_time_are_asked_to_come_back() {
    let (backend, barrier) = Peer::waiting().await;
    let varnish = Peer::good().await;
    let zone = Zone::with(&["127.0.0.1"]).await;
    let one = [("MAX_CONCURRENT_PURGES", "1")];
    let service = Service::start_with(&zone, &backend, varnish.address.port(), &one);

    let first = service.purge("/", &[]);
    let second = async {
        backend.asked().await;
        let answer = service.purge("/", &[]).await;
        barrier.wait().await;
        answer
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(second.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(second.headers["retry-after"], "1");
    assert_eq!(second.code(), "busy");
    let busy = "endpoint_broadcaster_fanouts_total{outcome=\"busy\"}";
    assert_eq!(service.metric(busy).await, "1");
}

#[tokio::test]
async fn readiness_ends_when_it_drains() {
    let (zone, backend) = (Zone::with(&["127.0.0.1"]).await, Peer::good().await);
    let service = Service::start(&zone, &backend, 1);
    service.broadcaster.start_draining();
    let ready = Request::get("/readyz").body(Body::empty()).unwrap();
    assert_eq!(
        service.send(ready).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}
