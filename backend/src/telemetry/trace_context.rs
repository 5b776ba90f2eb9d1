//! What a request's headers say of the trace that it belongs to (W3C Trace Context).
//!
//! What is not to the letter is as good as absent: the propagator of `OpenTelemetry` takes signs,
//! short numbers and the first of several headers, and our log must not name another trace than
//! our spans.

use http::header::{HeaderMap, HeaderName};
use opentelemetry::propagation::Extractor;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Where the trace's number stands in a `traceparent`.
pub(super) const TRACE: std::ops::Range<usize> = 3..35;

/// `00-<trace>-<parent>-<flags>`, in lower-case hex digits: the whole length of this version.
const LENGTH: usize = 55;

/// The one `traceparent`, if it is sound: then it is ASCII.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<&str> {
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
    // Later versions may add to the end (2.2.2), but move nothing; the last one is not allowed.
    let ended = match &known[..2] {
        b"00" => rest.is_empty(),
        version => version != b"ff" && matches!(rest.first(), None | Some(b'-')),
    };
    framed && ended && some(&known[TRACE]) && some(&known[36..52])
}

/// Both headers, as a propagator asks for them.
#[derive(Debug)]
pub(super) struct TraceContext<'a> {
    traceparent: &'a str,
    /// Several lines are one list (3.3.1.1).
    tracestate: String,
}

impl<'a> TraceContext<'a> {
    /// The caller, if the request belongs to a trace.
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
