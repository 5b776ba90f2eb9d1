//! Deletes markers that say nothing any more: a later one of the same tag, or one of everything,
//! says it too.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::Purges;
use crate::cache::clock::{Clock, millis};
use crate::cache::store::{Marker, MarkerError, Store};
use crate::http::tags::{ALL, Tag};

/// A marker is taken for read by every gateway when it is this old. Before that no other one is
/// deleted for its sake: a list that is being read may be past its place.
pub(super) const SETTLED: Duration = Duration::from_secs(300);

/// Markers that are deleted between two lists; the next ones are deleted after the next list.
const AT_A_TIME: usize = 500;

/// Markers that are deleted side by side.
const AT_ONCE: usize = 16;

/// The markers of one list.
#[derive(Debug, Default)]
pub(super) struct Fold {
    markers: Vec<Marker>,
}

impl Purges {
    /// Deletes what is superseded. Returns whether there is more.
    pub(super) async fn fold(&self, store: &Store, fold: Fold) -> bool {
        let mut superseded = fold.superseded(&self.clock);
        self.forget_superseded();
        let more = superseded.len() > AT_A_TIME;
        superseded.truncate(AT_A_TIME);
        let count = superseded.len();
        let deleted: Result<(), MarkerError> = stream::iter(superseded)
            .map(|marker| async move { store.unmark(&marker).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await;
        match deleted {
            Ok(()) if count > 0 => tracing::info!(count, "old markers of purges deleted"),
            Ok(()) => {}
            // The check of the store's rights has told why, if it is for want of them.
            Err(error) => tracing::debug!(%error, "old markers of purges could not be deleted"),
        }
        more
    }

    /// What a purge of everything says, no other one needs to.
    fn forget_superseded(&self) {
        let all = self.last_of(ALL, ALL);
        let mut markers = self.markers.write().unwrap_or_else(PoisonError::into_inner);
        for (kind, names) in markers.iter_mut() {
            names.retain(|_, time| *time > all || kind == ALL);
        }
    }
}

impl Fold {
    pub(super) fn add(&mut self, marker: Marker) {
        self.markers.push(marker);
    }

    fn superseded(self, clock: &Clock) -> Vec<Marker> {
        let settled = clock.now_ms().saturating_sub(millis(SETTLED));
        let mut newest: HashMap<Tag, u64> = HashMap::new();
        for marker in self
            .markers
            .iter()
            .filter(|marker| marker.time_ms <= settled)
        {
            let time = newest.entry(marker.tag.clone()).or_default();
            *time = marker.time_ms.max(*time);
        }
        let all = newest.get(&Tag::all()).copied().unwrap_or(0);
        let is_superseded = |marker: &Marker| {
            let later = newest.get(&marker.tag).copied().unwrap_or(0);
            let of_all = marker.tag != Tag::all() && marker.time_ms <= all;
            let of_nothing = !marker.tag.is_of_vectors() && marker.time_ms <= settled;
            marker.time_ms < later || of_all || of_nothing
        };
        self.markers.into_iter().filter(is_superseded).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn what_a_later_purge_says_too_is_superseded_once_that_is_settled() {
        let old = NOW - millis(SETTLED) - 1000;
        let (model, scope) = (Tag::model("m"), Tag::scope("s"));
        for (markers, superseded) in [
            (vec![(&model, old), (&model, old - 1)], vec![1]),
            (vec![(&model, old), (&scope, old - 1)], vec![]),
            (
                vec![(&model, NOW), (&model, NOW - 1), (&model, old)],
                vec![],
            ),
            (
                vec![(&model, NOW), (&model, old), (&model, old - 5)],
                vec![2],
            ),
            (
                vec![
                    (&Tag::all(), old),
                    (&model, old),
                    (&scope, 1),
                    (&model, old + 1),
                ],
                vec![1, 2],
            ),
            (vec![(&Tag::all(), old), (&Tag::all(), old - 1)], vec![1]),
            (vec![(&Tag::all(), NOW), (&model, old)], vec![]),
            (
                vec![(&Tag::new("", "docs"), old), (&Tag::new("kind", "x"), NOW)],
                vec![0],
            ),
        ] {
            let mut fold = Fold::default();
            for (tag, time) in &markers {
                fold.add(Marker::new((*tag).clone(), *time));
            }
            let found = fold.superseded(&Clock::starting_at(NOW));
            let found: Vec<_> = found
                .iter()
                .map(|marker| (&marker.tag, marker.time_ms))
                .collect();
            let expected: Vec<_> = superseded.iter().map(|&place| markers[place]).collect();
            assert_eq!(found, expected, "{markers:?}");
        }
    }
}
