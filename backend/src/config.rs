//! Configuration: environment variables, read once, in one place, with all errors reported at
//! once.
//!
//! [`VARIABLES`] names every one of them; `--help` and `docs/configuration.md` come from it.

pub mod build;
pub mod command_line;
pub(crate) mod log_filter;
mod parts;
pub(crate) mod reader;
mod store;
mod tracing;
pub(crate) mod value;
pub(crate) mod variables;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

pub use self::reader::Problem;
use self::reader::{Reader, configured, environment};
pub use self::store::{AwsSettings, StoreAdmission, StoreConfig, StorePlace};
pub use self::tracing::{Batching, OtlpProtocol, RootSampler, Sampling, Tracing};
use self::variables as var;
pub use self::variables::{VARIABLES, Variable};

/// Everything that the environment decides.
#[derive(Debug)]
pub struct Config {
    /// Where to accept connections.
    pub listen: SocketAddr,
    /// Who answers what the cache cannot.
    pub upstream: UpstreamConfig,
    /// Whose requests are served, and with which credential.
    pub access: AccessConfig,
    /// What is cached, where and for whom.
    pub cache: CacheConfig,
    /// Where vectors survive a restart.
    pub store: Option<StoreConfig>,
    /// What is too much.
    pub limits: Limits,
    /// What people may see in a browser; `None` is nothing.
    pub status_page: Option<StatusPage>,
    /// Where traces go; `None` traces nothing.
    pub tracing: Option<Tracing>,
    /// How long work may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written, in the manner of `RUST_LOG`.
    pub log_filter: String,
}

/// The upstream and our patience with it.
#[derive(Debug)]
pub struct UpstreamConfig {
    /// Ends with the path that stands for `/v1`, without a slash.
    pub base_url: Url,
    /// The upstream's part of every key.
    pub id: String,
    /// Authorities that it is trusted by, besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// Inputs of one embeddings call.
    pub max_inputs: usize,
    /// To reach it at all.
    pub connect_timeout: Duration,
    /// For an embeddings call from start to end.
    pub timeout: Duration,
    /// For the silence between two pieces of a streamed answer.
    pub idle_timeout: Duration,
}

/// Who may do what.
#[derive(Debug)]
pub struct AccessConfig {
    /// Whose credential goes upstream.
    pub rule: AccessRule,
    /// The models that embeddings may be asked of; `None` allows all.
    pub models: Option<Vec<String>>,
}

/// Whose credential goes upstream.
#[derive(Debug)]
pub enum AccessRule {
    /// The caller's own.
    PassThrough {
        /// Who shares vectors with whom.
        scope: ScopeRule,
        /// How long a credential counts as accepted after the upstream accepted it.
        credential_ttl: Duration,
    },
    /// The gateway's.
    Gateway {
        /// The upstream's key.
        key: SecretString,
        /// SHA-256 of the keys that callers may present; `None` lets everybody in.
        client_keys: Option<PathBuf>,
        /// `METHOD /path` of what callers may use.
        allowed_routes: Vec<(http::Method, String)>,
    },
}

/// Who shares vectors with whom, while callers' credentials go upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeRule {
    /// Nobody: each credential has its own.
    Credential,
    /// Credentials of one organisation, as the upstream names it.
    Organization,
    /// Everybody whom the upstream accepts.
    Shared,
}

/// What is cached and for how long.
#[derive(Debug)]
pub struct CacheConfig {
    /// Part of every key: another name starts an empty cache.
    pub namespace: String,
    /// Bound of the memory tier; 0 turns it off.
    pub memory_bytes: u64,
    /// `max-age` of answers that an HTTP cache may store.
    pub response_max_age: Duration,
    /// How old an entry may become; `None` is for ever.
    pub entry_max_age: Option<Duration>,
    /// Who may purge; `None` is nobody.
    pub purge: Option<PurgeRule>,
}

/// Who may purge.
#[derive(Debug)]
pub enum PurgeRule {
    /// Who presents this token.
    Token(SecretString),
    /// Everybody: the network decides who may call.
    Everybody,
}

/// What is too much for one request, and for all of them together.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Body of an embeddings request.
    pub body_bytes: usize,
    /// Inputs of an embeddings request.
    pub inputs: usize,
    /// One input, as JSON.
    pub input_bytes: usize,
    /// All headers of a request together.
    pub header_bytes: usize,
    /// Requests at a time.
    pub concurrent_requests: usize,
    /// To receive a request's headers, and for a connection to stay idle.
    pub header_timeout: Duration,
    /// To receive an embeddings request's body.
    pub body_timeout: Duration,
}

/// The page for people.
#[derive(Clone, Copy, Debug)]
pub struct StatusPage {
    /// In dollars for a million tokens, until the viewer says otherwise.
    pub token_price: f64,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Config {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, Vec<Problem>> {
        Self::from_variables(environment())
    }

    /// Reads the given variables. An empty value counts as absent.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Problem>> {
        configured(variables, Self::read)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let listen = reader.read(&var::LISTEN, value::parsed);
        let upstream = UpstreamConfig::read(reader);
        let access = AccessConfig::read(reader);
        let cache = CacheConfig::read(reader);
        let store = StoreConfig::read(reader);
        let limits = Limits::read(reader);
        let status_page = StatusPage::read(reader);
        let tracing = Tracing::read(reader);
        let shutdown_grace = reader.read(&var::SHUTDOWN_GRACE, value::duration);
        let log_format = reader.read(&var::LOG_FORMAT, value::log_format);
        let log_filter = reader.read(&var::RUST_LOG, log_filter::parse);
        Some(Self {
            listen: listen?,
            upstream: upstream?,
            access: access?,
            cache: cache?,
            store: store?,
            limits: limits?,
            status_page: status_page?,
            tracing: tracing?,
            shutdown_grace: shutdown_grace?,
            log_format: log_format?,
            log_filter: log_filter?,
        })
    }
}
