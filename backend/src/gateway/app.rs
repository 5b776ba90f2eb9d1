//! The state that all handlers share, built once from the configuration and closed once.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::access::Access;
use crate::access::client_keys::ClientKeysError;
use crate::cache::Cache;
use crate::cache::store::StoreOpenError;
use crate::config::{ComparisonRule, Config, CorsOrigins, Limits, PurgeRule, UpstreamsFile};
use crate::embeddings::entry::Entry;
use crate::embeddings::key::KeyScope;
use crate::embeddings::request::Rules;
use crate::gateway::derivations::Derivations;
use crate::gateway::memory_limit;
use crate::gateway::status::StatusState;
use crate::gateway::upstreams;
use crate::http::byte_budget::ByteBudget;
use crate::http::error::NO_STORE;
use crate::resolver::Resolver;
use crate::resolver::permits::Permits;
use crate::telemetry::otlp::ExporterError;
use crate::telemetry::{Gauges, Metrics, Tracer};
use crate::upstream::{Group, Upstreams};

/// Everything that a handler may need.
#[derive(Debug)]
pub struct App {
    /// Admits callers.
    pub access: Arc<Access>,
    /// The upstreams.
    pub upstreams: Arc<Upstreams>,
    /// Resolves inputs to vectors.
    pub resolver: Arc<Resolver>,
    response_max_age: Duration,
    /// `max-age` as a header's value.
    cache_control: HeaderValue,
    /// Which operators may purge; `None` turns purging off.
    pub purge_rule: Option<PurgeRule>,
    /// The pages in browsers that may call; `None` turns CORS off.
    pub cors: Option<CorsOrigins>,
    /// Bounds of requests.
    pub limits: Limits,
    /// What of a request for embeddings is understood.
    pub request_rules: Rules,
    /// The models whose shorter vectors are made of their full ones.
    pub derivations: Derivations,
    /// Permits for running requests.
    pub permits: Permits,
    /// Bytes that requests may hold.
    pub budget: ByteBudget,
    /// The status page's state; `None` if the operator turned the page off.
    pub status: Option<StatusState>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Makes traces, if a collector is configured.
    pub tracer: Option<Arc<Tracer>>,
    namespace: Arc<str>,
    comparison: ComparisonRule,
    /// The file of upstreams, if there is one.
    pub(super) upstreams_file: Option<UpstreamsFile>,
    tracker: TaskTracker,
    draining: AtomicBool,
}

/// The configuration is valid, but a file, the store or the upstream's client does not open.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum StartError {
    #[error("STORE: {0}")]
    Store(#[from] StoreOpenError),
    #[error("CLIENT_KEYS_FILE: {0}")]
    ClientKeys(#[from] ClientKeysError),
    #[error("OPENAI_API_KEY: cannot be sent in a header")]
    Key(#[from] http::header::InvalidHeaderValue),
    #[error(transparent)]
    Traces(#[from] ExporterError),
    #[error(transparent)]
    Upstreams(#[from] upstreams::UpstreamsError),
}

impl App {
    /// Opens the store, the upstream's client and the tracer, and starts the background work.
    pub async fn start(config: Config) -> Result<Arc<Self>, StartError> {
        let metrics = Arc::new(Metrics::new());
        let tracker = TaskTracker::new();
        let access = Arc::new(Access::new(&config.access)?);
        access.read_client_keys().await?;
        let status = status(&config);
        let (upstreams, upstreams_file) = upstreams::open(config.upstreams).await?;
        let cache = Cache::open(&config.cache, config.store.as_ref(), &metrics)?;
        let resolver = Arc::new(Resolver::new(
            cache,
            config.batch_window,
            Arc::clone(&access),
            Arc::clone(&metrics),
            tracker.clone(),
        ));
        let namespace = config.cache.namespace.as_str().into();
        resolver.follow_generations(&upstreams, &namespace).await;
        Ok(Arc::new(Self {
            status,
            access,
            upstreams,
            upstreams_file,
            resolver,
            namespace,
            comparison: config.comparison,
            cache_control: max_age(config.cache.response_max_age),
            response_max_age: config.cache.response_max_age,
            derivations: Derivations::new(config.cache.derived_models, Arc::clone(&metrics)),
            permits: Permits::new(config.limits.concurrent_requests),
            request_rules: request_rules(&config.limits, config.cache.fields),
            budget: ByteBudget::new(request_memory(&config.limits)),
            limits: config.limits,
            purge_rule: config.cache.purge,
            cors: config.cors,
            metrics,
            tracer: config.tracing.as_ref().map(Tracer::start).transpose()?,
            tracker,
            draining: AtomicBool::new(false),
        }))
    }

    /// Watches the purges, and the files of client keys and of upstreams.
    pub async fn watch(&self) -> Infallible {
        tokio::select! {
            never = upstreams::watch(self) => never,
            never = self.compare_upstreams() => never,
            never = self.access.watch_client_keys() => never,
            never = self.resolver.cache().watch() => never,
        }
    }

    /// Compares the upstreams of each model, as long as the gateway has credentials for them.
    async fn compare_upstreams(&self) -> Infallible {
        if self.access.passes_credentials() {
            return std::future::pending().await;
        }
        let (upstreams, rule) = (&self.upstreams, self.comparison);
        let resolver = &self.resolver;
        resolver
            .watch_vectors(upstreams, &self.namespace, rule)
            .await
    }

    /// `Cache-Control` of an answer of these entries: `no-store` if a purge came in between,
    /// because Varnish may have carried out that purge already.
    pub fn cache_control(&self, model: &str, scope: &str, entries: &[Arc<Entry>]) -> HeaderValue {
        let cache = self.resolver.cache();
        let oldest = entries.iter().map(|entry| entry.created_ms).min();
        let Some(oldest) = oldest.filter(|&oldest| !cache.purges().since(model, scope, oldest))
        else {
            return NO_STORE;
        };
        match cache.remaining(oldest) {
            Some(remaining) if remaining < self.response_max_age => max_age(remaining),
            _ => self.cache_control.clone(),
        }
    }

    /// Where the vectors of a scope are named.
    pub fn key_scope(&self, group: &Group, scope: &Arc<str>, query: Option<&str>) -> KeyScope {
        let upstream = match query {
            None => group.identity(),
            // No URL and no variable holds the byte that parts them.
            Some(query) => format!("{}\0{query}", group.identity()).into(),
        };
        KeyScope {
            namespace: Arc::clone(&self.namespace),
            upstream,
            scope: Arc::clone(scope),
        }
    }

    /// The gauges, as of now.
    pub fn gauges(&self) -> Gauges {
        let cache = self.resolver.cache();
        Gauges {
            in_flight_requests: self.permits.in_use(),
            memory: cache.memory_gauges(),
            store: cache.store_gauges(),
        }
    }

    /// Whether the gateway takes new requests.
    pub fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }

    /// Makes `/readyz` fail, so that the kubelet takes the pod out of its Service.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Waits for the work that outlives requests: running calls, then pending writes.
    pub async fn finish(&self) {
        self.tracker.close();
        self.tracker.wait().await;
        self.resolver.cache().finish().await;
    }

    /// Exports the last spans, until the deadline at the latest.
    pub async fn finish_traces(&self, deadline: Instant) {
        let Some(tracer) = self.tracer.clone() else {
            return;
        };
        let patience = deadline.saturating_duration_since(Instant::now());
        // It blocks, and the exporter needs this thread.
        let finished = spawn_blocking(move || tracer.finish(patience)).await;
        match finished {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans were not exported"),
            Err(error) => tracing::warn!(%error, "the last spans were not exported"),
        }
    }
}

fn status(config: &Config) -> Option<StatusState> {
    let place = config.store.as_ref().map(|store| &store.place);
    let page = config.status_page.as_ref()?;
    Some(StatusState::new(page, place))
}

fn request_rules(limits: &Limits, cacheable_fields: Vec<String>) -> Rules {
    Rules {
        max_inputs: limits.inputs,
        max_input_bytes: limits.input_bytes,
        cacheable_fields,
    }
}

/// As configured, else a share of what the container or the machine has.
fn request_memory(limits: &Limits) -> usize {
    limits.request_memory.unwrap_or_else(memory_limit::share)
}

fn max_age(age: Duration) -> HeaderValue {
    HeaderValue::try_from(format!("max-age={}", age.as_secs())).unwrap_or(NO_STORE)
}
