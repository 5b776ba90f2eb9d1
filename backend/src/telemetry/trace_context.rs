//! The trace that a request's headers name (W3C Trace Context).
//!
//! Malformed headers count as absent. `OpenTelemetry`'s propagator accepts signs, short numbers and
//! the first of several headers; the log would then name another trace than the spans.

use http::header::{HeaderMap, HeaderName};
use opentelemetry::propagation::Extractor;

use crate::http::headers::has;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Where the trace's id stands in a `traceparent`.
pub(super) const TRACE: std::ops::Range<usize> = 3..35;

/// The length of `00-<trace>-<parent>-<flags>`, in lower-case hex digits.
const LENGTH: usize = 55;

/// The only `traceparent`, if it is well-formed, hence ASCII.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    if !has(headers, &TRACEPARENT) {
        return None;
    }
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?;
    (values.next().is_none() && is_sound(value.as_bytes())).then_some(value)
}

fn is_sound(value: &[u8]) -> bool {
    let Some((known, rest)) = value.split_at_checked(LENGTH) else {
        return false;
    };
    let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let framed = known.iter().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => digit(byte),
    });
    let some = |digits: &[u8]| digits.iter().any(|&byte| byte != b'0');
    // Later versions may append fields (2.2.2), but move none; version ff is invalid.
    let ended = match &known[..2] {
        b"00" => rest.is_empty(),
        version => version != b"ff" && matches!(rest.first(), None | Some(b'-')),
    };
    framed && ended && some(&known[TRACE]) && some(&known[36..52])
}

/// Both headers, for a propagator.
#[derive(Debug)]
pub(super) struct TraceContext<'a> {
    traceparent: &'a str,
    /// Several lines are one list (3.3.1.1).
    tracestate: String,
}

impl<'a> TraceContext<'a> {
    /// The context of a request that belongs to a trace.
    pub(super) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let traceparent = traceparent(headers)?;
        let states = headers.get_all(TRACESTATE).iter();
        let states: Vec<_> = states.filter_map(|value| value.to_str().ok()).collect();
        let tracestate = states.join(",");
        Some(Self {
            traceparent,
            tracestate,
        })
    }
}

impl Extractor for TraceContext<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.traceparent),
            "tracestate" => Some(&self.tracestate),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}
