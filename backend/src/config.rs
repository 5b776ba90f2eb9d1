//! Configuration: environment variables, read once, in one place, with all errors reported
//! together.
//!
//! [`VARIABLES`] names every one of them; `--help` and `docs/configuration.md` come from it.

mod access;
pub mod build;
pub mod command_line;
mod cors;
pub(crate) mod forwarded;
pub(crate) mod log_filter;
mod parts;
mod proxy;
pub(crate) mod reader;
mod store;
mod tracing;
mod upstream;
mod upstreams;
mod upstreams_file;
pub(crate) mod value;
pub(crate) mod variables;

use std::net::SocketAddr;
use std::time::Duration;

use http::header::HeaderValue;
use secrecy::SecretString;
use tracing_subscriber::filter::Targets;

pub use self::access::{AccessConfig, AccessRule, ClientScope, ScopeRule};
pub use self::proxy::EgressProxy;
pub use self::reader::Problem;
use self::reader::{Reader, configured, environment, environment_with_store};
pub use self::store::{AwsSettings, StoreAdmission, StoreConfig, StorePlace};
pub use self::tracing::{OtlpProtocol, RootSampler, Sampling, SpanBatches, Tracing};
pub use self::upstream::{CallLimits, EncodingRule, RateLimits, UpstreamConfig};
pub use self::upstreams::{ModelConfig, UpstreamSet, UpstreamsConfig, UpstreamsFile};
pub use self::upstreams_file::{EXAMPLE as UPSTREAMS_EXAMPLE, FileProblem, ReadFile};
use self::variables as var;
pub use self::variables::{VARIABLES, Variable};

/// Everything that the environment decides.
#[derive(Debug)]
pub struct Config {
    /// Where to accept connections.
    pub listen: SocketAddr,
    /// The APIs behind the gateway.
    pub upstreams: UpstreamsConfig,
    /// How the upstreams of one model are compared.
    pub comparison: ComparisonRule,
    /// How long a call waits for the misses of other requests; no time makes each its own call.
    pub batch_window: Duration,
    /// Which callers are served, and with which credential.
    pub access: AccessConfig,
    /// What is cached, where, and for which callers.
    pub cache: CacheConfig,
    /// Where vectors survive a restart.
    pub store: Option<StoreConfig>,
    /// Bounds of requests.
    pub limits: Limits,
    /// The pages in browsers that may call; `None` turns CORS off.
    pub cors: Option<CorsOrigins>,
    /// The page for people; `None` turns it off.
    pub status_page: Option<StatusPage>,
    /// Where traces go; `None` traces nothing.
    pub tracing: Option<Tracing>,
    /// How long requests and writes may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_filter: Targets,
}

/// How the vectors of a model's upstreams are compared.
#[derive(Clone, Copy, Debug)]
pub struct ComparisonRule {
    /// How often.
    pub interval: Duration,
    /// Whether a new generation of the cache begins when the model drifts.
    pub drift_starts_generation: bool,
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
    /// Request fields that are known to act on each input by itself, beside the usual ones.
    pub fields: Vec<String>,
    /// Models whose shorter vectors are made of their full ones.
    pub derived_models: Vec<String>,
    /// How old an entry may become; `None` is for ever.
    pub entry_max_age: Option<Duration>,
    /// Which operators may purge; `None` turns purging off.
    pub purge: Option<PurgeRule>,
}

/// Which operators may purge.
#[derive(Debug)]
pub enum PurgeRule {
    /// Those that present this token.
    Token(SecretString),
    /// All that reach the gateway: the network decides who may call.
    Anonymous,
}

/// Bounds of one request, and of all of them together.
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
    /// Requests at the same time.
    pub concurrent_requests: usize,
    /// Connections at a time.
    pub connections: usize,
    /// To receive a request's headers, and for a connection to stay idle.
    pub header_timeout: Duration,
    /// To receive an embeddings request's body.
    pub body_timeout: Duration,
    /// What must arrive of any other body in each `body_timeout`.
    pub body_min_bytes: u64,
    /// Bytes of all requests and answers together; `None` is a share of the memory there is.
    pub request_memory: Option<usize>,
}

/// The origins whose pages may call the API from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigins {
    /// All.
    Any,
    /// These, as browsers write them in `Origin`.
    Listed(Vec<HeaderValue>),
}

/// The page for people.
#[derive(Clone, Copy, Debug)]
pub struct StatusPage {
    /// In dollars for a million tokens, until the viewer sets another price.
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

    /// Reads the process's environment, with this store in place of the one that it names.
    pub fn with_store(store: Option<&str>) -> Result<Self, Vec<Problem>> {
        configured(environment_with_store(store), Self::read)
    }

    /// Reads the given variables. An empty value counts as absent.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Problem>> {
        configured(variables, Self::read)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let listen = reader.read(&var::LISTEN, value::parsed);
        let upstreams = UpstreamsConfig::read(reader);
        let comparison = ComparisonRule::read(reader);
        let batch_window = reader.read(&var::BATCH_WINDOW, value::window);
        let access = AccessConfig::read(reader);
        let cache = CacheConfig::read(reader);
        let store = StoreConfig::read(reader);
        let limits = Limits::read(reader);
        let cors = reader.optional(&var::CORS_ORIGINS, cors::origins);
        let status_page = StatusPage::read(reader);
        let tracing = Tracing::read(reader);
        let shutdown_grace = reader.read(&var::SHUTDOWN_GRACE, value::duration);
        let log_format = reader.read(&var::LOG_FORMAT, value::log_format);
        let log_filter = reader.read(&var::RUST_LOG, log_filter::parse);
        Some(Self {
            listen: listen?,
            upstreams: upstreams?,
            comparison: comparison?,
            batch_window: batch_window?,
            access: access?,
            cache: cache?,
            store: store?,
            limits: limits?,
            cors,
            status_page: status_page?,
            tracing: tracing?,
            shutdown_grace: shutdown_grace?,
            log_format: log_format?,
            log_filter: log_filter?,
        })
    }
}
