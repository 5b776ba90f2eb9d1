//! The scope of vectors that no caller's request brought: an operator imports them, and names the
//! callers that may have them.

use std::sync::Arc;

use http::header::HeaderMap;

use super::scope::{self, SHARED};
use super::{Access, Caller, Rule};
use crate::config::{ClientScope, ScopeRule};
use crate::http::credentials::Credential;

/// The callers that may have vectors.
#[derive(Debug, Default)]
pub struct Named<'a> {
    /// The headers that one of them sends.
    pub headers: Option<HeaderMap>,
    /// Their organisation, as the upstream names it.
    pub organization: Option<&'a str>,
}

/// The names do not fit the rule by which callers share vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misnamed {
    /// Each caller has vectors for itself, and none is named.
    NoCaller,
    /// Organisations have vectors for themselves, and none is named.
    NoOrganization,
    /// All callers share vectors, or share them by another rule: the name decides nothing.
    Surplus,
    /// The headers hold no credential.
    NoCredential,
    /// The gateway does not admit the caller.
    UnknownKey,
}

impl Access {
    /// The scope in which these callers find vectors.
    pub fn named_scope(&self, named: Named<'_>) -> Result<Arc<str>, Misnamed> {
        let Named {
            headers,
            organization,
        } = named;
        let by_organization = matches!(
            self.rule,
            Rule::PassThrough {
                scope: ScopeRule::Organization,
                ..
            }
        );
        match (headers, organization) {
            (None, Some(name)) if by_organization => Ok(scope::organization(name)),
            (_, None) if by_organization => Err(Misnamed::NoOrganization),
            (_, Some(_)) => Err(Misnamed::Surplus),
            (headers, None) => self.scope_of(headers),
        }
    }

    fn scope_of(&self, headers: Option<HeaderMap>) -> Result<Arc<str>, Misnamed> {
        let is_shared = match &self.rule {
            Rule::PassThrough { scope, .. } => *scope == ScopeRule::Shared,
            Rule::Gateway { scope, .. } => *scope == ClientScope::Shared,
        };
        let mut headers = match headers {
            None if is_shared => return Ok(SHARED.into()),
            None => return Err(Misnamed::NoCaller),
            Some(_) if is_shared => return Err(Misnamed::Surplus),
            Some(headers) => headers,
        };
        let credential = Credential::take(&mut headers, &self.forward_headers);
        if credential.headers.is_empty() {
            return Err(Misnamed::NoCredential);
        }
        let caller = match &self.rule {
            Rule::PassThrough { scope, acceptance } => {
                Caller::passed_through(*scope, acceptance, credential)
            }
            Rule::Gateway { clients, .. }
                if clients
                    .as_ref()
                    .is_some_and(|clients| !clients.contains(credential.key())) =>
            {
                return Err(Misnamed::UnknownKey);
            }
            Rule::Gateway { own, scope, .. } => Caller::with_gateway_key(*scope, own, &credential),
        };
        Ok(caller.scope)
    }
}
