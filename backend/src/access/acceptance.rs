//! Which credentials the upstream accepted, for which model, and when.
//!
//! While callers' own credentials go upstream, only the upstream knows what each may do. So a
//! credential earns hits of a model by a successful embeddings call for it, begun not longer ago
//! than the configured time. All other requests count as misses and go upstream.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::http::credentials::CredentialId;

/// Bound on credentials. One that is evicted earns its hits anew by one miss.
const MAX_CREDENTIALS: usize = 65_536;

/// Bound on models of one credential: more than any account can use.
const MAX_MODELS: usize = 256;

/// The acceptances of all credentials.
#[derive(Debug)]
pub struct Acceptance {
    ttl: Duration,
    standings: Mutex<HashMap<CredentialId, Standing>>,
}

#[derive(Debug, Default)]
struct Standing {
    /// When the accepted call began, by model.
    models: HashMap<String, Instant>,
    /// The organisation that the upstream named, and when.
    organization: Option<(String, Instant)>,
    /// When the upstream last refused the credential.
    lost: Option<Instant>,
}

impl Acceptance {
    /// No acceptances yet. Each holds for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            standings: Mutex::default(),
        }
    }

    /// Whether a credential may have hits of a model.
    pub fn holds(&self, id: CredentialId, model: &str) -> bool {
        let standings = self.standings();
        let earned = standings
            .get(&id)
            .and_then(|standing| standing.models.get(model));
        earned.is_some_and(|began| began.elapsed() < self.ttl)
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
        let standing = standings.entry(id).or_default();
        // A call that began before the refusal proves nothing about the time after it.
        if standing.lost.is_some_and(|lost| began <= lost) {
            return;
        }
        if standing.models.len() >= MAX_MODELS {
            standing.models.clear();
        }
        standing.models.insert(model.to_owned(), began);
        standing.organization = organization.map(|name| (name.to_owned(), began));
    }

    /// Forgets all acceptances of a credential that the upstream refused.
    pub fn lose(&self, id: CredentialId) {
        // A credential that earned nothing takes no entry.
        if let Some(standing) = self.standings().get_mut(&id) {
            *standing = Standing {
                lost: Some(Instant::now()),
                ..Standing::default()
            };
        }
    }

    fn standings(&self) -> MutexGuard<'_, HashMap<CredentialId, Standing>> {
        self.standings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn is_fresh(&self, ttl: Duration) -> bool {
        let times = self.models.values().chain(&self.lost);
        times.into_iter().any(|time| time.elapsed() < ttl)
    }
}

#[cfg(test)]
mod tests {
    use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

    use super::*;
    use crate::http::credentials::Credential;

    const TTL: Duration = Duration::from_secs(3600);

    fn id(key: &'static str) -> CredentialId {
        let key = HeaderValue::from_static(key);
        Credential::take(&mut HeaderMap::from_iter([(AUTHORIZATION, key)])).id
    }

    fn earn(acceptance: &Acceptance, key: &'static str, model: &str) {
        acceptance.earn(id(key), model, Instant::now(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn acceptance_is_for_one_model_and_ends() {
        let acceptance = Acceptance::new(TTL);
        earn(&acceptance, "a", "m");
        assert!(acceptance.holds(id("a"), "m"));
        assert!(!acceptance.holds(id("a"), "n"));
        assert!(!acceptance.holds(id("b"), "m"));
        tokio::time::advance(TTL - Duration::from_secs(1)).await;
        assert!(acceptance.holds(id("a"), "m"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!acceptance.holds(id("a"), "m"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_credential_loses_everything() {
        let acceptance = Acceptance::new(TTL);
        acceptance.earn(id("a"), "m", Instant::now(), Some("org"));
        earn(&acceptance, "a", "n");
        acceptance.lose(id("a"));
        assert!(!acceptance.holds(id("a"), "m"));
        assert!(!acceptance.holds(id("a"), "n"));
        assert_eq!(acceptance.organization(id("a")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_from_before_the_refusal_earns_nothing() {
        let acceptance = Acceptance::new(TTL);
        earn(&acceptance, "a", "m");
        let before = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        acceptance.lose(id("a"));
        acceptance.earn(id("a"), "m", before, None);
        assert!(!acceptance.holds(id("a"), "m"));
        tokio::time::advance(Duration::from_secs(1)).await;
        earn(&acceptance, "a", "m");
        assert!(acceptance.holds(id("a"), "m"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_named_organization_counts() {
        let acceptance = Acceptance::new(TTL);
        acceptance.earn(id("a"), "m", Instant::now(), Some("one"));
        acceptance.earn(id("a"), "m", Instant::now(), Some("two"));
        assert_eq!(acceptance.organization(id("a")).as_deref(), Some("two"));
        earn(&acceptance, "a", "m");
        assert_eq!(acceptance.organization(id("a")), None);
    }
}
