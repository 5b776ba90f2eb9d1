//! The key of a vector: SHA-256 over everything that decides which numbers an upstream answers.
//!
//! Each part is preceded by its length, so no letter can move from one part to its neighbour.
//! The input comes last: all that a batch shares is hashed once.

mod common;

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use self::common::Common;
pub use self::common::KeyBuilders;
use super::request::{EmbeddingRequest, Input, InputKind, tokens};

/// Changes when the meaning of any part below changes. Each new value starts an empty cache.
const KEY_VERSION: &[u8] = b"embedding-gateway key 1";

/// The parts of a key that the request does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyScope {
    /// The operator's name for this cache; another name is another, empty cache.
    pub namespace: Arc<str>,
    /// The upstream: its normalised base URL, or the operator's name for it.
    pub upstream: Arc<str>,
    /// The scope of the callers that share the vectors.
    pub scope: Arc<str>,
}

/// The key of one vector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

/// Computes the keys of one request's inputs.
#[derive(Clone, Debug)]
pub struct KeyBuilder {
    shared: Sha256,
    family: Key,
}

impl KeyScope {
    /// The same key scope, with vectors shared in `scope`.
    #[must_use]
    pub fn with_scope(&self, scope: &Arc<str>) -> Self {
        Self {
            scope: Arc::clone(scope),
            ..self.clone()
        }
    }
}

impl Key {
    /// The 32 bytes themselves.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Key {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// 64 lower-case hex digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(const_hex::Buffer::<32>::new().format(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl KeyBuilder {
    /// The keys of the inputs of `request` in `scope`.
    pub fn new(scope: &KeyScope, request: &EmbeddingRequest) -> Self {
        Self::of(&Common::of(scope, request))
    }

    fn of(common: &Common<'_>) -> Self {
        let Common {
            scope,
            model,
            dimensions,
            extra,
        } = common;
        let dimensions = dimensions.map(u32::to_le_bytes);
        let mut shared = Sha256::new();
        part(&mut shared, KEY_VERSION);
        part(&mut shared, scope.namespace.as_bytes());
        part(&mut shared, scope.upstream.as_bytes());
        part(&mut shared, scope.scope.as_bytes());
        part(&mut shared, model.as_bytes());
        part(
            &mut shared,
            dimensions.as_ref().map_or(&[], <[u8; 4]>::as_slice),
        );
        part(&mut shared, extra.as_bytes());
        let family = Key(shared.clone().finalize().into());
        Self { shared, family }
    }

    /// The name of what all inputs of the request have in common. No input has it as its key: a
    /// key has two more parts.
    pub fn family(&self) -> Key {
        self.family
    }

    /// The key of one input's vector.
    pub fn key(&self, input: &Input) -> Key {
        let mut hash = self.shared.clone();
        match input.kind {
            InputKind::Text => {
                part(&mut hash, b"text");
                text_part(&mut hash, &input.raw);
            }
            InputKind::Tokens(_) => {
                part(&mut hash, b"tokens");
                part(&mut hash, &token_bytes(&input.raw));
            }
        }
        Key(hash.finalize().into())
    }
}

fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// The text that a JSON string stands for. Without an escape it is what is between the quotes.
fn text_part(hash: &mut Sha256, raw: &[u8]) {
    match raw {
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => part(hash, text),
        _ => {
            let text: String = serde_json::from_slice(raw).unwrap_or_default();
            part(hash, text.as_bytes());
        }
    }
}

fn token_bytes(raw: &[u8]) -> Vec<u8> {
    let tokens = std::str::from_utf8(raw)
        .ok()
        .and_then(tokens)
        .unwrap_or_default();
    tokens.into_iter().flat_map(u32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests;
