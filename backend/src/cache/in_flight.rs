//! Coalesces misses: requests for an input that is in flight wait for it instead of paying again.
//!
//! The first request to claim an input is its leader, later ones are waiters. A leader owes its
//! waiters an outcome. If its task dies, its drop tells them, so no waiter waits for ever.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::embeddings::key::Key;
use crate::http::credentials::CredentialId;

/// Locks over which claims are spread by key; a power of two.
const SHARDS: usize = 64;

/// Which requests may wait: all that may have hits, or those of one credential without hits yet.
type WaitScope = Option<CredentialId>;

type Shard<T> = HashMap<(Key, WaitScope), watch::Receiver<Option<T>>>;

/// All inputs in flight. `T` is the outcome of one.
#[derive(Debug)]
pub struct InFlight<T> {
    shards: Box<[Mutex<Shard<T>>]>,
}

/// The outcome of a claim.
#[derive(Debug)]
pub enum Claim<T> {
    /// The input was not in flight; now this request leads.
    Leader(Leader<T>),
    /// Another request leads.
    Waiter(Waiter<T>),
}

/// The duty to bring an input's outcome.
#[derive(Debug)]
pub struct Leader<T> {
    in_flight: Arc<InFlight<T>>,
    name: (Key, WaitScope),
    outcome: watch::Sender<Option<T>>,
}

/// The right to the leader's outcome.
#[derive(Debug)]
pub struct Waiter<T> {
    outcome: watch::Receiver<Option<T>>,
}

impl<T> InFlight<T> {
    /// No input in flight.
    pub fn new() -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Arc::new(Self { shards })
    }

    /// Claims an input for a credential. With `may_hit` it shares with all others that may have
    /// hits, else only with itself.
    pub fn claim(self: &Arc<Self>, key: Key, credential: CredentialId, may_hit: bool) -> Claim<T> {
        let mut shard = self.shard(&key);
        // The credential may always wait for its own claims, even those from before its first hit.
        if let Some(outcome) = shard.get(&(key, Some(credential))) {
            return Claim::Waiter(Waiter {
                outcome: outcome.clone(),
            });
        }
        let name = (key, (!may_hit).then_some(credential));
        match shard.entry(name) {
            Place::Occupied(place) => Claim::Waiter(Waiter {
                outcome: place.get().clone(),
            }),
            Place::Vacant(place) => {
                let (outcome, waiters) = watch::channel(None);
                place.insert(waiters);
                Claim::Leader(Leader {
                    in_flight: Arc::clone(self),
                    name,
                    outcome,
                })
            }
        }
    }

    /// How many inputs are in flight.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    /// Whether no input is in flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard<T>> {
        let index = usize::from(key.as_bytes()[0]) % SHARDS;
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Leader<T> {
    /// Tells all waiters. Later claims begin anew, so a leader must have put its vector into memory
    /// before, where later requests look first.
    pub fn complete(self, outcome: T) {
        self.outcome.send_replace(Some(outcome));
    }
}

impl<T> Drop for Leader<T> {
    fn drop(&mut self) {
        self.in_flight.shard(&self.name.0).remove(&self.name);
    }
}

impl<T: Clone> Waiter<T> {
    /// The leader's outcome; `None` if the leader was dropped without one.
    pub async fn outcome(mut self) -> Option<T> {
        let outcome = self.outcome.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::http::credentials::Credential;

    fn id(key: &'static str) -> CredentialId {
        let key = http::HeaderValue::from_static(key);
        let mut headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, key)]);
        Credential::take(&mut headers, &[]).id
    }

    fn key() -> Key {
        [1; 32].into()
    }

    #[track_caller]
    fn expect_leader(claim: Claim<u8>) -> Leader<u8> {
        match claim {
            Claim::Leader(leader) => leader,
            Claim::Waiter(_) => panic!("another request leads"),
        }
    }

    #[track_caller]
    fn expect_waiter(claim: Claim<u8>) -> Waiter<u8> {
        match claim {
            Claim::Waiter(waiter) => waiter,
            Claim::Leader(_) => panic!("no other request leads"),
        }
    }

    #[tokio::test]
    async fn waiters_get_what_the_leader_brings() {
        let in_flight = InFlight::new();
        let leader = expect_leader(in_flight.claim(key(), id("a"), true));
        let waiters = [
            expect_waiter(in_flight.claim(key(), id("a"), true)),
            expect_waiter(in_flight.claim(key(), id("b"), true)),
        ];
        leader.complete(7);
        for waiter in waiters {
            assert_eq!(waiter.outcome().await, Some(7));
        }
        assert!(in_flight.is_empty());
    }

    #[tokio::test]
    async fn a_leader_that_vanishes_strands_no_waiter() {
        let in_flight = InFlight::new();
        let leader = expect_leader(in_flight.claim(key(), id("a"), true));
        let waiter = expect_waiter(in_flight.claim(key(), id("a"), true));
        drop(leader);
        assert_eq!(waiter.outcome().await, None);
        expect_leader(in_flight.claim(key(), id("a"), true));
    }

    #[test]
    fn a_credential_without_hits_shares_only_with_itself() {
        let in_flight = InFlight::new();
        let _common = expect_leader(in_flight.claim(key(), id("a"), true));
        let _own = expect_leader(in_flight.claim(key(), id("b"), false));
        expect_waiter(in_flight.claim(key(), id("b"), false));
        expect_leader(in_flight.claim(key(), id("c"), false));
    }

    #[tokio::test]
    async fn a_credential_that_earned_hits_meanwhile_still_finds_its_own_claims() {
        let in_flight = InFlight::new();
        let leader = expect_leader(in_flight.claim(key(), id("a"), false));
        let waiter = expect_waiter(in_flight.claim(key(), id("a"), true));
        leader.complete(1);
        assert_eq!(waiter.outcome().await, Some(1));
    }
}
