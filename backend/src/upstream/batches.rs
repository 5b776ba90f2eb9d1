//! Collects what arrives within a window, up to the limits of a call, for one call.
//!
//! It knows neither requests nor answers. The first to arrive leads: it waits for the window's end,
//! or until nothing more fits, and gets all that arrived meanwhile.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::call_limits::Size;

/// The batches that still take members, one for each key: what has equal keys may share a call.
#[derive(Debug)]
pub struct Batches<K, M> {
    window: Duration,
    open: Mutex<HashMap<K, Open<M>>>,
    /// A batch that was closed must not be taken for the next one of its key.
    next_id: AtomicU64,
}

#[derive(Debug)]
struct Open<M> {
    id: u64,
    size: Size,
    members: Vec<M>,
    closed: oneshot::Sender<Vec<M>>,
}

/// The lead of a batch. If it is dropped, the batch ends, and its members with it.
#[derive(Debug)]
pub struct Collecting<'a, K: Eq + Hash, M> {
    batches: &'a Batches<K, M>,
    key: K,
    id: u64,
    members: oneshot::Receiver<Vec<M>>,
}

impl<K: Eq + Hash + Clone, M> Batches<K, M> {
    /// Batches that take members for so long; none if that is no time.
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            open: Mutex::default(),
            next_id: AtomicU64::default(),
        }
    }

    /// Whether anything is collected at all.
    pub fn are_on(&self) -> bool {
        !self.window.is_zero()
    }

    /// Becomes a member of the open batch, or leads a new one if there is none that it fits into.
    pub fn enter(
        &self,
        key: &K,
        size: Size,
        fits: impl Fn(Size) -> bool,
        member: impl FnOnce() -> M,
    ) -> Option<Collecting<'_, K, M>> {
        let mut open = self.open();
        if let Some(batch) = open.get_mut(key) {
            let whole = batch.size + size;
            let takes = fits(whole);
            if takes {
                batch.size = whole;
                batch.members.push(member());
            }
            if !takes || !fits(whole + Size::LEAST) {
                open.remove(key).into_iter().for_each(Open::close);
            }
            if takes {
                return None;
            }
        }
        let (closed, members) = oneshot::channel();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let batch = Open {
            id,
            size,
            members: Vec::new(),
            closed,
        };
        open.insert(key.clone(), batch);
        Some(Collecting {
            batches: self,
            key: key.clone(),
            id,
            members,
        })
    }
}

impl<K, M> Batches<K, M> {
    fn open(&self) -> MutexGuard<'_, HashMap<K, Open<M>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Open<M> {
    /// Hands the members to their leader; without a leader they end.
    fn close(self) {
        let _no_leader = self.closed.send(self.members);
    }
}

impl<K: Eq + Hash, M> Collecting<'_, K, M> {
    /// The other members, at the end of the window, or when nothing more fits.
    pub async fn members(mut self) -> Vec<M> {
        tokio::select! {
            members = &mut self.members => members.unwrap_or_default(),
            () = sleep(self.batches.window) => {
                let own = self.take_own();
                // Closed at the last moment.
                own.or_else(|| self.members.try_recv().ok()).unwrap_or_default()
            }
        }
    }

    fn take_own(&self) -> Option<Vec<M>> {
        let mut open = self.batches.open();
        let is_own = open.get(&self.key).is_some_and(|batch| batch.id == self.id);
        let own = is_own.then(|| open.remove(&self.key)).flatten()?;
        Some(own.members)
    }
}

impl<K: Eq + Hash, M> Drop for Collecting<'_, K, M> {
    fn drop(&mut self) {
        drop(self.take_own());
    }
}

#[cfg(test)]
mod tests;
