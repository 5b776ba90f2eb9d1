//! Vectors that are kept to compare later ones with: in the store, so that all gateways have the
//! same, or in this process if there is none. They neither expire nor are purged.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Cache;
use super::store::PinError;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;

/// Those of a process without a store.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<HashMap<Key, Entry>>);

impl Cache {
    /// The pinned entries of all these keys; `None` if any has none.
    pub async fn pinned(&self, keys: &[Key]) -> Result<Option<Vec<Entry>>, PinError> {
        let mut found = Vec::new();
        for key in keys {
            let entry = match &self.stored {
                Some(stored) => stored.store.find(key).await?,
                None => self.pins.get(key),
            };
            found.push(entry);
        }
        Ok(found.into_iter().collect())
    }

    /// Pins entries.
    pub async fn pin(&self, keys: &[Key], entries: &[Entry]) -> Result<(), PinError> {
        for (key, entry) in keys.iter().zip(entries) {
            match &self.stored {
                Some(stored) => stored.store.keep(key, entry).await?,
                None => self.pins.put(*key, entry.clone()),
            }
        }
        Ok(())
    }
}

impl Pins {
    fn get(&self, key: &Key) -> Option<Entry> {
        let pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pins.get(key).cloned()
    }

    fn put(&self, key: Key, entry: Entry) {
        let mut pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pins.insert(key, entry);
    }
}
