//! The second lock on shared caches: an answer may be stored under a body's hash only if the
//! body really has that hash.
//!
//! The filter in the proxy in front computes `X-Body-Hash`, and Varnish keys answers by it. If the
//! filter fails, an answer to another body is `no-store`. So is an answer to a request without the
//! header: a cache that does not key by the body must not store.

use http::header::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use crate::http::headers::X_BODY_HASH;
use crate::telemetry::HashVerdict;

/// Compares the header with the body that arrived.
pub fn verdict(headers: &HeaderMap, body: &[u8]) -> HashVerdict {
    let mut claims = headers.get_all(X_BODY_HASH).iter();
    match (claims.next(), claims.next()) {
        (None, _) => HashVerdict::Absent,
        (Some(claim), None) if is_hash(claim, body) => HashVerdict::Match,
        _ => HashVerdict::Mismatch,
    }
}

fn is_hash(claim: &HeaderValue, body: &[u8]) -> bool {
    let mut digits = const_hex::Buffer::<32>::new();
    *claim == *digits.format(&Sha256::digest(body).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of no bytes (FIPS 180-4).
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn with(claims: &[&'static str]) -> HeaderMap {
        claims
            .iter()
            .map(|claim| (X_BODY_HASH, HeaderValue::from_static(claim)))
            .collect()
    }

    #[test]
    fn only_the_one_right_hash_matches() {
        assert_eq!(verdict(&with(&[EMPTY]), b""), HashVerdict::Match);
        assert_eq!(verdict(&with(&[]), b""), HashVerdict::Absent);
        let upper: &'static str = EMPTY.to_uppercase().leak();
        for wrong in [&[EMPTY, EMPTY][..], &[""], &[&EMPTY[1..]], &[upper], &["x"]] {
            assert_eq!(
                verdict(&with(wrong), b""),
                HashVerdict::Mismatch,
                "{wrong:?}"
            );
        }
        assert_eq!(verdict(&with(&[EMPTY]), b"x"), HashVerdict::Mismatch);
    }
}
