use serde_json::{Value, json};
use tracing::subscriber::with_default;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::telemetry::Tally;
use crate::telemetry::captured::Captured;

const FULL: RequestLine<'_> = RequestLine {
    method: "POST",
    path: "/v1/\"embeddings\"",
    status: 200,
    duration: Duration::from_nanos(12_034_056_789),
    bytes: 7,
    complete: false,
    outcome: Some(&EmbeddingOutcome {
        tally: Tally {
            memory: 1,
            store: 2,
            miss: 3,
            collapsed: 4,
        },
        repeats: 5,
        nominal_tokens: 6,
        billed_tokens: u64::MAX,
        waited: Duration::ZERO,
    }),
    bypass: Some(Bypass::Field),
    trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
};

const BARE: RequestLine<'_> = RequestLine {
    method: "GET",
    path: "/",
    status: 499,
    duration: Duration::from_micros(50),
    bytes: 0,
    complete: true,
    outcome: None,
    bypass: None,
    trace_id: None,
};

fn written(line: &RequestLine<'_>, format: LogFormat) -> String {
    LogLine::with(|text| line.write(text, format), str::to_owned)
}

#[test]
fn both_formats_say_the_same() {
    let text = r#"request method="POST" path="/v1/\"embeddings\"" status=200 duration_ms=12034.056 bytes=7 cut_off=true memory=1 store=2 miss=3 collapsed=4 repeat=5 nominal_tokens=6 billed_tokens=18446744073709551615 bypass="field" trace_id="4bf92f3577b34da6a3ce929d0e0e4736""#;
    assert_eq!(FULL.text(), text);
    let mut found: Value = serde_json::from_str(&written(&FULL, LogFormat::Json)).unwrap();
    assert!(found["timestamp"].take().is_string());
    let expected = json!({
        "timestamp": null,
        "level": "INFO",
        "message": "request",
        "method": "POST",
        "path": "/v1/\"embeddings\"",
        "status": 200,
        "duration_ms": 12034.056,
        "bytes": 7,
        "cut_off": true,
        "memory": 1,
        "store": 2,
        "miss": 3,
        "collapsed": 4,
        "repeat": 5,
        "nominal_tokens": 6,
        "billed_tokens": u64::MAX,
        "bypass": "field",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "target": "embedding_gateway::request",
    });
    assert_eq!(found, expected);
}

#[test]
fn a_path_ends_neither_its_field_nor_its_line() {
    for path in [
        "/ ~",
        "/\"",
        "/\\",
        "/'",
        "/é",
        "/\u{7f}",
        "/\n\u{1b}[2J",
        "/\u{202e}",
    ] {
        let line = RequestLine { path, ..BARE };
        let shown = format!(" path={path:?} status=");
        assert!(line.text().contains(&shown), "{}", line.text());
        let json: Value = serde_json::from_str(&written(&line, LogFormat::Json)).unwrap();
        assert_eq!(json["path"], path);
    }
}

#[test]
fn what_is_not_known_is_left_out() {
    let text = r#"request method="GET" path="/" status=499 duration_ms=0.050 bytes=0"#;
    assert_eq!(BARE.text(), text);
    let found: Value = serde_json::from_str(&written(&BARE, LogFormat::Json)).unwrap();
    assert_eq!(found["duration_ms"], 0.05);
    for absent in ["cut_off", "memory", "billed_tokens", "trace_id"] {
        assert!(found.get(absent).is_none(), "{absent}");
    }
}

/// These lines look like all other lines of the log.
#[test]
fn text_is_framed_as_tracing_does() {
    let log = Captured::default();
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(log.clone());
    with_default(tracing_subscriber::registry().with(layer), || FULL.log());
    let theirs = log.text();
    let ours = written(&FULL, LogFormat::Text);
    let (their_time, theirs) = theirs.split_once(' ').unwrap();
    let (our_time, ours) = ours.split_once(' ').unwrap();
    assert_eq!(our_time.len(), their_time.len());
    assert_eq!(ours, theirs);
}
