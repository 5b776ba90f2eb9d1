//! Answers of upstreams that compress unasked, redirect, or have a status that none expects.

use std::io::Write;

use axum::body::Body;
use axum::response::Response;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::{Request, StatusCode};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::Setup;
use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;

const PLAIN: &[u8] = br#"{"data":[{"index":0,"embedding":[1.5]}]}"#;

/// [`PLAIN`] as Node's zlib writes it.
const BROTLI: &str =
    "8b13807b2264617461223a5b7b22696e646578223a302c22656d62656464696e67223a5b312e355d7d5d7d03";
const ZSTD: &str = "28b52ffd20284101007b2264617461223a5b7b22696e646578223a302c22656d62656464696e67223a5b312e355d7d5d7d";
/// A frame of no content, of two bytes.
const ZSTD_SKIPPED: &str = "502a4d1802000000abcd";

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    compress_to_vec(plain, CompressionLevel::Fastest)
}

/// [`PLAIN`] in each coding, by the names that upstreams give it.
fn coded() -> Vec<(&'static str, Vec<u8>)> {
    let (first, second) = PLAIN.split_at(9);
    vec![
        ("gzip", gzip(PLAIN)),
        ("X-GZip", gzip(PLAIN)),
        ("gzip", [gzip(first), gzip(second)].concat()),
        ("deflate", zlib(PLAIN)),
        ("deflate", raw_deflate(PLAIN)),
        ("br", hex(BROTLI)),
        ("zstd", hex(ZSTD)),
        (
            "zstd",
            [zstd(first), hex(ZSTD_SKIPPED), zstd(second)].concat(),
        ),
        ("gzip, br", hex(BROTLI)),
        ("deflate ,\tgzip", gzip(&zlib(PLAIN))),
        ("identity", PLAIN.to_vec()),
        ("", PLAIN.to_vec()),
    ]
}

fn answer_with(upstream: &Upstream, status: u16, coding: &'static str, body: Vec<u8>) {
    upstream.answers(move |_| {
        let answer = Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .header("content-encoding", coding)
            .header("retry-after", "7");
        std::future::ready(answer.body(Body::from(body.clone())).unwrap())
    });
}

#[tokio::test]
async fn vectors_and_errors_come_out_of_every_coding() {
    let (upstream, gateway) = Setup::new().start().await;
    for (at, (coding, body)) in coded().into_iter().enumerate() {
        // Brotli alone has a constant: it stands for both of its codings.
        let body = match coding {
            "gzip, br" => brotli_stored(&gzip(PLAIN)),
            _ => body,
        };
        answer_with(&upstream, 200, coding, body.clone());
        let answer = gateway
            .embed(json!({"model": "m", "input": format!("{at}")}))
            .await;
        assert_eq!(answer.vectors(), [[1.5]], "{coding}");
        assert!(!answer.headers.contains_key("content-encoding"));

        answer_with(&upstream, 400, coding, body);
        let answer = gateway
            .embed(json!({"model": "m", "input": "refused"}))
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{coding}");
        assert_eq!(answer.body, PLAIN, "{coding}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(!answer.headers.contains_key("content-encoding"));
    }
    let asked =
        |call: &crate::support::upstream::Call| call.headers["accept-encoding"] == "identity";
    assert!(upstream.calls().iter().all(asked));
}

/// A stream of one stored block (RFC 7932, 9.2), of at most 65,536 bytes.
fn brotli_stored(plain: &[u8]) -> Vec<u8> {
    // A window of 16 bits (0), not the last (0), four nibbles of length (00), the length less 1,
    // stored (1): 21 bits.
    let head = (plain.len() as u32 - 1) << 4 | 1 << 20;
    let head = head.to_le_bytes();
    // The last block, empty.
    [&head[..3], plain, &[3]].concat()
}

#[tokio::test]
async fn what_cannot_be_decoded_is_no_answer_but_a_refusal_keeps_its_status() {
    let (upstream, gateway) = Setup::new().with("RATE_WAIT", "0s").start().await;
    let whole = gzip(PLAIN);
    let cases = [
        ("compress", whole.clone()),
        ("gzip", PLAIN.to_vec()),
        ("gzip", whole[..whole.len() - 9].to_vec()),
        ("br", whole.clone()),
        ("zstd", whole.clone()),
        ("gzip,gzip,gzip,gzip,gzip,gzip", whole.clone()),
    ];
    for (coding, body) in cases {
        answer_with(&upstream, 200, coding, body.clone());
        let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{coding}");
        assert_eq!(answer.error_code(), "upstream_broken", "{coding}");

        answer_with(&upstream, 429, coding, body);
        let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{coding}");
        assert_eq!(answer.header("retry-after"), "7");
        assert_eq!(answer.error_code(), "upstream_refused", "{coding}");
    }
}

#[tokio::test]
async fn a_few_bytes_that_hold_many_are_not_unpacked() {
    let (upstream, gateway) = Setup::new().start().await;
    let blanks = vec![b' '; 8 << 20];
    let cases = [
        ("gzip", gzip(&blanks)),
        ("deflate", zlib(&blanks)),
        ("zstd", zstd(&blanks)),
        ("gzip, gzip", gzip(&gzip(&blanks))),
    ];
    for (coding, body) in cases {
        assert!(body.len() < 100_000);
        answer_with(&upstream, 200, coding, body);
        let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
        assert_eq!(answer.error_code(), "upstream_broken", "{coding}");
    }
}

#[tokio::test]
async fn other_routes_pass_codings_on_byte_for_byte() {
    let (upstream, gateway) = Setup::new().start().await;
    let body = gzip(PLAIN);
    answer_with(&upstream, 200, "gzip", body.clone());
    let bypass = r#"{"model":"m","input":"a","unknown":1}"#;
    for (path, sent) in [("/v1/chat/completions", "{}"), ("/v1/embeddings", bypass)] {
        let request = Request::post(path).header("accept-encoding", "gzip");
        let answer = gateway.send(request.body(Body::from(sent)).unwrap()).await;
        assert_eq!(answer.body, body);
        assert_eq!(answer.header("content-encoding"), "gzip");
    }
    let asked = |call: &crate::support::upstream::Call| call.headers["accept-encoding"] == "gzip";
    assert!(upstream.calls().iter().all(asked));
}

#[tokio::test]
async fn a_redirect_names_the_variable_and_not_its_target() {
    let (upstream, gateway) = Setup::new().start().await;
    for status in [300, 301, 302, 303, 304, 305, 307, 308, 399] {
        upstream.answers(move |_| {
            let answer = Response::builder()
                .status(status)
                .header("location", "https://elsewhere.example/?key=sk-secret");
            std::future::ready(answer.body(Body::from("moved: sk-secret")).unwrap())
        });
        let answer = gateway.embed(json!({"model": "m", "input": "a"})).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{status}");
        assert_eq!(answer.error_code(), "upstream_redirects", "{status}");
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text.contains("OPENAI_BASE_URL"), "{text}");
        assert!(
            !text.contains("elsewhere") && !text.contains("sk-secret"),
            "{text}"
        );
        assert!(!answer.headers.contains_key("location"));
    }
}

#[tokio::test]
async fn every_2xx_with_vectors_is_an_answer_and_none_without() {
    let (upstream, gateway) = Setup::new().start().await;
    for status in [200, 201, 202, 203, 206, 299] {
        answer_with(&upstream, status, "", PLAIN.to_vec());
        let input = format!("{status}");
        let request = json!({"model": "m", "input": input, "encoding_format": "base64"});
        let answer = gateway.embed(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{status}");
        assert_eq!(answer.json()["data"][0]["embedding"], "AADAPw==");
    }
    for (status, body) in [(201, "{}"), (202, "accepted"), (204, ""), (205, "")] {
        answer_with(&upstream, status, "", body.into());
        let answer = gateway.embed(json!({"model": "m", "input": "none"})).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{status}");
        assert_eq!(answer.error_code(), "upstream_unusable", "{status}");
    }
}

/// Answers each connection's first request with this text.
async fn raw_upstream(answer: &'static str) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            assert!(read > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, serving)
}

async fn statuses(gateway: &Gateway) -> [StatusCode; 2] {
    let chat = Request::post("/v1/chat/completions");
    let chat = gateway.send(chat.body(Body::from("{}")).unwrap()).await;
    let embeddings = gateway.embed(json!({"model": "m", "input": "a"})).await;
    [embeddings.status, chat.status]
}

#[tokio::test]
async fn an_upgrade_or_a_status_of_no_class_is_no_answer() {
    let cases = [
        (
            "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            502,
        ),
        ("HTTP/1.1 101 X\r\n\r\n", 502),
        // What the status means is between client and upstream.
        (
            "HTTP/1.1 777 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            777,
        ),
    ];
    for (answer, chat) in cases {
        let (url, _serving) = raw_upstream(answer).await;
        let gateway = Setup::new().at(&url).await;
        assert_eq!(statuses(&gateway).await, [502, chat], "{answer}");
    }
}
