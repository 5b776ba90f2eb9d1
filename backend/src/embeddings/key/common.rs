//! What requests have in common, hashed once: most requests of one caller differ in their inputs alone.

use std::sync::Arc;

use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use super::{KeyBuilder, KeyScope};
use crate::embeddings::request::EmbeddingRequest;

/// Bound on the builders that are kept.
const MAX_KEPT: usize = 1024;

/// What has more text in common is hashed anew each time: a client may send a query of any length.
const MAX_BYTES: usize = 1024;

/// The key builders of the latest requests.
#[derive(Debug)]
pub struct KeyBuilders(Cache<Kept, KeyBuilder>);

/// All that decides a builder.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Kept {
    scope: KeyScope,
    model: Arc<str>,
    dimensions: Option<u32>,
    extra: Box<str>,
}

/// The same, borrowed. Its fields stand in the same order, for an equal hash.
#[derive(Hash)]
pub(super) struct Common<'a> {
    pub(super) scope: &'a KeyScope,
    pub(super) model: &'a Arc<str>,
    pub(super) dimensions: Option<u32>,
    pub(super) extra: &'a str,
}

impl<'a> Common<'a> {
    pub(super) fn of(scope: &'a KeyScope, request: &'a EmbeddingRequest) -> Self {
        // The encoding and the unkeyed fields do not change the vector; the inputs are named one by one.
        let EmbeddingRequest {
            model,
            dimensions,
            extra,
            encoding: _,
            unkeyed: _,
            inputs: _,
        } = request;
        Self {
            scope,
            model,
            dimensions: *dimensions,
            extra,
        }
    }

    /// Bytes of text.
    fn bytes(&self) -> usize {
        let KeyScope {
            namespace,
            upstream,
            scope,
        } = self.scope;
        let texts: [&str; 5] = [namespace, upstream, scope, self.model, self.extra];
        texts.iter().map(|text| text.len()).sum()
    }

    fn kept(&self) -> Kept {
        Kept {
            scope: self.scope.clone(),
            model: Arc::clone(self.model),
            dimensions: self.dimensions,
            extra: self.extra.into(),
        }
    }
}

impl Equivalent<Kept> for Common<'_> {
    fn equivalent(&self, kept: &Kept) -> bool {
        *self.scope == kept.scope
            && **self.model == *kept.model
            && self.dimensions == kept.dimensions
            && *self.extra == *kept.extra
    }
}

impl Default for KeyBuilders {
    fn default() -> Self {
        Self(Cache::new(MAX_KEPT))
    }
}

impl KeyBuilders {
    /// The builder of the keys of `request` in `scope`, as [`KeyBuilder::new`] makes it.
    pub fn get(&self, scope: &KeyScope, request: &EmbeddingRequest) -> KeyBuilder {
        let common = Common::of(scope, request);
        if common.bytes() > MAX_BYTES {
            return KeyBuilder::of(&common);
        }
        if let Some(keys) = self.0.get(&common) {
            return keys;
        }
        let keys = KeyBuilder::of(&common);
        self.0.insert(common.kept(), keys.clone());
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
        let extra = "x".repeat(MAX_BYTES);
        let more = request(&format!(r#"{{"model":"m","input":"a","x":"{extra}"}}"#));
        builders.get(&scope("u"), &more);
        assert_eq!(builders.0.len(), 0);
        for number in 0..2 * MAX_KEPT {
            builders.get(&scope(&number.to_string()), &one);
        }
        assert!((1..=MAX_KEPT).contains(&builders.0.len()));
    }
}
