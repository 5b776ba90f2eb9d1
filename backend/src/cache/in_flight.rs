//! Work that is under way, by input: whoever wants the same waits for it instead of paying.
//!
//! The first to claim an input leads, later ones follow. A leader owes its followers an outcome;
//! if it is dropped without one (its task died), they learn that too and nobody is stranded.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::embeddings::key::Key;
use crate::http::credentials::CredentialId;

/// Locks that claims of different inputs are spread over; a power of two.
const SHARDS: usize = 64;

/// Who may follow: everybody who may have a hit, or one credential that has yet to earn it.
type Lane = Option<CredentialId>;

type Shard<T> = HashMap<(Key, Lane), watch::Receiver<Option<T>>>;

/// All inputs under way. `T` is what becomes of one.
#[derive(Debug)]
pub struct InFlight<T> {
    shards: Box<[Mutex<Shard<T>>]>,
}

/// What a claim turns out to be.
#[derive(Debug)]
pub enum Claim<T> {
    /// Nobody else is at it.
    Leader(Leader<T>),
    /// Somebody is.
    Waiter(Waiter<T>),
}

/// The duty to bring an input's outcome.
#[derive(Debug)]
pub struct Leader<T> {
    in_flight: Arc<InFlight<T>>,
    name: (Key, Lane),
    outcome: watch::Sender<Option<T>>,
}

/// The right to somebody else's outcome.
#[derive(Debug)]
pub struct Waiter<T> {
    outcome: watch::Receiver<Option<T>>,
}

impl<T> InFlight<T> {
    /// Nothing under way.
    pub fn new() -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Arc::new(Self { shards })
    }

    /// Claims an input for a credential. With `may_hit` it shares with all others who may have
    /// a hit, else only with itself.
    pub fn claim(self: &Arc<Self>, key: Key, credential: CredentialId, may_hit: bool) -> Claim<T> {
        let mut shard = self.shard(&key);
        // Its own earlier claims, from before it might have a hit, are good for it in any case.
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
                let (outcome, followers) = watch::channel(None);
                place.insert(followers);
                Claim::Leader(Leader {
                    in_flight: Arc::clone(self),
                    name,
                    outcome,
                })
            }
        }
    }

    /// How many inputs are under way.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    /// Whether nothing is under way.
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
    /// Tells all followers. Later claims begin anew: whoever lands a success must have put it
    /// where a claimant looks first.
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
    /// What the leader brought; `None` if it vanished.
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
        Credential::take(&mut HeaderMap::from_iter([(
            http::header::AUTHORIZATION,
            key,
        )]))
        .id
    }

    fn key() -> Key {
        [1; 32].into()
    }

    #[track_caller]
    fn lead(claim: Claim<u8>) -> Leader<u8> {
        match claim {
            Claim::Leader(lead) => lead,
            Claim::Waiter(_) => panic!("somebody leads already"),
        }
    }

    #[track_caller]
    fn follow(claim: Claim<u8>) -> Waiter<u8> {
        match claim {
            Claim::Waiter(follow) => follow,
            Claim::Leader(_) => panic!("nobody leads"),
        }
    }

    #[tokio::test]
    async fn followers_get_what_the_leader_brings() {
        let in_flight = InFlight::new();
        let leader = lead(in_flight.claim(key(), id("a"), true));
        let followers = [
            follow(in_flight.claim(key(), id("a"), true)),
            follow(in_flight.claim(key(), id("b"), true)),
        ];
        leader.complete(7);
        for follower in followers {
            assert_eq!(follower.outcome().await, Some(7));
        }
        assert!(in_flight.is_empty());
    }

    #[tokio::test]
    async fn a_leader_that_vanishes_strands_nobody() {
        let in_flight = InFlight::new();
        let leader = lead(in_flight.claim(key(), id("a"), true));
        let follower = follow(in_flight.claim(key(), id("a"), true));
        drop(leader);
        assert_eq!(follower.outcome().await, None);
        lead(in_flight.claim(key(), id("a"), true));
    }

    #[test]
    fn who_may_not_have_a_hit_shares_only_with_itself() {
        let in_flight = InFlight::new();
        let _common = lead(in_flight.claim(key(), id("a"), true));
        let _own = lead(in_flight.claim(key(), id("b"), false));
        follow(in_flight.claim(key(), id("b"), false));
        lead(in_flight.claim(key(), id("c"), false));
    }

    #[tokio::test]
    async fn who_has_earned_its_hits_meanwhile_still_finds_its_own_work() {
        let in_flight = InFlight::new();
        let leader = lead(in_flight.claim(key(), id("a"), false));
        let follower = follow(in_flight.claim(key(), id("a"), true));
        leader.complete(1);
        assert_eq!(follower.outcome().await, Some(1));
    }
}
