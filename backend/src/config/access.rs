//! The part about access: which callers are served, and with which credential.

use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use http::header::HeaderName;
use secrecy::SecretString;

use super::reader::Reader;
use super::variables as var;
use super::{forwarded, upstreams, value};

/// What callers may do.
#[derive(Debug)]
pub struct AccessConfig {
    /// Whose credential goes upstream.
    pub rule: AccessRule,
    /// The models that callers may ask embeddings of; `None` allows all.
    pub models: Option<Vec<String>>,
    /// Headers that are part of a caller's credential, beside the usual ones; in order, each once.
    pub forward_headers: Vec<HeaderName>,
}

/// Whose credential goes upstream.
#[derive(Debug)]
pub enum AccessRule {
    /// Each caller's own.
    PassThrough {
        /// Which callers share vectors.
        scope: ScopeRule,
        /// How long a credential counts as accepted after the upstream accepted it.
        credential_ttl: Duration,
    },
    /// The gateway's.
    Gateway {
        /// The upstream's key; `None` if a file of upstreams says which each of them gets.
        key: Option<SecretString>,
        /// SHA-256 of the keys that callers may present; `None` lets every caller in.
        client_keys: Option<PathBuf>,
        /// Which callers share vectors.
        scope: ClientScope,
        /// `METHOD /path` of what callers may use.
        allowed_routes: Vec<(Method, String)>,
    },
}

/// Which callers share vectors, while callers' credentials go upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeRule {
    /// None: each credential has its own.
    Credential,
    /// Credentials of one organisation, as the upstream names it.
    Organization,
    /// All callers that the upstream accepts.
    Shared,
}

/// Which callers share vectors, while the gateway's key goes upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientScope {
    /// None: each client key has its own.
    Caller,
    /// All that the gateway admits.
    Shared,
}

impl AccessConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let models = reader.optional(&var::ALLOWED_EMBEDDING_MODELS, value::list);
        let forward_headers = reader
            .optional(&var::FORWARD_HEADERS, forwarded::names)
            .unwrap_or_default();
        let rule = AccessRule::read(reader)?;
        if matches!(rule, AccessRule::Gateway { .. }) && !forward_headers.is_empty() {
            refuse_forwarding(reader);
        }
        Some(Self {
            rule,
            models,
            forward_headers,
        })
    }
}

impl AccessRule {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let key = reader.optional(&var::OPENAI_API_KEY, value::secret);
        let credential_ttl = reader.read(&var::CREDENTIAL_TTL, value::patience);
        let client_keys = reader.optional(&var::CLIENT_KEYS_FILE, value::path);
        let anonymous = reader.read(&var::ALLOW_ANONYMOUS, value::boolean);
        let allowed_routes = reader.read(&var::ALLOWED_ROUTES, routes);
        let has_file = reader.given.contains_key(var::UPSTREAMS_FILE.name);
        // With a file, the key is one of the variables that the file may name.
        let key = key.filter(|_| !has_file);
        if key.is_none() && !(has_file && upstreams::is_of_gateway(reader)) {
            let scope = reader.optional(&var::CACHE_SCOPE, scope);
            return Some(Self::PassThrough {
                scope: scope.unwrap_or(ScopeRule::Credential),
                credential_ttl: credential_ttl?,
            });
        }
        refuse_open_or_doubled_access(reader, client_keys.is_some(), anonymous?);
        let scope = reader.optional(&var::CACHE_SCOPE, client_scope);
        Some(Self::Gateway {
            key,
            scope: scope.unwrap_or_else(|| usual_scope(client_keys.is_some())),
            client_keys,
            allowed_routes: allowed_routes?,
        })
    }
}

fn refuse_forwarding(reader: &mut Reader<'_>) {
    reader.refuse(
        &var::FORWARD_HEADERS,
        "contradicts OPENAI_API_KEY: with the gateway's key nothing that identifies a client \
         goes upstream",
    );
}

/// A cache that clients share tells each of them what the others asked. With a file of keys the
/// operator tells clients apart; without one they are what the network lets in, and any of them
/// may present what another presents.
fn usual_scope(tells_clients_apart: bool) -> ClientScope {
    match tells_clients_apart {
        true => ClientScope::Caller,
        false => ClientScope::Shared,
    }
}

/// Exactly one of `CLIENT_KEYS_FILE` and `ALLOW_ANONYMOUS` must say who may spend the gateway's key.
fn refuse_open_or_doubled_access(reader: &mut Reader<'_>, has_keys: bool, is_anonymous: bool) {
    match (has_keys, is_anonymous) {
        (false, false) => reader.refuse(
            &var::OPENAI_API_KEY,
            "every caller could spend this key: also set CLIENT_KEYS_FILE, or \
             ALLOW_ANONYMOUS=true if the network decides who may call",
        ),
        (true, true) => reader.refuse(
            &var::ALLOW_ANONYMOUS,
            "contradicts CLIENT_KEYS_FILE: set one of them",
        ),
        _ => {}
    }
}

fn scope(value: &str) -> Result<ScopeRule, String> {
    match value {
        "credential" => Ok(ScopeRule::Credential),
        "organization" => Ok(ScopeRule::Organization),
        "shared" => Ok(ScopeRule::Shared),
        _ => Err("must be credential, organization or shared without OPENAI_API_KEY".into()),
    }
}

fn client_scope(value: &str) -> Result<ClientScope, String> {
    match value {
        "caller" => Ok(ClientScope::Caller),
        "shared" => Ok(ClientScope::Shared),
        _ => Err("must be caller or shared with OPENAI_API_KEY".into()),
    }
}

/// `POST /v1/embeddings, GET /v1/models, …`
fn routes(value: &str) -> Result<Vec<(Method, String)>, String> {
    let entries = value
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    entries.map(route).collect()
}

fn route(entry: &str) -> Result<(Method, String), String> {
    let parts = entry.split_once(' ').and_then(|(method, path)| {
        let path = path.trim();
        Some((
            method.parse().ok()?,
            path.starts_with("/v1/").then(|| path.to_owned())?,
        ))
    });
    parts.ok_or_else(|| format!("{entry:?} is not of the form `POST /v1/embeddings`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_name_method_and_path() {
        let expected = vec![
            (Method::POST, "/v1/a".into()),
            (Method::GET, "/v1/b".into()),
        ];
        assert_eq!(routes("POST /v1/a, GET  /v1/b,").unwrap(), expected);
        for bad in ["POST", "/v1/a", "POST /a", "P T /v1/a"] {
            assert!(routes(bad).is_err(), "{bad}");
        }
    }
}
