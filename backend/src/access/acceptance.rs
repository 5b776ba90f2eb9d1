//! Which credentials the upstream accepted, for which model, and when.
//!
//! While callers' own credentials go upstream, only the upstream knows what each may do. So a
//! credential earns hits of a model by a successful embeddings call for it, begun not longer ago
//! than the configured time. All other requests count as misses and go upstream.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::DefaultHashBuilder;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::http::credentials::CredentialId;

/// Bound on credentials. One that is evicted earns its hits anew by one miss.
const MAX_CREDENTIALS: usize = 65_536;

/// Bound on models of one credential: more than any account can use.
const MAX_MODELS: usize = 256;

/// A renewal that brought no answer for so long may be tried again.
const RENEWAL: Duration = Duration::from_secs(60);

/// The acceptances of all credentials.
#[derive(Debug)]
pub struct Acceptance {
    ttl: Duration,
    standings: Mutex<Standings>,
    /// When the upstream last refused a credential, whether or not it had earned anything: a call
    /// that began before that earns nothing. Apart, so that a flood of unknown keys evicts no
    /// acceptance.
    refused: Cache<CredentialId, Instant>,
}

/// Each hit looks up both of its maps: the usual hasher would take most of that time.
type Standings = HashMap<CredentialId, CredentialState, DefaultHashBuilder>;

/// Whether a caller may have hits of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It has to prove first that the upstream accepts it.
    None,
    /// It may.
    Held,
    /// It may, and is to prove itself anew before that ends.
    Ending,
}

#[derive(Debug, Default)]
struct CredentialState {
    models: HashMap<String, Accepted, DefaultHashBuilder>,
    /// The organisation that the upstream named, and when.
    organization: Option<(String, Instant)>,
}

#[derive(Debug)]
struct Accepted {
    /// When the accepted call began.
    began: Instant,
    /// When its renewal began, if one is under way.
    renewal: Option<Instant>,
}

impl Acceptance {
    /// No acceptances yet. Each holds for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            standings: Mutex::default(),
            refused: Cache::new(MAX_CREDENTIALS),
        }
    }

    /// A credential's right to hits of a model.
    pub fn right(&self, id: CredentialId, model: &str) -> Right {
        let standings = self.standings();
        let earned = standings
            .get(&id)
            .and_then(|standing| standing.models.get(model));
        earned.map_or(Right::None, |accepted| {
            self.right_at(accepted.began.elapsed())
        })
    }

    fn right_at(&self, age: Duration) -> Right {
        match age {
            _ if age >= self.ttl => Right::None,
            _ if age >= self.ttl / 4 * 3 => Right::Ending,
            _ => Right::Held,
        }
    }

    /// Whether an acceptance is to be renewed before it ends. Says so once: the request that hears it
    /// begins the renewal.
    pub fn is_due(&self, id: CredentialId, model: &str) -> bool {
        let mut standings = self.standings();
        let earned = standings
            .get_mut(&id)
            .and_then(|standing| standing.models.get_mut(model));
        earned.is_some_and(|accepted| {
            let is_ending = self.right_at(accepted.began.elapsed()) == Right::Ending;
            let begun = accepted.renewal.is_some_and(|at| at.elapsed() < RENEWAL);
            let due = is_ending && !begun;
            if due {
                accepted.renewal = Some(Instant::now());
            }
            due
        })
    }

    /// The organisation that the upstream last named for a credential.
    pub fn organization(&self, id: CredentialId) -> Option<String> {
        let standings = self.standings();
        let (name, began) = standings.get(&id)?.organization.as_ref()?;
        (began.elapsed() < self.ttl).then(|| name.clone())
    }

    /// Notes a successful call that began at `began`, whose answer named `organization`.
    pub fn earn(&self, id: CredentialId, model: &str, began: Instant, organization: Option<&str>) {
        let mut standings = self.standings();
        if standings.len() >= MAX_CREDENTIALS && !standings.contains_key(&id) {
            standings.retain(|_, standing| standing.is_fresh(self.ttl));
            if standings.len() >= MAX_CREDENTIALS {
                standings.clear();
            }
        }
        // A call that began before the refusal proves nothing about the time after it.
        if self
            .refused
            .get(&id)
            .is_some_and(|refused| began <= refused)
        {
            return;
        }
        let standing = standings.entry(id).or_default();
        if standing.models.len() >= MAX_MODELS {
            standing.models.clear();
        }
        let renewal = None;
        let accepted = Accepted { began, renewal };
        standing.models.insert(model.to_owned(), accepted);
        standing.organization = organization.map(|name| (name.to_owned(), began));
    }

    /// Forgets all acceptances of a credential that the upstream refused.
    pub fn lose(&self, id: CredentialId) {
        let mut standings = self.standings();
        self.refused.insert(id, Instant::now());
        standings.remove(&id);
    }

    fn standings(&self) -> MutexGuard<'_, Standings> {
        self.standings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl CredentialState {
    fn is_fresh(&self, ttl: Duration) -> bool {
        let mut accepted = self.models.values();
        accepted.any(|accepted| accepted.began.elapsed() < ttl)
    }
}

#[cfg(test)]
mod tests;
