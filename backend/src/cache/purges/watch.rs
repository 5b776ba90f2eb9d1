//! Lists the markers of purges, over and over.
//!
//! A list is read page by page, and a purge counts as soon as its marker was read. Where a list
//! breaks off the next one goes on, so that even a long list on a slow store comes to its end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use object_store::path::Path;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Purges;
use super::fold::{Fold, SETTLED};
use crate::cache::clock::Clock;
use crate::cache::store::{Marker, MarkerError, Store};

/// Pause between two lists of the markers: every gateway must see a purge within 5 s.
const INTERVAL: Duration = Duration::from_secs(2);

/// For one page of a list, at first and at most: it doubles with each page that takes longer.
const PATIENCE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(30)];

/// One list of all markers, perhaps in several attempts.
#[derive(Debug)]
struct Pass {
    began: Instant,
    after: Option<Path>,
    patience: Duration,
    /// The markers so far, if it is time to fold them.
    fold: Option<Fold>,
}

/// Markers of a time that is still to come, by the store's clock and by this process's: for each,
/// when it was seen first.
#[derive(Debug, Default)]
struct Ahead(HashMap<Path, u64>);

impl Purges {
    /// Lists other gateways' purges for as long as it is polled.
    pub async fn watch(&self) -> Infallible {
        let Some(store) = &self.store else {
            return std::future::pending().await;
        };
        let mut interval = interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut pass, mut ahead) = (Pass::new(true), Ahead::default());
        let mut folded = Instant::now();
        loop {
            interval.tick().await;
            match self.go_on(store, &mut pass, &mut ahead).await {
                Ok(()) => {
                    self.is_listed(pass.began);
                    let more = match pass.fold.take() {
                        Some(fold) => {
                            folded = Instant::now();
                            self.fold(store, fold).await
                        }
                        None => false,
                    };
                    pass = Pass::new(more || folded.elapsed() > SETTLED / 5);
                }
                Err(error) => {
                    pass.grow_patient(&error);
                    if let Some(failures) = self.failed.due() {
                        tracing::warn!(%error, failures, "purges cannot be listed in the store");
                    }
                }
            }
        }
    }

    async fn go_on(
        &self,
        store: &Store,
        pass: &mut Pass,
        ahead: &mut Ahead,
    ) -> Result<(), MarkerError> {
        let fold = &mut pass.fold;
        let each = |marker: Marker| {
            let marker = ahead.believe(marker, &self.clock);
            if marker.tag.is_of_vectors() {
                self.note(&marker.tag, marker.time_ms);
            }
            if let Some(fold) = fold {
                fold.add(marker);
            }
        };
        store
            .read_markers(&mut pass.after, pass.patience, each)
            .await
    }

    /// A list that took long may have missed a marker that took another one's place meanwhile.
    fn is_listed(&self, began: Instant) {
        if began.elapsed() < SETTLED / 2 {
            self.known.store(true, Ordering::Relaxed);
            let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
            *listed = began;
        }
    }
}

impl Pass {
    fn new(folds: bool) -> Self {
        Self {
            began: Instant::now(),
            after: None,
            patience: PATIENCE[0],
            fold: folds.then(Fold::default),
        }
    }

    fn grow_patient(&mut self, error: &MarkerError) {
        if matches!(error, MarkerError::Timeout(_)) {
            self.patience = PATIENCE[1].min(2 * self.patience);
        }
    }
}

impl Ahead {
    /// A marker from the future counts from when it was seen on: until then all that it purges
    /// would be missing.
    fn believe(&mut self, mut marker: Marker, clock: &Clock) -> Marker {
        if clock.is_ahead(marker.time_ms) {
            let seen = self.0.entry(marker.path().clone());
            marker.time_ms = *seen.or_insert_with(|| clock.now_ms());
        } else if !self.0.is_empty() {
            self.0.remove(marker.path());
        }
        marker
    }
}
