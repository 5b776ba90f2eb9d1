//! Access: which callers the gateway admits, which credential goes upstream, and which callers
//! share vectors.

pub mod acceptance;
mod caller;
pub mod client_keys;
mod named_scope;
mod routes;
mod scope;

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use http::Method;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use self::acceptance::{Acceptance, Right};
pub use self::caller::Caller;
use self::client_keys::{ClientKeys, ClientKeysError};
pub use self::named_scope::{Misnamed, Named};
use crate::config::{self, AccessRule, ClientScope, ScopeRule};
use crate::http::credentials::{Credential, CredentialId};
use crate::http::error::Error;

/// Bound on the credentials that are known to have got vectors.
const MAX_SERVED: usize = 65_536;

/// The header in which the upstream names a credential's organisation.
const OPENAI_ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");

/// The rules of access.
#[derive(Debug)]
pub struct Access {
    rule: Rule,
    /// Credentials that got vectors, which caches in front may hold for them.
    served: Cache<CredentialId, ()>,
    models: Option<Vec<String>>,
    /// Headers that are part of a credential, beside the usual ones.
    forward_headers: Vec<HeaderName>,
}

#[derive(Debug)]
enum Rule {
    /// Callers' credentials go upstream.
    PassThrough {
        scope: ScopeRule,
        acceptance: Acceptance,
    },
    /// The gateway's credential goes upstream.
    Gateway {
        own: Box<Credential>,
        clients: Option<ClientKeys>,
        scope: ClientScope,
        routes: Vec<(Method, String)>,
    },
}

impl Access {
    /// The rules as configured.
    pub fn new(config: &config::AccessConfig) -> Result<Self, InvalidHeaderValue> {
        let rule = match &config.rule {
            AccessRule::PassThrough {
                scope,
                credential_ttl,
            } => Rule::PassThrough {
                scope: *scope,
                acceptance: Acceptance::new(*credential_ttl),
            },
            AccessRule::Gateway {
                key,
                client_keys,
                scope,
                allowed_routes,
            } => {
                let bearer = |key: &SecretString| {
                    HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
                };
                let bearer = key.as_ref().map(bearer).transpose()?;
                let bearer = bearer.map(|bearer| (AUTHORIZATION, bearer));
                let mut headers = HeaderMap::from_iter(bearer);
                Rule::Gateway {
                    own: Box::new(Credential::take(&mut headers, &[])),
                    clients: client_keys.clone().map(ClientKeys::new),
                    scope: *scope,
                    routes: allowed_routes.clone(),
                }
            }
        };
        Ok(Self {
            rule,
            served: Cache::new(MAX_SERVED),
            models: config.models.clone(),
            forward_headers: config.forward_headers.clone(),
        })
    }

    /// Admits a caller, or refuses it. Takes its credential out of `headers` either way.
    pub fn admit(
        &self,
        method: &Method,
        path: &str,
        headers: &mut HeaderMap,
    ) -> Result<Caller, Error> {
        let credential = Credential::take(headers, &self.forward_headers);
        match &self.rule {
            Rule::PassThrough { scope, acceptance } => {
                Ok(Caller::passed_through(*scope, acceptance, credential))
            }
            Rule::Gateway {
                own,
                clients,
                scope,
                routes,
            } => {
                let known = |clients: &ClientKeys| clients.contains(credential.key());
                if !clients.as_ref().is_none_or(known) {
                    return Err(Error::UnknownKey);
                }
                let allows =
                    |route: &(Method, String)| route.0 == method && routes::matches(&route.1, path);
                if !routes.iter().any(allows) {
                    return Err(Error::RouteNotAllowed);
                }
                Ok(Caller::with_gateway_key(*scope, own, &credential))
            }
        }
    }

    /// Whether callers may ask embeddings of this model. `None` is a model that the gateway cannot
    /// read.
    pub fn check_model(&self, model: Option<&str>) -> Result<(), Error> {
        let Some(models) = &self.models else {
            return Ok(());
        };
        let allowed = model.is_some_and(|model| models.iter().any(|allowed| allowed == model));
        allowed.then_some(()).ok_or(Error::ModelNotAllowed)
    }

    /// Whether callers' own credentials go upstream.
    pub fn passes_credentials(&self) -> bool {
        matches!(self.rule, Rule::PassThrough { .. })
    }

    /// Reads the file of client keys, if there is one.
    pub async fn read_client_keys(&self) -> Result<(), ClientKeysError> {
        match self.client_keys() {
            Some(clients) => clients.read().await,
            None => Ok(()),
        }
    }

    /// Keeps up with the file of client keys.
    pub async fn watch_client_keys(&self) -> Infallible {
        match self.client_keys() {
            Some(clients) => clients.watch().await,
            None => pending().await,
        }
    }

    fn client_keys(&self) -> Option<&ClientKeys> {
        match &self.rule {
            Rule::Gateway { clients, .. } => clients.as_ref(),
            Rule::PassThrough { .. } => None,
        }
    }

    /// The caller's right to hits of this model.
    pub fn right(&self, caller: &Caller, model: &str) -> Right {
        match &self.rule {
            Rule::PassThrough { acceptance, .. } => acceptance.right(caller.id, model),
            Rule::Gateway { .. } => Right::Held,
        }
    }

    /// Whether the caller may have hits of this model.
    pub fn may_hit(&self, caller: &Caller, model: &str) -> bool {
        self.right(caller, model) != Right::None
    }

    /// Whether an answer can no longer move the caller into another scope.
    pub fn knows_scope(&self, caller: &Caller) -> bool {
        match &self.rule {
            Rule::PassThrough {
                scope: ScopeRule::Organization,
                acceptance,
            } => acceptance.organization(caller.id).is_some(),
            _ => true,
        }
    }

    /// Notes that a credential got vectors.
    pub fn serve(&self, id: CredentialId) {
        if self.served.get(&id).is_none() {
            self.served.insert(id, ());
        }
    }

    /// Whether a credential ever got vectors. One that did not has nothing in any cache.
    pub fn was_served(&self, id: CredentialId) -> bool {
        self.served.get(&id).is_some()
    }

    /// Whether the request that asks is to renew the caller's right to hits of this model.
    pub fn is_due(&self, caller: &Caller, model: &str) -> bool {
        match &self.rule {
            Rule::PassThrough { acceptance, .. } => acceptance.is_due(caller.id, model),
            Rule::Gateway { .. } => false,
        }
    }

    /// Notes that the upstream accepted the caller's embeddings call for this model. Returns the
    /// scope of the vectors, if it is not the caller's.
    pub fn accepted(
        &self,
        caller: &Caller,
        model: &str,
        began: Instant,
        answer: &HeaderMap,
    ) -> Option<Arc<str>> {
        let Rule::PassThrough { scope, acceptance } = &self.rule else {
            return None;
        };
        let named = answer
            .get(OPENAI_ORGANIZATION)
            .and_then(|name| name.to_str().ok());
        acceptance.earn(caller.id, model, began, named);
        let scope = match scope {
            ScopeRule::Organization => {
                named.map_or_else(|| Arc::clone(&caller.own), scope::organization)
            }
            ScopeRule::Credential | ScopeRule::Shared => return None,
        };
        (scope != caller.scope).then_some(scope)
    }

    /// Notes that the upstream rejected the caller's credential.
    pub fn rejected(&self, caller: &Caller) {
        if let Rule::PassThrough { acceptance, .. } = &self.rule {
            acceptance.lose(caller.id);
        }
    }
}
