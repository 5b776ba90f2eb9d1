//! Decides who may PURGE, for the gateway and the broadcaster alike.

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::PurgeRule;

impl PurgeRule {
    /// Whether a request with these headers may purge.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let Self::Token(token) = self else {
            return true;
        };
        let presented = headers
            .get(AUTHORIZATION)
            .map_or(&b""[..], HeaderValue::as_bytes);
        let expected = format!("Bearer {}", token.expose_secret());
        // Digests have equal lengths, so the comparison reveals nothing about the token.
        let digests = (Sha256::digest(presented), Sha256::digest(expected));
        digests.0.as_slice().ct_eq(digests.1.as_slice()).into()
    }
}
