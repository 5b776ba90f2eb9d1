//! Opens a store: its client, time-outs and retries.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};

use tokio::sync::Semaphore;

use super::check::Rights;
use super::connector::Connector;
use super::{Breaker, Store, WRITE_TIMEOUT};
use crate::cache::clock::Clock;
use crate::cache::throttled_log::ThrottledLog;
use crate::config::{AwsSettings, StoreConfig, StorePlace};
use crate::telemetry::Metrics;

/// MinIO and SeaweedFS take any region; AWS names the right one in its error.
const DEFAULT_REGION: &str = "us-east-1";

/// The store cannot be opened as configured.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum StoreOpenError {
    #[error("the directory cannot be made: {0}")]
    Directory(#[from] std::io::Error),
    #[error("the directory cannot be read: {0}")]
    Absent(std::io::Error),
    #[error(transparent)]
    Client(#[from] object_store::Error),
}

impl Store {
    /// Opens a store.
    pub fn open(
        configured: &StoreConfig,
        clock: &Arc<Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreOpenError> {
        let (objects, prefix) = objects(&configured.place, clock, retries())?;
        let lists_in_order = lists_in_order(&configured.place);
        let tells_time = matches!(configured.place, StorePlace::S3 { .. });
        let (timeout, connections) = (configured.timeout, configured.connections);
        Ok(Self {
            lists_in_order,
            clock: tells_time.then(|| Arc::clone(clock)),
            ..Self::on(objects, prefix, timeout, connections, metrics)
        })
    }

    /// A store of these objects.
    pub(super) fn on(
        objects: Box<dyn ObjectStore>,
        prefix: Path,
        timeout: Duration,
        connections: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            objects,
            prefix,
            lists_in_order: true,
            timeout,
            connections: Semaphore::new(connections),
            reads: Breaker::new(),
            writes: Breaker::new(),
            rights: Rights::default(),
            failed_reads: ThrottledLog::default(),
            failed_writes: ThrottledLog::default(),
            clock: None,
            tells_no_time: AtomicBool::new(false),
            metrics,
        }
    }
}

/// The client of a place, and what stands in front of all names there.
pub(super) fn objects(
    place: &StorePlace,
    clock: &Arc<Clock>,
    retries: RetryConfig,
) -> Result<(Box<dyn ObjectStore>, Path), StoreOpenError> {
    Ok(match place {
        StorePlace::Memory => (Box::new(InMemory::new()), Path::default()),
        StorePlace::Directory(path) => {
            std::fs::create_dir_all(path)?;
            // Folders that a check has left empty go too.
            let files = LocalFileSystem::new_with_prefix(path)?.with_automatic_cleanup(true);
            (Box::new(files), Path::default())
        }
        StorePlace::S3 {
            bucket,
            prefix,
            endpoint,
            settings,
        } => {
            let clock = Arc::clone(clock);
            let connector = Connector { clock };
            let client = s3(bucket, endpoint.as_deref(), settings, connector, retries)?;
            (Box::new(client), Path::from(prefix.as_str()))
        }
    })
}

/// Whether listings are in the order of the names.
pub(super) fn lists_in_order(place: &StorePlace) -> bool {
    !matches!(place, StorePlace::Directory(_))
}

fn s3(
    bucket: &str,
    endpoint: Option<&str>,
    settings: &AwsSettings,
    connector: Connector,
    retries: RetryConfig,
) -> Result<object_store::aws::AmazonS3, StoreOpenError> {
    let mut builder = AmazonS3Builder::new()
        .with_region(DEFAULT_REGION)
        .with_http_connector(connector)
        // Not every S3 server deletes many objects at once.
        .with_disable_bulk_delete(true)
        .with_retry(retries);
    for (name, value) in &settings.0 {
        let known: Result<AmazonS3ConfigKey, _> = name.to_ascii_lowercase().parse();
        match known {
            Ok(key) => builder = builder.with_config(key, value),
            // AWS has more variables than its S3 client knows: AWS_PAGER, say.
            Err(_) => tracing::debug!(name, "not a setting of the S3 client"),
        }
    }
    builder = builder.with_bucket_name(bucket);
    if let Some(endpoint) = endpoint {
        builder = builder
            .with_endpoint(endpoint)
            .with_allow_http(endpoint.starts_with("http://"))
            .with_virtual_hosted_style_request(false);
    }
    Ok(builder.build()?)
}

/// One more attempt at once: a longer wait costs more than a call to the upstream.
fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: 1,
        retry_timeout: WRITE_TIMEOUT,
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(20),
            // The client draws from the range between the two, and panics if it is empty.
            max_backoff: Duration::from_millis(40),
            base: 2.0,
        },
    }
}
