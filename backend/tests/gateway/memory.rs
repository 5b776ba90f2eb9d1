//! One budget in bytes for all that requests hold: what finds no room is refused, and what has ended
//! holds nothing.

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::Setup;
use crate::support::gateway::{Gateway, post, post_raw};
use crate::support::upstream::{embeddings_body, json_answer};
use crate::support::waiting::until;

fn of_bytes(bytes: usize) -> Value {
    json!({"model": "m", "input": "x".repeat(bytes)})
}

/// A body that stays without its end.
fn unfinished(bytes: usize) -> Body {
    let piece = Bytes::from(vec![b' '; bytes]);
    let begun = stream::iter([Ok::<_, std::io::Error>(piece)]);
    Body::from_stream(begun.chain(stream::pending()))
}

async fn until_nothing_is_held(gateway: &Gateway) {
    until(|| gateway.app.budget.in_use() == 0).await;
}

#[tokio::test]
async fn what_finds_no_room_is_asked_to_come_back() {
    let variables = [
        ("REQUEST_MEMORY_BYTES", "2MiB"),
        ("MEMORY_CACHE_BYTES", "0"),
    ];
    let (upstream, gateway) = Setup::new().with_all(&variables).start().await;
    let mut held = Box::pin(gateway.begin(post_raw(unfinished(1 << 20))));
    tokio::select! {
        _ = &mut held => panic!("there is no whole body"),
        () = until(|| gateway.app.budget.in_use() > 1 << 20) => {}
    }

    let refused = gateway.embed(of_bytes(700 << 10)).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.error_code(), "out_of_memory");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(upstream.call_count(), 0);
    // What is small has room beside large bodies.
    assert_eq!(gateway.embed(of_bytes(10)).await.status, StatusCode::OK);

    drop(held);
    until_nothing_is_held(&gateway).await;
    assert_eq!(
        gateway.embed(of_bytes(100 << 10)).await.status,
        StatusCode::OK
    );
    until_nothing_is_held(&gateway).await;
}

#[tokio::test]
async fn a_body_that_never_fits_is_too_large() {
    let (_upstream, gateway) = Setup::new()
        .with("REQUEST_MEMORY_BYTES", "2MiB")
        .start()
        .await;
    let answer = gateway.embed(of_bytes(2 << 20)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.error_code(), "body_too_large");
}

/// An answer under way holds its request's bytes.
#[tokio::test]
async fn bytes_are_held_until_the_answer_is_sent() {
    let (_upstream, gateway) = Setup::new().start().await;
    let answer = gateway.begin(post(&of_bytes(1000))).await;
    assert!(gateway.app.budget.in_use() > 1000);
    drop(answer);
    assert_eq!(gateway.app.budget.in_use(), 0);
}

#[tokio::test]
async fn an_answer_is_as_long_as_its_inputs_allow() {
    let (upstream, gateway) = Setup::new().start().await;
    upstream.answers(|call| {
        let mut body = embeddings_body(&call);
        body["padding"] = "x".repeat(3 << 20).into();
        std::future::ready(json_answer(StatusCode::OK, &body))
    });
    let one = gateway.embed(json!({"model": "m", "input": "a"})).await;
    assert_eq!(one.status, StatusCode::BAD_GATEWAY);
    let inputs: Vec<_> = (0..10).map(|index| index.to_string()).collect();
    let ten = gateway.embed(json!({"model": "m", "input": inputs})).await;
    assert_eq!(ten.status, StatusCode::OK);
    until_nothing_is_held(&gateway).await;
}
