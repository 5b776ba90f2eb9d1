//! Keys appear nowhere: searches all that the gateways of these tests log at level trace, answer on
//! errors, and count, for each key that they got.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Mutex, Once};

use http::HeaderMap;
use sha2::{Digest, Sha256};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

const HEADERS: [&str; 4] = [
    "authorization",
    "api-key",
    "x-api-key",
    "ocp-apim-subscription-key",
];
const VARIABLES: [&str; 4] = [
    "OPENAI_API_KEY",
    "ADMIN_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
];
/// Shorter keys stand in lines by chance. Their digests do not.
const TELLING_BYTES: usize = 8;

/// Spellings of keys, and where the key was given.
static SOUGHT: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
static FOUND: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Captures the logs of all gateways of this process from now on.
pub fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let own = Targets::new()
            .with_target("embedding_gateway", LevelFilter::TRACE)
            .with_default(LevelFilter::WARN);
        let lines = fmt::layer().with_ansi(false).with_writer(|| Log);
        tracing_subscriber::registry()
            .with(lines.with_filter(own))
            .init();
    });
}

/// These headers give a key to a gateway.
pub fn in_headers(headers: &HeaderMap) {
    for name in HEADERS {
        for value in headers.get_all(name) {
            let text = String::from_utf8_lossy(value.as_bytes());
            seek(name, text.strip_prefix("Bearer ").unwrap_or(&text));
        }
    }
}

/// These variables give a key to a gateway.
pub fn in_variables(variables: &[(String, String)]) {
    for (name, value) in variables {
        if VARIABLES.contains(&name.as_str()) {
            seek(name, value);
        }
    }
}

/// Searches what a gateway said.
pub fn search(place: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    for (spelling, name) in SOUGHT.lock().unwrap().iter() {
        if text.contains(spelling) {
            let test = std::thread::current().name().unwrap_or("?").to_owned();
            let found = format!("the key in {name} stands in {place} of {test}");
            FOUND.lock().unwrap().insert(found);
        }
    }
}

#[track_caller]
pub fn assert_none_found() {
    let found = FOUND.lock().unwrap().clone();
    assert!(found.is_empty(), "{found:#?}");
}

fn seek(name: &str, key: &str) {
    let mut sought = SOUGHT.lock().unwrap();
    for spelling in spellings(key) {
        sought.entry(spelling).or_insert_with(|| name.to_owned());
    }
}

/// The spellings of a key that a program could log.
fn spellings(key: &str) -> Vec<String> {
    let mut written = Vec::new();
    if key.len() >= TELLING_BYTES {
        written.push(key.to_owned());
        written.extend(in_base64(key.as_bytes()));
    }
    for text in [key.to_owned(), format!("Bearer {key}")] {
        let digest = Sha256::digest(text);
        written.push(digest.iter().map(|byte| format!("{byte:02x}")).collect());
        written.extend(in_base64(&digest));
    }
    written
}

/// The part of its base64 that does not depend on the bytes around it: six bits a character.
fn in_base64(text: &[u8]) -> [String; 3] {
    [0, 1, 2].map(|before| {
        let encoded = base64_simd::STANDARD.encode_to_string([&[0; 2][..before], text].concat());
        let (begin, end) = ((before * 8).div_ceil(6), (before + text.len()) * 8 / 6);
        encoded[begin..end].to_owned()
    })
}

/// The log of all gateways.
struct Log;

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        search("a log line", line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_key_is_found_in_every_spelling() {
    let key = "sk-of-this-test-alone";
    let found = |text: &str| {
        spellings(key)
            .iter()
            .any(|spelling| text.contains(spelling))
    };
    for text in [key.to_owned(), format!("Bearer {key}")] {
        let digest = Sha256::digest(&text);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        for bytes in [text.as_bytes(), &digest] {
            for before in ["", "a", "ab"] {
                let all = [before.as_bytes(), bytes, b"behind"].concat();
                assert!(found(&base64_simd::STANDARD.encode_to_string(all)));
            }
        }
        assert!(found(&text) && found(&hex));
    }
    assert!(!found("sk-of-another-test"));
}
