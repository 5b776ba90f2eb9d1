//! Reads each part of the configuration from its variables.

use super::reader::Reader;
use super::variables as var;
use super::{
    AccessConfig, AccessRule, CacheConfig, ClientScope, Limits, PurgeRule, ScopeRule, StatusPage,
    UpstreamConfig, Variable, forwarded, value,
};

/// `{"input":"a","model":"m"}`
const MIN_BODY_BYTES: usize = 25;

/// `"a"`
const MIN_INPUT_BYTES: usize = 3;

/// A request of the usual size, its vectors and their answer.
const MIN_REQUEST_MEMORY: usize = 1 << 20;

impl UpstreamConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let base_url = reader.read(&var::OPENAI_BASE_URL, value::base_url);
        let id = reader.optional(&var::UPSTREAM_ID, value::text);
        let ca_file = reader.optional(&var::UPSTREAM_CA_FILE, value::path);
        let encoding = reader.read(&var::UPSTREAM_ENCODING, value::encoding);
        let max_inputs = reader.read(&var::UPSTREAM_MAX_INPUTS, value::count);
        let connect_timeout = reader.read(&var::UPSTREAM_CONNECT_TIMEOUT, value::patience);
        let timeout = reader.read(&var::UPSTREAM_TIMEOUT, value::patience);
        let idle_timeout = reader.read(&var::UPSTREAM_IDLE_TIMEOUT, value::patience);
        let pool_idle = reader.read(&var::UPSTREAM_POOL_IDLE, value::duration);
        let base_url = base_url?;
        Some(Self {
            id: id.unwrap_or_else(|| base_url.to_string()),
            base_url,
            ca_file,
            encoding: encoding?,
            max_inputs: max_inputs?,
            connect_timeout: connect_timeout?,
            timeout: timeout?,
            idle_timeout: idle_timeout?,
            pool_idle: pool_idle?,
        })
    }
}

impl AccessConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let key = reader.optional(&var::OPENAI_API_KEY, value::secret);
        let credential_ttl = reader.read(&var::CREDENTIAL_TTL, value::patience);
        let client_keys = reader.optional(&var::CLIENT_KEYS_FILE, value::path);
        let anonymous = reader.read(&var::ALLOW_ANONYMOUS, value::boolean);
        let allowed_routes = reader.read(&var::ALLOWED_ROUTES, value::routes);
        let models = reader.optional(&var::ALLOWED_EMBEDDING_MODELS, value::list);
        let forward_headers = reader
            .optional(&var::FORWARD_HEADERS, forwarded::names)
            .unwrap_or_default();

        let Some(key) = key else {
            let scope = reader.optional(&var::CACHE_SCOPE, value::scope);
            let credential_ttl = credential_ttl?;
            return Some(Self {
                rule: AccessRule::PassThrough {
                    scope: scope.unwrap_or(ScopeRule::Credential),
                    credential_ttl,
                },
                models,
                forward_headers,
            });
        };
        refuse_open_or_doubled_access(reader, client_keys.is_some(), anonymous?);
        if !forward_headers.is_empty() {
            refuse_forwarding(reader);
        }
        let scope = reader.optional(&var::CACHE_SCOPE, value::client_scope);
        let allowed_routes = allowed_routes?;
        Some(Self {
            rule: AccessRule::Gateway {
                key,
                scope: scope.unwrap_or_else(|| usual_scope(client_keys.is_some())),
                client_keys,
                allowed_routes,
            },
            models,
            forward_headers,
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

impl CacheConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let namespace = reader
            .optional(&var::CACHE_NAMESPACE, value::text)
            .unwrap_or_default();
        let fields = reader
            .optional(&var::CACHEABLE_FIELDS, value::list)
            .unwrap_or_default();
        let memory_bytes = reader.read(&var::MEMORY_CACHE_BYTES, value::bytes);
        let response_max_age = reader.read(&var::RESPONSE_MAX_AGE, value::duration);
        let entry_max_age = reader.optional(&var::ENTRY_MAX_AGE, value::patience);
        let purge = PurgeRule::read(reader, &var::ADMIN_TOKEN, &var::ALLOW_ANONYMOUS_PURGE);
        Some(Self {
            namespace,
            fields,
            memory_bytes: memory_bytes?,
            response_max_age: response_max_age?,
            entry_max_age,
            purge,
        })
    }
}

impl PurgeRule {
    /// `None` turns purging off.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        token: &Variable,
        anonymous: &Variable,
    ) -> Option<Self> {
        let secret = reader.optional(token, value::secret);
        let is_anonymous = reader.read(anonymous, value::boolean)?;
        if secret.is_some() && is_anonymous {
            let reason = format!("contradicts {}: set one of them", token.name);
            reader.refuse(anonymous, &reason);
        }
        let rule = secret.map(Self::Token);
        rule.or(is_anonymous.then_some(Self::Anonymous))
    }
}

impl Limits {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let body_bytes = reader.read(&var::MAX_BODY_BYTES, value::size_from(MIN_BODY_BYTES));
        let inputs = reader.read(&var::MAX_INPUTS, value::count);
        let input_bytes = reader.read(&var::MAX_INPUT_BYTES, value::size_from(MIN_INPUT_BYTES));
        let header_bytes = reader.read(&var::MAX_HEADER_BYTES, value::header_size);
        let concurrent_requests = reader.read(&var::MAX_CONCURRENT_REQUESTS, value::count);
        let connections = reader.read(&var::MAX_CONNECTIONS, value::count);
        let header_timeout = reader.read(&var::HEADER_TIMEOUT, value::client_patience);
        let body_timeout = reader.read(&var::BODY_TIMEOUT, value::client_patience);
        let body_min_bytes = reader.read(&var::BODY_MIN_BYTES, value::bytes);
        let request_memory = reader.optional(
            &var::REQUEST_MEMORY_BYTES,
            value::size_from(MIN_REQUEST_MEMORY),
        );
        Some(Self {
            body_bytes: body_bytes?,
            inputs: inputs?,
            input_bytes: input_bytes?,
            header_bytes: header_bytes?,
            concurrent_requests: concurrent_requests?,
            connections: connections?,
            header_timeout: header_timeout?,
            body_timeout: body_timeout?,
            body_min_bytes: body_min_bytes?,
            request_memory,
        })
    }
}

impl StatusPage {
    /// `Some(None)`: the operator turned the page off.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Option<Self>> {
        let wanted = reader.read(&var::STATUS_PAGE, value::boolean);
        let token_price = reader.read(&var::TOKEN_PRICE, price)?;
        Some(wanted?.then_some(Self { token_price }))
    }
}

fn price(value: &str) -> Result<f64, String> {
    let price = value.parse().ok();
    price
        .filter(|price: &f64| price.is_finite() && *price >= 0.0)
        .ok_or_else(|| "must be an amount of dollars, as in 0.02".into())
}
