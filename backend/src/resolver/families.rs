//! Families of vectors: those that one model gave for one scope and one set of parameters.
//!
//! Vectors of a family compare with each other, so no answer mixes them with others. A name can be
//! pointed at another model: from the first answer of the other model on, the older vectors are
//! stale. An answer that only differs in its length is doubted until a second call confirms it.

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::embeddings::answer::Unsound;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;

/// Bound on families; what is known of others is learnt anew.
const MAX_FAMILIES: usize = 65_536;

/// What is known of all families.
#[derive(Debug)]
pub(super) struct Families(Cache<Key, Family>);

/// What the vectors of a family have in common.
#[derive(Clone, Debug)]
struct Family {
    model: Arc<str>,
    length: usize,
    /// When the first known vector of this model was created, in Unix milliseconds.
    since_ms: u64,
    /// The length of an answer that did not fit.
    doubted: Option<usize>,
}

impl Family {
    fn of(entry: &Entry) -> Self {
        Self {
            model: Arc::clone(&entry.model),
            length: entry.dimensions(),
            since_ms: entry.created_ms,
            doubted: None,
        }
    }

    fn holds(&self, entry: &Entry) -> bool {
        self.model == entry.model && self.length == entry.dimensions()
    }
}

impl Families {
    pub(super) fn new() -> Self {
        Self(Cache::new(MAX_FAMILIES))
    }

    /// The name of the model, as far as it is known.
    pub(super) fn model(&self, name: &Key) -> Option<Arc<str>> {
        Some(self.0.get(name)?.model)
    }

    /// Whether an entry of a tier is of the family as it is now. A newer one of another model says
    /// what the family is now.
    pub(super) fn is_current(&self, name: &Key, entry: &Entry) -> bool {
        match self.0.get(name) {
            Some(family) if family.holds(entry) => true,
            Some(family) if entry.created_ms <= family.since_ms => false,
            _ => {
                self.0.insert(*name, Family::of(entry));
                true
            }
        }
    }

    /// Judges the upstream's answer, by its first entry.
    pub(super) fn accept(&self, name: &Key, entry: &Entry) -> Result<(), Unsound> {
        let Some(mut family) = self.0.get(name) else {
            self.0.insert(*name, Family::of(entry));
            return Ok(());
        };
        let found = entry.dimensions();
        if family.holds(entry) {
            if family.doubted.take().is_some() {
                self.0.insert(*name, family);
            }
            return Ok(());
        }
        if family.model != entry.model || family.doubted == Some(found) {
            tracing::warn!(
                model = &*entry.model,
                "the upstream answers with other vectors; older ones are stale"
            );
            self.0.insert(*name, Family::of(entry));
            return Ok(());
        }
        let wanted = family.length;
        family.doubted = Some(found);
        self.0.insert(*name, family);
        tracing::warn!(
            model = &*entry.model,
            wanted,
            found,
            "the upstream answers with vectors of another length"
        );
        Err(Unsound::Dimensions {
            index: 0,
            wanted,
            found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(model: &str, numbers: usize, created_ms: u64) -> Entry {
        Entry {
            model: model.into(),
            tokens: 1,
            created_ms,
            vector: vec![1.0; numbers].into_iter().collect(),
        }
    }

    fn name() -> Key {
        [1; 32].into()
    }

    #[test]
    fn another_model_makes_older_vectors_stale() {
        let families = Families::new();
        let (old, new) = (entry("a", 2, 5), entry("b", 2, 9));
        assert!(families.is_current(&name(), &old));
        assert_eq!(families.accept(&name(), &new), Ok(()));
        assert!(families.is_current(&name(), &new));
        assert!(!families.is_current(&name(), &old));
        assert!(families.is_current(&[2; 32].into(), &old));
    }

    #[test]
    fn a_newer_entry_of_a_tier_says_what_the_family_is() {
        let families = Families::new();
        assert!(families.is_current(&name(), &entry("a", 2, 5)));
        assert!(families.is_current(&name(), &entry("b", 2, 9)));
        assert!(!families.is_current(&name(), &entry("a", 2, 5)));
    }

    #[test]
    fn another_length_is_doubted_until_it_is_confirmed() {
        let families = Families::new();
        assert_eq!(families.accept(&name(), &entry("a", 2, 5)), Ok(()));
        let longer = entry("a", 3, 9);
        let doubt = Unsound::Dimensions {
            index: 0,
            wanted: 2,
            found: 3,
        };
        assert_eq!(families.accept(&name(), &longer), Err(doubt.clone()));
        assert_eq!(families.accept(&name(), &entry("a", 2, 10)), Ok(()));
        assert_eq!(families.accept(&name(), &longer), Err(doubt));
        assert_eq!(families.accept(&name(), &longer), Ok(()));
        assert!(!families.is_current(&name(), &entry("a", 2, 5)));
    }
}
