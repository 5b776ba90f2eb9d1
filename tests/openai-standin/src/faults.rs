//! What goes wrong on request: each fault says when it strikes, how often, and what it does.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::exchange::Call;
use crate::refusal::Refusal;

/// One thing that goes wrong. Everything is optional, and effects combine.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fault {
    /// Which requests it strikes; all below `/v1/` if nothing is said.
    when: When,
    /// How many requests it strikes; without it, all until it is cleared.
    times: Option<u32>,
    /// Wait before the status line.
    delay_ms: u64,
    /// Wait between the headers and the first byte of the body.
    pub(crate) first_byte_delay_ms: u64,
    /// Wait between two events of a stream.
    pub(crate) event_delay_ms: Option<u64>,
    /// Refuse with this status, in OpenAI's envelope.
    status: Option<u16>,
    /// Other words than the real API's in that refusal.
    message: Option<String>,
    /// The `retry-after` header.
    retry_after: Option<String>,
    /// More headers of the answer or the refusal, in place of those of the same name.
    headers: BTreeMap<String, String>,
    /// This body, byte for byte, in place of the answer's or the refusal's.
    body: Option<String>,
    /// The same for bytes that are no text, in base64.
    body_base64: Option<String>,
    /// Spoil the vectors.
    pub(crate) embeddings: Option<Shape>,
    /// Close the connection after half of the body.
    pub(crate) drop_connection: bool,
}

/// All conditions that are named must hold.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct When {
    /// The path is this one.
    path: Option<String>,
    /// The request asks for this model.
    model: Option<String>,
    /// One of its inputs is this text.
    input: Option<String>,
    /// It presents this key.
    key: Option<String>,
}

/// How the `data` of an embeddings answer is wrong.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    /// Last vector first, each with its right index.
    Reversed,
    /// The last vector is missing.
    Short,
    /// One vector too many.
    Long,
    /// Every vector has index 0.
    RepeatedIndex,
    /// The last vector is all NaN.
    Nan,
    /// The last vector is all infinity.
    Infinity,
    /// The last vector is all zeros.
    Zeros,
    /// Every vector has seven numbers.
    WrongDimensions,
    /// The last vector is half as long as the others.
    MixedDimensions,
    /// The last vector is not base64, if base64 was asked.
    BadBase64,
    /// Lists of numbers, though base64 was asked.
    FloatDespiteBase64,
}

impl Fault {
    /// Wait before the status line.
    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }

    /// What stands in place of the body; what is no base64 is left out.
    pub(crate) fn body(&self) -> Option<Bytes> {
        let decoded = || {
            let text = self.body_base64.as_ref()?;
            base64_simd::STANDARD.decode_to_vec(text).ok()
        };
        let text = self.body.clone().map(Bytes::from);
        text.or_else(|| decoded().map(Bytes::from))
    }

    /// Puts its own headers over those of an answer; what is no header is left out.
    pub(crate) fn put_headers(&self, over: &mut HeaderMap) {
        let retry_after = self.retry_after.iter().map(|value| ("retry-after", value));
        let named = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value));
        for (name, value) in retry_after.chain(named) {
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), HeaderValue::from_str(value))
            {
                over.insert(name, value);
            }
        }
    }

    /// The refusal that it asks for.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let refusal = Refusal::of_status(self.status?);
        Some(match &self.message {
            Some(message) => refusal.saying(message.clone()),
            None => refusal,
        })
    }

    fn strikes(&self, call: &Call) -> bool {
        let holds = |wanted: &Option<String>, given: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| given == Some(wanted))
        };
        self.times != Some(0)
            && holds(&self.when.path, Some(&call.path))
            && holds(&self.when.model, call.model())
            && holds(&self.when.key, call.key())
            && self
                .when
                .input
                .as_deref()
                .is_none_or(|text| call.has_input(text))
    }
}

/// The faults of the process, the first that strikes first.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// One fault, or a list of them.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        match serde_json::from_slice(json)? {
            list @ serde_json::Value::Array(_) => serde_json::from_value(list).map(Self),
            one => serde_json::from_value(one).map(|fault| Self(vec![fault])),
        }
    }

    /// The fault that strikes `call`, counted down.
    pub(crate) fn strike(&mut self, call: &Call) -> Option<Fault> {
        let fault = self.0.iter_mut().find(|fault| fault.strikes(call))?;
        fault.times = fault.times.map(|times| times - 1);
        Some(fault.clone())
    }
}
