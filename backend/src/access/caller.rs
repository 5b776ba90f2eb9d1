//! An admitted caller.

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};

use super::acceptance::Acceptance;
use super::scope;
use crate::config::{ClientScope, ScopeRule};
use crate::http::credentials::{Credential, CredentialId};

/// An admitted caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The digest of the credential that the caller presented.
    pub id: CredentialId,
    /// Whether it presented any.
    pub presents_credential: bool,
    /// The digest of the credential that goes upstream for the caller.
    pub payer: CredentialId,
    /// The credential that goes upstream for the caller.
    pub upstream: Vec<(HeaderName, HeaderValue)>,
    /// The scope of the credential alone: its digest in hex.
    pub own: Arc<str>,
    /// The scope whose vectors the caller shares.
    pub scope: Arc<str>,
}

impl Caller {
    /// Who the caller is, if it says so: callers without a credential are not one caller.
    pub fn identity(&self) -> Option<CredentialId> {
        self.presents_credential.then_some(self.id)
    }

    /// A caller whose own credential goes upstream.
    pub(super) fn passed_through(
        rule: ScopeRule,
        acceptance: &Acceptance,
        credential: Credential,
    ) -> Self {
        let Credential { id, headers } = credential;
        let own: Arc<str> = id.digits().as_str().into();
        Self {
            id,
            presents_credential: !headers.is_empty(),
            payer: id,
            upstream: headers,
            scope: scope::of_credential(rule, acceptance, id, &own),
            own,
        }
    }

    /// A caller for which the gateway's credential goes upstream.
    pub(super) fn with_gateway_key(
        rule: ClientScope,
        gateway: &Credential,
        presented: &Credential,
    ) -> Self {
        let own: Arc<str> = presented.id.digits().as_str().into();
        Self {
            id: presented.id,
            presents_credential: !presented.headers.is_empty(),
            payer: gateway.id,
            upstream: gateway.headers.clone(),
            scope: scope::of_client(rule, presented),
            own,
        }
    }
}
