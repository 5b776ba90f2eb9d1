//! Who may do what: who is let in, whose credential goes upstream, who shares vectors with whom.

pub mod acceptance;
pub mod client_keys;

use std::sync::Arc;

use http::Method;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use self::acceptance::Acceptance;
use self::client_keys::{ClientKeys, Unreadable};
use crate::config::{self, AccessRule, ScopeRule};
use crate::http::credentials::{Credential, CredentialId};
use crate::http::error::Error;

/// The scope of vectors that all callers share.
const SHARED: &str = "shared";

/// Where the upstream names the organisation that a credential belongs to.
const OPENAI_ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");

/// The rules of the house.
#[derive(Debug)]
pub struct Access {
    rule: Rule,
    models: Option<Vec<String>>,
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
        routes: Vec<(Method, String)>,
    },
}

/// One caller, admitted.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name of what the caller presented.
    pub id: CredentialId,
    /// The name of what goes upstream for it.
    pub payer: CredentialId,
    /// What goes upstream for it.
    pub upstream: Vec<(HeaderName, HeaderValue)>,
    /// The scope of a credential that shares with nobody: its name in digits.
    pub own: Arc<str>,
    /// Whose vectors it shares.
    pub scope: Arc<str>,
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
                allowed_routes,
            } => {
                let bearer = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))?;
                let mut headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
                Rule::Gateway {
                    own: Box::new(Credential::take(&mut headers)),
                    clients: client_keys.clone().map(ClientKeys::new),
                    routes: allowed_routes.clone(),
                }
            }
        };
        Ok(Self {
            rule,
            models: config.models.clone(),
        })
    }

    /// Admits a caller, or not. Takes its credential out of `headers` either way.
    pub fn admit(
        &self,
        method: &Method,
        path: &str,
        headers: &mut HeaderMap,
    ) -> Result<Caller, Error> {
        let Credential {
            id,
            headers: upstream,
        } = Credential::take(headers);
        let own_scope: Arc<str> = id.digits().as_str().into();
        match &self.rule {
            Rule::PassThrough { scope, acceptance } => {
                let scope = scope_of(*scope, acceptance, id, &own_scope);
                Ok(Caller {
                    id,
                    payer: id,
                    upstream,
                    own: own_scope,
                    scope,
                })
            }
            Rule::Gateway {
                own,
                clients,
                routes,
            } => {
                let presented = Credential {
                    id,
                    headers: upstream,
                };
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
                let upstream = own.headers.clone();
                Ok(Caller {
                    id,
                    payer: own.id,
                    upstream,
                    own: own_scope,
                    scope: SHARED.into(),
                })
            }
        }
    }

    /// Whether embeddings of this model may be asked for. `None`: nobody can say which it is.
    pub fn check_model(&self, model: Option<&str>) -> Result<(), Error> {
        let Some(models) = &self.models else {
            return Ok(());
        };
        let allowed = model.is_some_and(|model| models.iter().any(|allowed| allowed == model));
        allowed.then_some(()).ok_or(Error::ModelNotAllowed)
    }

    /// Whether a caller's own credential goes upstream.
    pub fn passes_credentials(&self) -> bool {
        matches!(self.rule, Rule::PassThrough { .. })
    }

    /// Reads again who may call, where a file says it.
    pub async fn reload_client_keys(&self) -> Result<(), Unreadable> {
        match &self.rule {
            Rule::Gateway {
                clients: Some(clients),
                ..
            } => clients.reload().await,
            _ => Ok(()),
        }
    }

    /// Whether a hit may be served to this caller.
    pub fn may_hit(&self, caller: &Caller, model: &str) -> bool {
        match &self.rule {
            Rule::PassThrough { acceptance, .. } => acceptance.holds(caller.id, model),
            Rule::Gateway { .. } => true,
        }
    }

    /// The upstream answered an embeddings call of this caller for this model. Returns whose
    /// vectors these are, if that is not what the caller's scope says.
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
            ScopeRule::Organization => named.map_or_else(|| Arc::clone(&caller.own), organization),
            ScopeRule::Credential | ScopeRule::Shared => return None,
        };
        (scope != caller.scope).then_some(scope)
    }

    /// The upstream does not know this caller, or not any more.
    pub fn rejected(&self, caller: &Caller) {
        if let Rule::PassThrough { acceptance, .. } = &self.rule {
            acceptance.lose(caller.id);
        }
    }
}

fn scope_of(
    rule: ScopeRule,
    acceptance: &Acceptance,
    id: CredentialId,
    own: &Arc<str>,
) -> Arc<str> {
    match rule {
        ScopeRule::Credential => Arc::clone(own),
        ScopeRule::Shared => SHARED.into(),
        ScopeRule::Organization => acceptance
            .organization(id)
            .map_or_else(|| Arc::clone(own), |name| organization(&name)),
    }
}

/// No other scope begins like this.
fn organization(name: &str) -> Arc<str> {
    format!("organization:{name}").into()
}

/// `/v1/files/*` stands for everything below `/v1/files/`.
fn matches(route: &str, path: &str) -> bool {
    match route.strip_suffix('*') {
        Some(below) if below.ends_with('/') => path.starts_with(below) && path.len() > below.len(),
        _ => route == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_matches_exactly_or_everything_below() {
        assert!(matches("/v1/models", "/v1/models"));
        assert!(!matches("/v1/models", "/v1/models/x"));
        assert!(matches("/v1/models/*", "/v1/models/x/y"));
        assert!(!matches("/v1/models/*", "/v1/models/"));
        assert!(!matches("/v1/models/*", "/v1/models"));
    }
}
