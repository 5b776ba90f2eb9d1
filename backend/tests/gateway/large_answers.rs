//! Answers of many megabytes to requests of a few kilobytes: one input, many times. However slowly
//! a client reads, the gateway holds no more than the piece that it is sending.

use axum::body::Body;
use embedding_gateway::embeddings::response::PIECE_BYTES;
use http::Request;
use http_body::Body as _;
use http_body_util::BodyExt;
use serde_json::json;

use crate::support::Setup;
use crate::support::gateway::post;
use crate::support::upstream::vector;

const DIMENSIONS: usize = 1536;

/// The encoding, how often the input is repeated, and whether a cache in front might store the
/// answer: it must then have a length.
const ANSWERS: [(&str, usize, bool); 3] = [
    ("base64", 1000, true),
    ("float", 300, true),
    ("float", 600, false),
];

fn repeated(encoding: &str, times: usize) -> Request<Body> {
    let inputs = vec!["a"; times];
    let (model, dimensions) = ("m", DIMENSIONS);
    post(&json!({
        "model": model, "dimensions": dimensions, "encoding_format": encoding, "input": inputs
    }))
}

#[tokio::test]
async fn a_large_answer_is_given_piece_by_piece_and_holds_its_place_to_the_end() {
    let (_upstream, gateway) = Setup::new().start().await;
    for (encoding, times, has_length) in ANSWERS {
        let mut answer = gateway.begin(repeated(encoding, times)).await.into_body();
        let length = answer.size_hint().exact();
        assert_eq!(length.is_some(), has_length, "{encoding} {times}");
        let mut read = 0;
        while !answer.is_end_stream() {
            assert_eq!(gateway.app.gauges().in_flight_requests, 1);
            let piece = answer.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE_BYTES, "{} bytes at once", piece.len());
            read += piece.len() as u64;
        }
        assert_eq!(length.unwrap_or(read), read);
        drop(answer);
        assert_eq!(gateway.app.gauges().in_flight_requests, 0);
    }
}

#[tokio::test]
async fn a_large_answer_is_the_right_one() {
    let (_upstream, gateway) = Setup::new().start().await;
    let right = vector("m", &json!("a"), DIMENSIONS);
    let answer = gateway.send(repeated("float", 600)).await;
    let vectors = answer.vectors();
    assert_eq!(vectors.len(), 600);
    assert!(vectors.iter().all(|vector| *vector == right));

    let answer = gateway.send(repeated("base64", 1000)).await.json();
    let bytes: Vec<u8> = right.iter().flat_map(|n| n.to_le_bytes()).collect();
    let right = base64_simd::STANDARD.encode_to_string(bytes);
    let items = answer["data"].as_array().unwrap();
    assert_eq!(items.len(), 1000);
    for (index, item) in items.iter().enumerate() {
        assert_eq!(item["index"], index);
        assert_eq!(item["embedding"], right);
    }
    assert_eq!(answer["usage"]["prompt_tokens"], 1000);
}
