//! What requests have in common, hashed once: most requests of one caller differ in their inputs alone.

use std::sync::Arc;

use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use super::{KeyBuilder, KeyScope};
use crate::embeddings::request::EmbeddingRequest;

/// Bound on the builders that are kept.
const KEPT: usize = 1024;

/// What has more text in common is hashed anew each time: a client may send a query of any length.
const MAX_BYTES: usize = 1024;

/// The key builders of the latest requests.
#[derive(Debug)]
pub struct KeyBuilders(Cache<Common, KeyBuilder>);

/// All that decides a builder, where a request has no further fields in its keys.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Common {
    scope: KeyScope,
    model: Arc<str>,
    dimensions: Option<u32>,
}

/// The same, borrowed. Its fields stand in the same order, for an equal hash.
#[derive(Hash)]
struct CommonRef<'a> {
    scope: &'a KeyScope,
    model: &'a str,
    dimensions: Option<u32>,
}

impl Equivalent<Common> for CommonRef<'_> {
    fn equivalent(&self, common: &Common) -> bool {
        *self.scope == common.scope
            && *self.model == *common.model
            && self.dimensions == common.dimensions
    }
}

impl Default for KeyBuilders {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl KeyBuilders {
    /// The builder of the keys of `request` in `scope`, as [`KeyBuilder::new`] makes it.
    pub fn get(&self, scope: &KeyScope, request: &EmbeddingRequest) -> KeyBuilder {
        // As KeyBuilder::new has it: what is new in a request belongs into `Common`, or out of the keys.
        let EmbeddingRequest {
            model,
            dimensions,
            extra,
            encoding: _,
            unkeyed: _,
            inputs: _,
        } = request;
        if !extra.is_empty() || scope.bytes() + model.len() > MAX_BYTES {
            return KeyBuilder::new(scope, request);
        }
        let dimensions = *dimensions;
        let common = CommonRef {
            scope,
            model,
            dimensions,
        };
        if let Some(keys) = self.0.get(&common) {
            return keys;
        }
        let keys = KeyBuilder::new(scope, request);
        let common = Common {
            scope: scope.clone(),
            model: Arc::clone(model),
            dimensions,
        };
        self.0.insert(common, keys.clone());
        keys
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::embeddings::request::{self, Parsed, Rules};

    fn request(body: &str) -> EmbeddingRequest {
        let rules = Rules {
            max_inputs: 1,
            max_input_bytes: 10,
            cacheable_fields: vec!["x".into()],
        };
        match request::parse(&Bytes::copy_from_slice(body.as_bytes()), &rules) {
            Ok(Parsed::Understood(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn scope(upstream: &str) -> KeyScope {
        KeyScope {
            namespace: "".into(),
            upstream: upstream.into(),
            scope: "".into(),
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let builders = KeyBuilders::default();
        let one = request(r#"{"model":"m","input":"a"}"#);
        builders.get(&scope(&"u".repeat(MAX_BYTES)), &one);
        let more = request(r#"{"model":"m","input":"a","x":1}"#);
        builders.get(&scope("u"), &more);
        assert_eq!(builders.0.len(), 0);
        for number in 0..2 * KEPT {
            builders.get(&scope(&number.to_string()), &one);
        }
        assert!((1..=KEPT).contains(&builders.0.len()));
    }
}
