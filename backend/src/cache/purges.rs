//! Purges: entries that are older than a purge count as missing.
//!
//! A purge is a marker in the store, an object without content whose name says what and when:
//! `purge/<kind>/<name>/<Unix milliseconds>`. Every gateway lists the markers every few seconds.
//! A purge deletes nothing: each vector holds the time of its call, and the gateway serves none
//! that is older than its marker. The bucket's lifecycle rule deletes the objects. [`watch`] lists
//! the markers and deletes those that say nothing any more.

mod fold;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::clock::{Clock, TOLERANCE, millis};
use super::store::{Marker, MarkerError, Store};
use super::throttled_log::ThrottledLog;
use crate::http::tags::{self, Tag};

/// Markers of one purge that are written side by side.
const MARKS_AT_ONCE: usize = 32;

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
    /// When the last complete list of the markers began; at first, when the gateway started.
    listed: Mutex<Instant>,
    failed: ThrottledLog,
    clock: Arc<Clock>,
}

/// The store did not take the marker, so other gateways do not know of the purge.
#[derive(Debug, thiserror::Error)]
#[error("the purge is not known to other gateways")]
pub struct PurgeNotShared;

impl Purges {
    /// Purges that all gateways on `store` share; without a store, those of this process.
    pub fn new(store: Option<Arc<Store>>, clock: Arc<Clock>) -> Self {
        let known = AtomicBool::new(store.is_none());
        Self {
            store,
            markers: RwLock::default(),
            latest_ms: AtomicU64::new(0),
            known,
            listed: Mutex::new(Instant::now()),
            failed: ThrottledLog::default(),
            clock,
        }
    }

    /// The purges that these markers tell of, for a program that serves nothing. One from the
    /// future counts from now on.
    pub(super) fn told_by(markers: impl IntoIterator<Item = Marker>, clock: Arc<Clock>) -> Self {
        let purges = Self::new(None, clock);
        let now_ms = purges.clock.now_ms();
        for marker in markers {
            purges.note(&marker.tag, marker.time_ms.min(now_ms));
        }
        purges
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

    /// How old the knowledge of other gateways' purges is; `None` where there are no others.
    pub fn age(&self) -> Option<Duration> {
        self.store.as_ref()?;
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        Some(listed.elapsed())
    }

    /// Purges everything with one of `tags`: in this process at once, in others within seconds.
    pub async fn purge(&self, tags: &[Tag]) -> Result<(), PurgeNotShared> {
        let Some(store) = &self.store else {
            self.purge_here(tags).await;
            return Ok(());
        };
        if !self.clock.is_compared() {
            store.tell_time().await;
        }
        let difference_ms = self.clock.difference_ms();
        let time_ms = self.purge_here(tags).await;
        self.spread(store, tags, time_ms).await?;
        let moved_ms = self.clock.difference_ms().abs_diff(difference_ms);
        if moved_ms > millis(TOLERANCE) {
            // The store has just told that the markers' time is not its own.
            let time_ms = self.purge_here(tags).await;
            self.spread(store, tags, time_ms).await?;
        }
        Ok(())
    }

    /// Returns the time of the purge, which is over then: calls that begin after the answer to the
    /// purge must be younger than it.
    async fn purge_here(&self, tags: &[Tag]) -> u64 {
        let now = self.clock.now_ms();
        tags.iter().for_each(|tag| self.set(tag.clone(), now));
        while self.clock.now_ms() <= now {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        now
    }

    async fn spread(
        &self,
        store: &Store,
        tags: &[Tag],
        time_ms: u64,
    ) -> Result<(), PurgeNotShared> {
        let marks =
            stream::iter(tags.to_vec()).map(|tag| async move { store.mark(&tag, time_ms).await });
        let marked: Result<(), MarkerError> =
            marks.buffer_unordered(MARKS_AT_ONCE).try_collect().await;
        marked.map_err(|error| {
            tracing::warn!(%error, "a purge could not be written to the store");
            PurgeNotShared
        })
    }

    fn last_of(&self, kind: &str, name: &str) -> u64 {
        let markers = self.markers.read().unwrap_or_else(PoisonError::into_inner);
        let last = markers.get(kind).and_then(|names| names.get(name));
        last.copied().unwrap_or(0)
    }

    /// Takes note of a purge, unless there was a later one.
    fn note(&self, tag: &Tag, time: u64) {
        if self.last_of(tag.kind(), tag.name()) < time {
            self.set(tag.clone(), time);
        }
    }

    /// Takes note of a purge that is the last one.
    fn set(&self, tag: Tag, time: u64) {
        let mut markers = self.markers.write().unwrap_or_else(PoisonError::into_inner);
        let (kind, name) = tag.into_parts();
        markers.entry(kind).or_default().insert(name, time);
        self.latest_ms.fetch_max(time, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_latest_purge_that_concerns_an_entry_counts() {
        let purges = Purges::new(None, Arc::default());
        assert_eq!(purges.last("m", "s"), 0);
        purges.note(&Tag::model("m"), 5);
        purges.note(&Tag::model("m"), 3);
        assert_eq!(purges.last("m", "s"), 5);
        assert_eq!(purges.last("n", "s"), 0);
        purges.note(&Tag::scope("s"), 7);
        assert_eq!(purges.last("m", "s"), 7);
        purges.note(&Tag::all(), 9);
        assert_eq!(purges.last("n", "t"), 9);
        purges.note(&Tag::model("ö"), 11);
        assert_eq!(purges.last("ö", "t"), 11);
    }

    #[tokio::test]
    async fn what_is_younger_than_its_purge_was_not_purged_since() {
        let purges = Purges::new(None, Arc::default());
        assert!(!purges.since("m", "s", 1));
        purges.note(&Tag::model("m"), 5);
        for (time_ms, purged) in [(4, true), (5, true), (6, false)] {
            assert_eq!(purges.since("m", "s", time_ms), purged, "{time_ms}");
            assert!(!purges.since("n", "s", time_ms));
        }
    }
}
