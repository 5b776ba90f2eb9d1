//! Reads each part of the configuration from its variables.

use super::reader::Reader;
use super::variables as var;
use super::{CacheConfig, ComparisonRule, Limits, PurgeRule, StatusPage, Variable, value};

/// `{"input":"a","model":"m"}`
const MIN_BODY_BYTES: usize = 25;

/// `"a"`
const MIN_INPUT_BYTES: usize = 3;

/// A request of the usual size, its vectors and their answer.
const MIN_REQUEST_MEMORY: usize = 1 << 20;

impl CacheConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let namespace = reader
            .optional(&var::CACHE_NAMESPACE, value::text)
            .unwrap_or_default();
        let fields = reader
            .optional(&var::CACHEABLE_FIELDS, value::list)
            .unwrap_or_default();
        let derived_models = reader
            .optional(&var::DERIVE_DIMENSIONS, value::list)
            .unwrap_or_default();
        let memory_bytes = reader.read(&var::MEMORY_CACHE_BYTES, value::bytes);
        let response_max_age = reader.read(&var::RESPONSE_MAX_AGE, value::duration);
        let entry_max_age = reader.optional(&var::ENTRY_MAX_AGE, value::patience);
        let purge = PurgeRule::read(reader, &var::ADMIN_TOKEN, &var::ALLOW_ANONYMOUS_PURGE);
        Some(Self {
            namespace,
            fields,
            derived_models,
            memory_bytes: memory_bytes?,
            response_max_age: response_max_age?,
            entry_max_age,
            purge,
        })
    }
}

impl ComparisonRule {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let interval = reader.read(&var::COMPARE_UPSTREAMS_EVERY, value::patience);
        let starts = reader.read(&var::DRIFT_STARTS_GENERATION, value::boolean);
        Some(Self {
            interval: interval?,
            drift_starts_generation: starts?,
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
