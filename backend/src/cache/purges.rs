//! Purges: entries that are older than a purge count as missing.
//!
//! A purge is a marker in the store, an object without content whose name says what and when:
//! `purge/<kind>/<name>/<Unix milliseconds>`. Every gateway lists the markers every few seconds.
//! A purge deletes nothing: each vector holds the time of its call, and the gateway serves none
//! that is older than its marker. The bucket's lifecycle rule deletes the objects.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::store::Store;
use crate::embeddings::clock::unix_ms;
use crate::http::tags::{self, Tag};

/// Pause between two lists of the markers: every gateway must see a purge within 5 s.
const INTERVAL: Duration = Duration::from_secs(2);

/// Which tags were purged when.
#[derive(Debug)]
pub struct Purges {
    /// The store that holds all gateways' purges; `None` without a store.
    store: Option<Arc<Store>>,
    /// The last purge by kind and name, in Unix milliseconds.
    markers: RwLock<HashMap<String, HashMap<String, u64>>>,
    /// The last purge of any tag, in Unix milliseconds.
    latest_ms: AtomicU64,
    known: AtomicBool,
}

/// The store did not take the marker, so other gateways do not know of the purge.
#[derive(Debug, thiserror::Error)]
#[error("the purge is not known to other gateways")]
pub struct NotSpread;

impl Purges {
    /// Purges that all gateways on `store` share; without a store, those of this process.
    pub fn new(store: Option<Arc<Store>>) -> Self {
        let known = AtomicBool::new(store.is_none());
        Self {
            store,
            markers: RwLock::default(),
            latest_ms: AtomicU64::new(0),
            known,
        }
    }

    /// Whether the markers were read at least once. Before that, the gateway serves nothing from
    /// the store.
    pub fn are_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// When a model, a scope or everything was last purged, in Unix milliseconds.
    pub fn last(&self, model: &str, scope: &str) -> u64 {
        let markers = self.markers.read().unwrap_or_else(PoisonError::into_inner);
        if markers.is_empty() {
            return 0;
        }
        let last = |kind, name| Some(*markers.get(kind)?.get(&*tags::safe(name))?);
        let times = [
            last(tags::MODEL, model),
            last(tags::SCOPE, scope),
            last(tags::ALL, tags::ALL),
        ];
        times.into_iter().flatten().max().unwrap_or(0)
    }

    /// Whether a model, a scope or everything was purged at that time or later.
    pub fn since(&self, model: &str, scope: &str, time_ms: u64) -> bool {
        self.latest() >= time_ms && self.last(model, scope) >= time_ms
    }

    /// When any tag was purged last, in Unix milliseconds.
    pub fn latest(&self) -> u64 {
        self.latest_ms.load(Ordering::Relaxed)
    }

    /// Whether a scope was purged by name after that time.
    pub fn scope_after(&self, scope: &str, time_ms: u64) -> bool {
        self.latest() > time_ms && self.last_of(tags::SCOPE, scope) > time_ms
    }

    /// Purges everything with one of `tags`: in this process at once, in others within seconds.
    pub async fn purge(&self, tags: &[Tag]) -> Result<(), NotSpread> {
        let now = unix_ms();
        tags.iter().for_each(|tag| self.note(tag.clone(), now));
        // Calls that begin after the answer to the purge must be younger than the purge.
        while unix_ms() <= now {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let Some(store) = &self.store else {
            return Ok(());
        };
        for tag in tags {
            store.mark(tag, now).await.map_err(|error| {
                tracing::warn!(%error, "a purge could not be written to the store");
                NotSpread
            })?;
        }
        Ok(())
    }

    /// Lists other gateways' purges for as long as it is polled.
    pub async fn watch(&self) -> Infallible {
        let Some(store) = &self.store else {
            return std::future::pending().await;
        };
        let mut interval = tokio::time::interval(INTERVAL);
        let mut failing = false;
        loop {
            interval.tick().await;
            match store.markers().await {
                Ok(markers) => {
                    markers
                        .into_iter()
                        .for_each(|(tag, time)| self.note(tag, time));
                    self.known.store(true, Ordering::Relaxed);
                    failing = false;
                }
                Err(error) if !failing => {
                    tracing::warn!(%error, "purges cannot be listed in the store");
                    failing = true;
                }
                Err(_) => {}
            }
        }
    }

    fn last_of(&self, kind: &str, name: &str) -> u64 {
        let markers = self.markers.read().unwrap_or_else(PoisonError::into_inner);
        let last = markers.get(kind).and_then(|names| names.get(name));
        last.copied().unwrap_or(0)
    }

    fn note(&self, tag: Tag, time: u64) {
        let mut markers = self.markers.write().unwrap_or_else(PoisonError::into_inner);
        let (kind, name) = tag.into_parts();
        let last = markers.entry(kind).or_default().entry(name).or_default();
        *last = time.max(*last);
        self.latest_ms.fetch_max(time, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_latest_purge_that_concerns_an_entry_counts() {
        let purges = Purges::new(None);
        assert_eq!(purges.last("m", "s"), 0);
        purges.note(Tag::model("m"), 5);
        purges.note(Tag::model("m"), 3);
        assert_eq!(purges.last("m", "s"), 5);
        assert_eq!(purges.last("n", "s"), 0);
        purges.note(Tag::scope("s"), 7);
        assert_eq!(purges.last("m", "s"), 7);
        purges.note(Tag::all(), 9);
        assert_eq!(purges.last("n", "t"), 9);
        purges.note(Tag::model("ö"), 11);
        assert_eq!(purges.last("ö", "t"), 11);
    }

    #[tokio::test]
    async fn what_is_younger_than_its_purge_was_not_purged_since() {
        let purges = Purges::new(None);
        assert!(!purges.since("m", "s", 1));
        purges.note(Tag::model("m"), 5);
        for (time_ms, purged) in [(4, true), (5, true), (6, false)] {
            assert_eq!(purges.since("m", "s", time_ms), purged, "{time_ms}");
            assert!(!purges.since("n", "s", time_ms));
        }
    }
}
