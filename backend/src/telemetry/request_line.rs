//! The line of each request in the log.
//!
//! A hit in memory takes some microseconds, so its line must not take one. As JSON it goes to the
//! log directly: `tracing` would hand over each field by itself.

use std::fmt::{self, Debug, Display, Formatter};
use std::sync::OnceLock;
use std::time::Duration;

use tracing::Level;

use super::exchange::Facts;
use super::json_lines::{JsonLine, with_line};
use super::lines::Lines;

/// Of its own, so that these lines can be left out: `embedding_gateway::request=off`.
const TARGET: &str = "embedding_gateway::request";

/// What the lines say beside their fields.
const MESSAGE: &str = "request";

/// The log, if it is JSON and wants these lines.
static JSON: OnceLock<Lines> = OnceLock::new();

/// The log is JSON, and goes here. To be called once `tracing` knows what is wanted.
pub(super) fn write_json_to(lines: Lines) {
    if tracing::enabled!(target: TARGET, Level::INFO) {
        // The first one stays, as with `tracing`.
        JSON.get_or_init(|| lines);
    }
}

/// What is told of a request.
#[derive(Debug)]
pub(super) struct RequestLine<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub duration: Duration,
    pub bytes: u64,
    pub complete: bool,
    pub facts: Option<&'a Facts>,
    pub trace_id: Option<&'a str>,
}

impl RequestLine<'_> {
    /// Writes the line, if it is wanted.
    pub(super) fn log(&self) {
        let Some(lines) = JSON.get() else {
            return tracing::info!(target: TARGET, "{self}");
        };
        let fields = |line: &mut JsonLine| {
            line.word("message", MESSAGE);
            self.write_fields(line);
        };
        with_line(Level::INFO, TARGET, fields, |line| lines.add(line));
    }

    #[inline]
    fn write_fields(&self, line: &mut impl Fields) {
        line.word("method", self.method);
        line.text("path", self.path);
        line.count("status", self.status.into());
        line.milliseconds("duration_ms", self.duration);
        line.count("bytes", self.bytes);
        if !self.complete {
            line.truth("cut_off");
        }
        if let Some(facts) = self.facts {
            line.count("memory", facts.tally.memory as u64);
            line.count("store", facts.tally.store as u64);
            line.count("miss", facts.tally.miss as u64);
            line.count("collapsed", facts.tally.collapsed as u64);
            line.count("repeat", facts.repeats as u64);
            line.count("nominal_tokens", facts.nominal_tokens);
            line.count("billed_tokens", facts.billed_tokens);
        }
        if let Some(trace_id) = self.trace_id {
            line.word("trace_id", trace_id);
        }
    }
}

/// The line as text, without what stands in front of each line.
impl Display for RequestLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(MESSAGE)?;
        let mut text = Text { f, result: Ok(()) };
        self.write_fields(&mut text);
        text.result
    }
}

/// A format of fields.
trait Fields {
    /// Letters, digits and underscores.
    fn word(&mut self, name: &'static str, value: &str);
    fn text(&mut self, name: &'static str, value: &str);
    fn count(&mut self, name: &'static str, value: u64);
    fn milliseconds(&mut self, name: &'static str, value: Duration);
    fn truth(&mut self, name: &'static str);
}

impl Fields for JsonLine {
    #[inline(always)]
    fn word(&mut self, name: &'static str, value: &str) {
        self.word(name, value);
    }

    #[inline(always)]
    fn text(&mut self, name: &'static str, value: &str) {
        self.string(name, value);
    }

    #[inline(always)]
    fn count(&mut self, name: &'static str, value: u64) {
        self.integer(name, value);
    }

    #[inline(always)]
    fn milliseconds(&mut self, name: &'static str, value: Duration) {
        self.milliseconds(name, value);
    }

    #[inline(always)]
    fn truth(&mut self, name: &'static str) {
        self.plain(name, "true");
    }
}

/// `name=value`, until one cannot be written.
struct Text<'a, 'b> {
    f: &'a mut Formatter<'b>,
    result: fmt::Result,
}

impl Text<'_, '_> {
    fn push(&mut self, name: &str, value: impl Debug) {
        self.result = self
            .result
            .and_then(|()| write!(self.f, " {name}={value:?}"));
    }
}

impl Fields for Text<'_, '_> {
    fn word(&mut self, name: &'static str, value: &str) {
        self.push(name, value);
    }

    fn text(&mut self, name: &'static str, value: &str) {
        self.push(name, value);
    }

    fn count(&mut self, name: &'static str, value: u64) {
        self.push(name, value);
    }

    fn milliseconds(&mut self, name: &'static str, value: Duration) {
        self.push(name, value.as_micros() as f64 / 1000.0);
    }

    fn truth(&mut self, name: &'static str) {
        self.push(name, true);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::resolve::Tally;

    fn json(line: &RequestLine<'_>) -> Value {
        let fields = |json: &mut JsonLine| line.write_fields(json);
        with_line(Level::INFO, TARGET, fields, |json| {
            serde_json::from_str(json).unwrap()
        })
    }

    #[test]
    fn both_formats_say_the_same() {
        let facts = Facts {
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
        };
        let line = RequestLine {
            method: "POST",
            path: "/v1/\"embeddings\"",
            status: 200,
            duration: Duration::from_nanos(12_034_056_789),
            bytes: 7,
            complete: false,
            facts: Some(&facts),
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        };
        assert_eq!(
            line.to_string(),
            r#"request method="POST" path="/v1/\"embeddings\"" status=200 duration_ms=12034.056 bytes=7 cut_off=true memory=1 store=2 miss=3 collapsed=4 repeat=5 nominal_tokens=6 billed_tokens=18446744073709551615 trace_id="4bf92f3577b34da6a3ce929d0e0e4736""#
        );
        let mut found = json(&line);
        let timestamp = found.as_object_mut().unwrap().remove("timestamp");
        assert!(timestamp.unwrap().is_string());
        let expected = json!({
            "level": "INFO",
            "target": TARGET,
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
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let line = RequestLine {
            method: "GET",
            path: "/",
            status: 499,
            duration: Duration::from_micros(50),
            bytes: 0,
            complete: true,
            facts: None,
            trace_id: None,
        };
        let text = r#"request method="GET" path="/" status=499 duration_ms=0.05 bytes=0"#;
        assert_eq!(line.to_string(), text);
        let found = json(&line);
        assert_eq!(found["duration_ms"], 0.05);
        for absent in ["cut_off", "memory", "billed_tokens", "trace_id"] {
            assert!(found.get(absent).is_none(), "{absent}");
        }
    }
}
