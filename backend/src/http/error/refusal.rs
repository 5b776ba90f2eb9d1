//! An upstream's error, which the client gets unchanged or as part of the gateway's own words.

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;
use serde_json::Value;

use super::is_of_credential;

/// Of an upstream's message, as part of the gateway's own.
const MAX_WORDS: usize = 500;

/// An upstream's error, as the client gets it.
#[derive(Debug)]
pub struct UpstreamRefusal {
    /// Its status.
    pub status: StatusCode,
    /// Those of its headers that the client may see.
    pub headers: HeaderMap,
    /// Its body, untouched.
    pub body: Bytes,
    /// The inputs of the refused embeddings call.
    pub inputs: usize,
}

impl UpstreamRefusal {
    /// Whether the upstream does not accept the credential of the call.
    pub fn is_of_credential(&self) -> bool {
        is_of_credential(self.status)
    }

    /// Its message, in any of the envelopes that upstreams use.
    pub(super) fn words(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        let error = body.get("error").unwrap_or(&body);
        let texts = [Some(error), error.get("message"), error.get("detail")];
        let words = texts.into_iter().flatten().find_map(Value::as_str)?;
        Some(words.chars().take(MAX_WORDS).collect())
    }
}
