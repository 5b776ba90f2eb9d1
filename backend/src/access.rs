//! Who may do what: whose credential goes upstream, who shares vectors, who may have a hit.
//!
//! While callers' own credentials go upstream, only the upstream knows who is allowed what. So
//! a hit is earned: by a successful embeddings call of this credential for this model, not
//! longer ago than the configured time. Everybody else counts as a miss and pays.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, InvalidHeaderValue};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use crate::client_keys::{ClientKeys, Unreadable};
use crate::config;
use crate::credentials::{Credential, CredentialId};
use crate::error::Error;

/// The scope of vectors that all callers share.
const SHARED: &str = "shared";

/// Credentials and models that are remembered as accepted. Forgetting one costs it one miss.
const MAX_ACCEPTED: usize = 65_536;

/// The rules of the house.
#[derive(Debug)]
pub enum Access {
    /// Callers' credentials go upstream.
    PassThrough {
        /// Who shares vectors.
        scope: config::ScopeRule,
        /// Whom the upstream accepted.
        acceptance: Acceptance,
    },
    /// The gateway's credential goes upstream.
    Gateway {
        /// That credential.
        credential: Box<HeaderMap>,
        /// Who may call; `None` lets everybody in.
        clients: Option<ClientKeys>,
        /// What callers may use.
        routes: Vec<(Method, String)>,
    },
}

/// One caller, admitted.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name of what the caller presented.
    pub id: CredentialId,
    /// What goes upstream in its name.
    pub upstream: HeaderMap,
    /// Whose vectors it shares.
    pub scope: String,
}

impl Access {
    /// The rules as configured.
    pub fn new(access: &config::Access) -> Result<Self, InvalidHeaderValue> {
        Ok(match access {
            config::Access::PassThrough {
                scope,
                credential_ttl,
            } => Self::PassThrough {
                scope: *scope,
                acceptance: Acceptance::new(*credential_ttl),
            },
            config::Access::Gateway {
                key,
                client_keys,
                allowed_routes,
            } => {
                let mut bearer: HeaderValue =
                    format!("Bearer {}", key.expose_secret()).try_into()?;
                bearer.set_sensitive(true);
                Self::Gateway {
                    credential: Box::new(HeaderMap::from_iter([(AUTHORIZATION, bearer)])),
                    clients: client_keys.clone().map(ClientKeys::new),
                    routes: allowed_routes.clone(),
                }
            }
        })
    }

    /// Admits a caller, or not. Takes its credential out of `headers` either way.
    pub fn admit(
        &self,
        method: &Method,
        path: &str,
        headers: &mut HeaderMap,
    ) -> Result<Caller, Error> {
        let presented = Credential::take(headers);
        match self {
            Self::PassThrough { scope, .. } => Ok(Caller {
                id: presented.id,
                scope: match scope {
                    config::ScopeRule::Credential => presented.id.to_string(),
                    config::ScopeRule::Shared => SHARED.to_owned(),
                },
                upstream: presented.headers,
            }),
            Self::Gateway {
                credential,
                clients,
                routes,
            } => {
                let known = |clients: &ClientKeys| clients.contains(presented.key());
                if !clients.as_ref().is_none_or(known) {
                    return Err(Error::UnknownKey);
                }
                if !routes
                    .iter()
                    .any(|route| route.0 == method && matches(&route.1, path))
                {
                    return Err(Error::RouteNotAllowed);
                }
                Ok(Caller {
                    id: presented.id,
                    upstream: (**credential).clone(),
                    scope: SHARED.to_owned(),
                })
            }
        }
    }

    /// Reads again who may call, where a file says it.
    pub async fn reload_client_keys(&self) -> Result<(), Unreadable> {
        match self {
            Self::Gateway {
                clients: Some(clients),
                ..
            } => clients.reload().await,
            _ => Ok(()),
        }
    }

    /// Whether a hit may be served to this caller.
    pub fn may_hit(&self, caller: &Caller, model: &str) -> bool {
        match self {
            Self::PassThrough { acceptance, .. } => acceptance.holds(caller.id, model),
            Self::Gateway { .. } => true,
        }
    }

    /// The upstream answered this caller's embeddings call for this model.
    pub fn accepted(&self, caller: &Caller, model: &str) {
        if let Self::PassThrough { acceptance, .. } = self {
            acceptance.earn(caller.id, model);
        }
    }

    /// The upstream does not know this caller, or not any more.
    pub fn rejected(&self, caller: &Caller) {
        if let Self::PassThrough { acceptance, .. } = self {
            acceptance.lose(caller.id);
        }
    }
}

/// `/v1/files/*` stands for everything below `/v1/files/`.
fn matches(route: &str, path: &str) -> bool {
    match route.strip_suffix('*') {
        Some(below) if below.ends_with('/') => path.starts_with(below) && path.len() > below.len(),
        _ => route == path,
    }
}

/// Whom the upstream accepted for which model, and when.
#[derive(Debug)]
pub struct Acceptance {
    ttl: Duration,
    earned: Mutex<HashMap<CredentialId, HashMap<String, Instant>>>,
}

impl Acceptance {
    fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            earned: Mutex::default(),
        }
    }

    fn holds(&self, id: CredentialId, model: &str) -> bool {
        let earned = self.earned.lock().unwrap_or_else(PoisonError::into_inner);
        earned
            .get(&id)
            .and_then(|models| models.get(model))
            .is_some_and(|at| at.elapsed() < self.ttl)
    }

    fn earn(&self, id: CredentialId, model: &str) {
        let mut earned = self.earned.lock().unwrap_or_else(PoisonError::into_inner);
        if earned.values().map(HashMap::len).sum::<usize>() >= MAX_ACCEPTED {
            earned.clear();
        }
        earned
            .entry(id)
            .or_default()
            .insert(model.to_owned(), Instant::now());
    }

    fn lose(&self, id: CredentialId) {
        self.earned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: &'static str) -> CredentialId {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(key));
        Credential::take(&mut headers).id
    }

    #[tokio::test(start_paused = true)]
    async fn acceptance_is_for_one_model_and_ends() {
        let acceptance = Acceptance::new(Duration::from_secs(3600));
        acceptance.earn(id("a"), "m");
        assert!(acceptance.holds(id("a"), "m"));
        assert!(!acceptance.holds(id("a"), "n"));
        assert!(!acceptance.holds(id("b"), "m"));
        tokio::time::advance(Duration::from_secs(3599)).await;
        assert!(acceptance.holds(id("a"), "m"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!acceptance.holds(id("a"), "m"));
    }

    #[tokio::test]
    async fn a_rejected_credential_loses_all_its_models() {
        let acceptance = Acceptance::new(Duration::from_secs(3600));
        acceptance.earn(id("a"), "m");
        acceptance.earn(id("a"), "n");
        acceptance.lose(id("a"));
        assert!(!acceptance.holds(id("a"), "m"));
        assert!(!acceptance.holds(id("a"), "n"));
    }

    #[test]
    fn a_route_matches_exactly_or_everything_below() {
        assert!(matches("/v1/models", "/v1/models"));
        assert!(!matches("/v1/models", "/v1/models/x"));
        assert!(matches("/v1/models/*", "/v1/models/x/y"));
        assert!(!matches("/v1/models/*", "/v1/models/"));
        assert!(!matches("/v1/models/*", "/v1/models"));
    }
}
