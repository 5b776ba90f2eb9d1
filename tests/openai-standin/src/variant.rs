//! Other vectors on request: of a later generation of the models, and of each key its own.

use serde::{Deserialize, Serialize};

/// What vectors depend on besides the request's body.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Variant {
    /// As if the models behind the names had been exchanged this often.
    generation: u64,
    /// Whether each key has vectors of its own: a cache that confuses two callers serves a vector
    /// that is visibly wrong.
    by_key: bool,
}

impl Variant {
    /// The variant's part of a vector's seed; empty unless something was asked for.
    pub(crate) fn seed(&self, key: Option<&str>) -> String {
        let key = key.filter(|_| self.by_key).unwrap_or_default();
        match (self.generation, key) {
            (0, "") => String::new(),
            (generation, key) => format!("{generation} {key}"),
        }
    }
}
