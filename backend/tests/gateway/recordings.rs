//! Real upstreams' answers, replayed: clients get what was recorded.
//!
//! `answers/` holds them, one exchange a file; its README says where each comes from.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::support::Setup;
use crate::support::gateway::{Answer, Gateway};
use crate::support::upstream::{Upstream, embeddings};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/answers");

/// Headers of the upstream that clients get.
const PROMISED: [HeaderName; 9] = [
    CONTENT_TYPE,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-ms-retry-after-ms"),
    HeaderName::from_static("x-should-retry"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("apim-request-id"),
    HeaderName::from_static("x-ms-request-id"),
];

/// More of them, by prefix.
const PROMISED_PREFIXES: [&str; 2] = ["x-ratelimit-", "openai-"];

/// How much of an exchange is a recording.
const ORIGINS: [&str; 4] = [
    "recorded",
    "recorded, white space ours",
    "recorded in part",
    "from documentation",
];

/// One exchange with an upstream.
#[derive(Clone, Debug)]
struct Recording {
    name: String,
    request: Value,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// An answer with vectors, read without the code under test.
#[derive(Deserialize)]
struct Vectors<'a> {
    object: String,
    model: String,
    usage: Usage,
    #[serde(borrow)]
    data: Vec<Item<'a>>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

#[derive(Deserialize)]
struct Item<'a> {
    object: String,
    index: usize,
    #[serde(borrow)]
    embedding: &'a RawValue,
}

impl Recording {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (asked, answered) = text.split_once("\n\nHTTP/1.1 ").unwrap();
        let (_, request) = asked.split_once("\n\n").unwrap();
        let (head, body) = answered.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').next().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let name = path.strip_prefix(FOLDER).unwrap();
        Self {
            name: name.to_str().unwrap().to_owned(),
            request: serde_json::from_str(request).unwrap(),
            status: status.parse().unwrap(),
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn replay(&self) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }

    /// A gateway without entries, in front of an upstream that answers this.
    async fn start(&self) -> (Upstream, Gateway) {
        let upstream = Upstream::start().await;
        let recording = self.clone();
        upstream.answers(move |_| std::future::ready(recording.replay()));
        // Refusals of a rate are passed on at once.
        let gateway = Setup::new().with("RATE_WAIT", "0s");
        let gateway = gateway.before(&upstream).await;
        (upstream, gateway)
    }

    fn has_vectors(&self) -> bool {
        self.status == StatusCode::OK && serde_json::from_slice::<Vectors<'_>>(&self.body).is_ok()
    }
}

impl Vectors<'_> {
    /// Each number's bits, in the order of the inputs.
    fn bits(&self) -> Vec<Vec<u32>> {
        assert_eq!(self.object, "list");
        let mut placed = vec![Vec::new(); self.data.len()];
        for item in &self.data {
            assert_eq!(item.object, "embedding");
            placed[item.index] = bits(item.embedding.get());
        }
        placed
    }
}

fn bits(embedding: &str) -> Vec<u32> {
    let Ok(text) = serde_json::from_str::<String>(embedding) else {
        let numbers: Vec<&RawValue> = serde_json::from_str(embedding).unwrap();
        let number = |raw: &&RawValue| raw.get().parse::<f32>().unwrap().to_bits();
        return numbers.iter().map(number).collect();
    };
    let bytes = base64_simd::STANDARD.decode_to_vec(text).unwrap();
    let (numbers, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    numbers.iter().map(|&n| u32::from_le_bytes(n)).collect()
}

fn vectors(body: &[u8]) -> Vectors<'_> {
    serde_json::from_slice(body).unwrap()
}

/// Gives a recorded answer, as often as it is called.
pub fn replayed(name: &str) -> impl Fn() -> Response + Send + Sync + 'static {
    let recording = Recording::read(&Path::new(FOLDER).join(name));
    move || recording.replay()
}

/// All files below a folder that are named `*.http`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| self::files(folder));
    let exchanges = files
        .iter()
        .filter(|path| path.extension() == Some("http".as_ref()));
    exchanges.cloned().chain(below).collect()
}

fn recordings(wanted: impl Fn(&Recording) -> bool) -> Vec<Recording> {
    let all = files(FOLDER.as_ref());
    let mut found: Vec<_> = all.iter().map(|path| Recording::read(path)).collect();
    found.retain(wanted);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!found.is_empty());
    found
}

fn is_promised(name: &HeaderName) -> bool {
    let prefixed = |prefix: &&str| name.as_str().starts_with(*prefix);
    PROMISED.contains(name) || PROMISED_PREFIXES.iter().any(prefixed)
}

fn promised(headers: &HeaderMap) -> BTreeSet<(&str, &str)> {
    let kept = headers.iter().filter(|(name, _)| is_promised(name));
    kept.map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect()
}

/// The promised headers of the upstream cross, and no others. Where the gateway only
/// forwards, all of them do.
#[track_caller]
fn assert_headers(answer: &Answer, recording: &Recording) {
    let name = &recording.name;
    let bypass = answer.header("cache-status").ends_with("fwd=bypass");
    assert_eq!(
        promised(&answer.headers),
        promised(&recording.headers),
        "{name}"
    );
    for (header, value) in &recording.headers {
        let crossed = answer.headers.get_all(header).iter().any(|v| v == value);
        let expected = bypass || is_promised(header);
        assert_eq!(crossed, expected, "{name}: {header}");
    }
}

fn with(request: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut request = request.clone();
    request[name] = value.into();
    request
}

#[tokio::test]
async fn first_calls_and_hits_agree_with_what_was_recorded() {
    for recording in recordings(Recording::has_vectors) {
        let (upstream, gateway) = recording.start().await;
        let (name, expected) = (&recording.name, vectors(&recording.body));
        let billed = expected.usage.prompt_tokens.to_string();
        // Both encodings work, whichever the upstream wrote.
        for (turn, encoding) in ["float", "base64", "float"].into_iter().enumerate() {
            let request = with(&recording.request, "encoding_format", encoding);
            let answer = gateway.embed(request).await;
            let paid = turn == 0;

            assert_eq!(answer.status, StatusCode::OK, "{name}: {:?}", answer.body);
            let found = vectors(&answer.body);
            assert_eq!(found.bits(), expected.bits(), "{name}, {encoding}");
            assert_eq!(found.model, expected.model, "{name}");
            assert_eq!(found.usage, expected.usage, "{name}");
            let base64 = found.data[0].embedding.get().starts_with('"');
            assert_eq!(base64, encoding == "base64", "{name}");

            let cost = answer.header("x-embedding-billed-tokens");
            assert_eq!(cost, if paid { billed.as_str() } else { "0" }, "{name}");
            if paid {
                assert_headers(&answer, &recording);
            } else {
                let own = BTreeSet::from([("content-type", "application/json")]);
                assert_eq!(promised(&answer.headers), own, "{name}");
            }
        }
        assert_eq!(upstream.call_count(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_recorded_batch_is_known_input_by_input() {
    let is_batch =
        |recording: &Recording| recording.has_vectors() && vectors(&recording.body).data.len() > 1;
    for recording in recordings(is_batch) {
        let (upstream, gateway) = recording.start().await;
        gateway.embed(recording.request.clone()).await;
        let mut inputs = recording.request["input"].as_array().unwrap().clone();
        let mut expected = vectors(&recording.body).bits();
        inputs.reverse();
        expected.reverse();
        let answer = gateway
            .embed(with(&recording.request, "input", inputs))
            .await;
        assert_eq!(vectors(&answer.body).bits(), expected, "{}", recording.name);
        assert_eq!(upstream.call_count(), 1, "{}", recording.name);
    }
}

#[tokio::test]
async fn recorded_errors_arrive_verbatim_and_are_not_remembered() {
    for recording in recordings(|recording| recording.status != StatusCode::OK) {
        let (upstream, gateway) = recording.start().await;
        let answer = gateway.embed(recording.request.clone()).await;
        let name = &recording.name;
        assert_eq!(answer.status, recording.status, "{name}");
        assert_eq!(answer.body, recording.body, "{name}");
        assert_headers(&answer, &recording);
        assert_eq!(answer.header("cache-control"), "no-store", "{name}");

        upstream.answers(|call| std::future::ready(embeddings(&call)));
        let next = gateway.embed(recording.request.clone()).await;
        assert_eq!(next.status, StatusCode::OK, "{name}");
        // What may be a refusal of base64 is asked once more without.
        let bypass = answer.header("cache-status").ends_with("fwd=bypass");
        let of_size = ["too-long", "too-many", "batch"]
            .iter()
            .any(|word| name.contains(word));
        let again = !bypass && !of_size && matches!(recording.status.as_u16(), 400 | 422);
        // Two inputs that are too many go one by one, and at last as the client asked.
        let divided = if name.contains("batch") { 3 } else { 0 };
        let calls = 2 + usize::from(again) + divided;
        assert_eq!(upstream.call_count(), calls, "{name}");
    }
}

/// vLLM's answer of 2025 for a model that cannot embed.
#[tokio::test]
async fn an_error_with_status_200_is_no_answer() {
    let disguised =
        |recording: &Recording| recording.status == StatusCode::OK && !recording.has_vectors();
    for recording in recordings(disguised) {
        let (upstream, gateway) = recording.start().await;
        for calls in 1..=2 {
            let answer = gateway.embed(recording.request.clone()).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{}", recording.name);
            assert_eq!(answer.error_code(), "upstream_unusable");
            assert_eq!(upstream.call_count(), calls);
        }
    }
}

#[test]
fn the_readme_beside_them_names_every_recording_and_its_origin() {
    let readme = fs::read_to_string(Path::new(FOLDER).join("README.md")).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let file = cells.next()?.strip_suffix('`')?.to_owned();
        let status = cells.nth(1)?;
        assert!(ORIGINS.contains(&status), "{file}: {status}");
        Some(file)
    };
    let named: Vec<String> = readme.lines().filter_map(row).collect();
    let found: Vec<String> = recordings(|_| true).into_iter().map(|r| r.name).collect();
    assert_eq!(named, found);
}
