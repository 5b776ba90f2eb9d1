//! The headers that make up a caller's credential, and digests that name it without revealing it.
//!
//! [`CREDENTIAL_HEADERS`] is the only list; the operator adds to it by `FORWARD_HEADERS`. Varnish has
//! the same in its key.

use std::fmt;

use http::header::{AUTHORIZATION, Entry, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode;
use sha2::{Digest, Sha256};

use crate::http::headers;

/// The headers that together make up a caller's credential.
pub const CREDENTIAL_HEADERS: [HeaderName; 5] = [
    AUTHORIZATION,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
];

/// Domain separation: another program's SHA-256 of the same key is no credential's name here.
const DOMAIN: &[u8] = b"embedding-gateway credential 1";

/// Members of a query that hold a credential, in lower case. The cache in front passes requests
/// with the same ones.
pub const CREDENTIAL_QUERIES: [&str; 12] = [
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "auth",
    "authorization",
    "code",
    "key",
    "sig",
    "signature",
    "subscription-key",
    "token",
];

/// Whether a query may hold a credential, however its names are spelt.
pub fn in_query(query: &str) -> bool {
    let mut members = query.split(['&', ';']);
    members.any(|member| {
        let name = member.split('=').next().unwrap_or_default();
        let name: Vec<u8> = percent_decode(name.as_bytes()).collect();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        CREDENTIAL_QUERIES.iter().any(|known| is(known))
    })
}

/// A credential's name among us: a one-way digest of all its headers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CredentialId([u8; 32]);

/// A caller's credential: the headers as they came, marked as sensitive.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its name.
    pub id: CredentialId,
    /// The headers that go upstream.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Credential {
    /// Takes the credential out of a request's headers. `further` names headers that are part of
    /// it, too, in order; a caller without any of them has the same name with and without the list.
    pub fn take(headers: &mut HeaderMap, further: &[HeaderName]) -> Self {
        let mut own = Vec::new();
        let mut digest = Sha256::new_with_prefix(DOMAIN);
        for name in &CREDENTIAL_HEADERS {
            let begin = own.len();
            take_values(headers, name, &mut own);
            digest_values(&mut digest, &own[begin..]);
        }
        for name in further {
            let begin = own.len();
            take_values(headers, name, &mut own);
            if own.len() > begin {
                digest_bytes(&mut digest, name.as_str().as_bytes());
                digest_values(&mut digest, &own[begin..]);
            }
        }
        Self {
            id: CredentialId(digest.finalize().into()),
            headers: own,
        }
    }

    /// The name of the key alone, the same wherever the caller presents it. What holds no key has
    /// the name of all its headers.
    pub fn key_id(&self) -> CredentialId {
        let bearer = self.key().map(|key| [b"Bearer ", key].concat());
        let bearer = bearer.and_then(|bearer| HeaderValue::try_from(bearer).ok());
        bearer.map_or(self.id, |bearer| {
            Self::take(&mut HeaderMap::from_iter([(AUTHORIZATION, bearer)]), &[]).id
        })
    }

    /// The key that the caller presents: the bearer token, or the value of a header that holds
    /// nothing but a key.
    pub fn key(&self) -> Option<&[u8]> {
        let [authorization, api_key, x_api_key, _, _] = &CREDENTIAL_HEADERS;
        let value = |wanted: &HeaderName| {
            let mut found = self.headers.iter().filter(|(name, _)| name == wanted);
            found.next().map(|(_, value)| value.as_bytes())
        };
        match value(authorization) {
            Some(value) => bearer(value),
            None => value(api_key).or_else(|| value(x_api_key)),
        }
    }
}

/// Moves the values of a header out of the others, marked as sensitive.
fn take_values(
    headers: &mut HeaderMap,
    name: &HeaderName,
    own: &mut Vec<(HeaderName, HeaderValue)>,
) {
    if !headers::has(headers, name) {
        return;
    }
    if let Entry::Occupied(taken) = headers.entry(name) {
        own.extend(taken.remove_entry_mult().1.map(|mut value| {
            value.set_sensitive(true);
            (name.clone(), value)
        }));
    }
}

fn digest_values(digest: &mut Sha256, values: &[(HeaderName, HeaderValue)]) {
    digest.update((values.len() as u64).to_le_bytes());
    values
        .iter()
        .for_each(|(_, value)| digest_bytes(digest, value.as_bytes()));
}

fn digest_bytes(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

impl CredentialId {
    /// 64 lower-case hex digits.
    pub fn digits(&self) -> const_hex::Buffer<32> {
        let mut digits = const_hex::Buffer::new();
        digits.format(&self.0);
        digits
    }
}

/// 64 lower-case hex digits.
impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits().as_str())
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialId({self})")
    }
}

#[cfg(test)]
mod tests;
