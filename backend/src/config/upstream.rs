//! One upstream: where it is, how long the gateway waits for it, and what a call may hold.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;
use reqwest::Url;

use super::proxy::{self, EgressProxy};
use super::reader::Reader;
use super::{value, variables as var};

/// Exact as a floating-point number.
const MAX_A_MINUTE: usize = 1_000_000_000_000;

/// The name of the upstream that variables describe.
const ONLY: &str = "upstream";

/// An upstream, and how long the gateway waits for it.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamConfig {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Ends with the path that stands for `/v1`, without a slash.
    pub base_url: Url,
    /// The upstream's part of every key.
    pub id: String,
    /// Headers that every call to it has, marked as sensitive: the gateway's credential may be one.
    pub headers: HeaderMap,
    /// The models that it has another name for: the clients' name, and its own.
    pub models: BTreeMap<Arc<str>, Arc<str>>,
    /// Those with a lower number are asked first.
    pub priority: u32,
    /// Its share of the calls among those of its priority.
    pub weight: u32,
    /// Whether it serves other routes than embeddings.
    pub serves_all: bool,
    /// Authorities that may certify the upstream, besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// The proxy in between.
    pub proxy: Option<EgressProxy>,
    /// Which `encoding_format` embeddings calls ask for.
    pub encoding: EncodingRule,
    /// What one embeddings call may hold.
    pub limits: CallLimits,
    /// How fast calls may follow each other.
    pub rate: RateLimits,
    /// For connecting to it.
    pub connect_timeout: Duration,
    /// For an embeddings call from start to end.
    pub timeout: Duration,
    /// How long an embeddings call waits for it while another upstream could take the call.
    pub failover_after: Duration,
    /// For the silence between two pieces of a streamed answer.
    pub idle_timeout: Duration,
    /// How long an idle connection is kept.
    pub pool_idle: Duration,
    /// How long a connection takes new requests.
    pub connection_age: Duration,
}

/// Which `encoding_format` embeddings calls ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodingRule {
    /// Base64, or none where the upstream refuses it.
    Base64,
    /// Float, or none where the upstream refuses it.
    Float,
    /// What the client asks for.
    AsAsked,
}

/// The most that one embeddings call may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Inputs.
    pub inputs: usize,
    /// Tokens of all inputs together.
    pub tokens: usize,
    /// Bytes of all inputs together, as JSON.
    pub bytes: usize,
}

/// How fast the calls of one credential for one model may follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Calls a minute, if the operator says so.
    pub requests: Option<usize>,
    /// Tokens a minute, if the operator says so.
    pub tokens: Option<usize>,
    /// How long a call waits for its turn. Without any time, only the operator's limits hold.
    pub wait: Duration,
}

impl UpstreamConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let base_url = reader.read(&var::OPENAI_BASE_URL, value::base_url);
        let id = reader.optional(&var::UPSTREAM_ID, value::text);
        let ca_file = reader.optional(&var::UPSTREAM_CA_FILE, value::path);
        let proxy = proxy::of_environment(reader);
        let encoding = reader.read(&var::UPSTREAM_ENCODING, value::encoding);
        let limits = CallLimits::read(reader);
        let rate = RateLimits::read(reader);
        let connect_timeout = reader.read(&var::UPSTREAM_CONNECT_TIMEOUT, value::patience);
        let timeout = reader.read(&var::UPSTREAM_TIMEOUT, value::patience);
        let failover_after = reader.read(&var::UPSTREAM_FAILOVER_AFTER, value::patience);
        let idle_timeout = reader.read(&var::UPSTREAM_IDLE_TIMEOUT, value::patience);
        let pool_idle = reader.read(&var::UPSTREAM_POOL_IDLE, value::duration);
        let connection_age = reader.read(&var::UPSTREAM_CONNECTION_AGE, value::patience);
        let base_url = base_url?;
        Some(Self {
            name: ONLY.into(),
            id: id.unwrap_or_else(|| base_url.to_string()),
            base_url,
            headers: HeaderMap::new(),
            models: BTreeMap::new(),
            priority: 1,
            weight: 1,
            serves_all: true,
            ca_file,
            proxy,
            encoding: encoding?,
            limits: limits?,
            rate: rate?,
            connect_timeout: connect_timeout?,
            timeout: timeout?,
            failover_after: failover_after?,
            idle_timeout: idle_timeout?,
            pool_idle: pool_idle?,
            connection_age: connection_age?,
        })
    }
}

impl CallLimits {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let inputs = reader.read(&var::UPSTREAM_MAX_INPUTS, value::count);
        let tokens = reader.read(&var::UPSTREAM_MAX_TOKENS, value::count);
        let bytes = reader.read(&var::UPSTREAM_MAX_BYTES, value::size_from(1));
        Some(Self {
            inputs: inputs?,
            tokens: tokens?,
            bytes: bytes?,
        })
    }

    /// What fits into both.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        Self {
            inputs: self.inputs.min(other.inputs),
            tokens: self.tokens.min(other.tokens),
            bytes: self.bytes.min(other.bytes),
        }
    }
}

impl RateLimits {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let requests = reader.optional(&var::UPSTREAM_REQUESTS_PER_MINUTE, a_minute);
        let tokens = reader.optional(&var::UPSTREAM_TOKENS_PER_MINUTE, a_minute);
        let wait = reader.read(&var::RATE_WAIT, value::duration)?;
        Some(Self {
            requests,
            tokens,
            wait,
        })
    }

    /// Whether the operator set a limit.
    pub fn are_set(&self) -> bool {
        self.requests.is_some() || self.tokens.is_some()
    }
}

/// A limit of so much a minute.
pub(super) fn a_minute(value: &str) -> Result<usize, String> {
    let number = value.parse().ok();
    number
        .filter(|number| (1..=MAX_A_MINUTE).contains(number))
        .ok_or_else(|| format!("must be a number from 1 to {MAX_A_MINUTE}"))
}
