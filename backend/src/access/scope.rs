//! Scopes: which callers share vectors.

use std::sync::Arc;

use super::acceptance::Acceptance;
use crate::config::{ClientScope, ScopeRule};
use crate::http::credentials::{Credential, CredentialId};

/// The scope of vectors that all callers share.
pub(super) const SHARED: &str = "shared";

/// The scope of a caller whose own credential goes upstream.
pub(super) fn of_credential(
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

/// The scope of an organisation, with a prefix that no other scope has.
pub(super) fn organization(name: &str) -> Arc<str> {
    format!("organization:{name}").into()
}

/// The scope of a caller for which the gateway's credential goes upstream.
pub(super) fn of_client(rule: ClientScope, presented: &Credential) -> Arc<str> {
    match rule {
        ClientScope::Caller => presented.key_id().digits().as_str().into(),
        ClientScope::Shared => SHARED.into(),
    }
}
