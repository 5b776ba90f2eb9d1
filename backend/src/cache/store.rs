//! The store tier: one object an input, in a bucket or a directory.
//!
//! Whatever goes wrong reads as a miss and is counted. Only this file knows object names.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::breaker::{Attempt, Breaker, Change};
use crate::config::{AwsSettings, StorePlace};
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::openai;
use crate::tags::Tag;
use crate::telemetry::{Metrics, StoreOperation, StoreResult};

/// In front of every object of this format, so that a lifecycle rule can tell formats apart.
const FORMAT_PREFIX: &str = "v1";

/// Look-ups of one batch that run side by side.
const LOOKUPS_AT_ONCE: usize = 64;

/// What each further input of a batch adds to the deadline of its look-ups.
const DEADLINE_PER_INPUT: Duration = Duration::from_millis(2);

/// A write is nobody's wait: it may take longer than a look-up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// In front of every marker of a purge.
const MARKER_PREFIX: &str = "purge";

/// For writing one marker, or for listing all.
const MARKER_TIMEOUT: Duration = Duration::from_secs(2);

/// MinIO and SeaweedFS take any region; AWS names the right one in its error.
const DEFAULT_REGION: &str = "us-east-1";

/// Objects named by key.
#[derive(Debug)]
pub struct Store {
    objects: Box<dyn ObjectStore>,
    prefix: Path,
    timeout: Duration,
    breaker: Breaker,
    metrics: Arc<Metrics>,
}

/// The store cannot be what the configuration says.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Unopenable {
    #[error("the directory cannot be made: {0}")]
    Directory(#[from] std::io::Error),
    #[error(transparent)]
    Client(#[from] object_store::Error),
}

/// The markers of purges could not be read or written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Unmarked {
    #[error(transparent)]
    Failed(#[from] object_store::Error),
    #[error("the store did not answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
}

impl Store {
    /// Opens a store. A look-up takes at most `timeout`, and a little more for a batch.
    pub fn open(
        place: &StorePlace,
        timeout: Duration,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Unopenable> {
        let (objects, prefix): (Box<dyn ObjectStore>, _) = match place {
            StorePlace::Memory => (Box::new(InMemory::new()), Path::default()),
            StorePlace::Directory(path) => {
                std::fs::create_dir_all(path)?;
                (
                    Box::new(LocalFileSystem::new_with_prefix(path)?),
                    Path::default(),
                )
            }
            StorePlace::S3 {
                bucket,
                prefix,
                endpoint,
                settings,
            } => (
                Box::new(s3(bucket, endpoint.as_deref(), settings)?),
                Path::from(prefix.as_str()),
            ),
        };
        Ok(Self {
            objects,
            prefix,
            timeout,
            breaker: Breaker::new(),
            metrics,
        })
    }

    /// Looks up many keys side by side. The answers stand in the order of the keys.
    pub async fn get_all(&self, keys: Vec<Key>) -> Vec<Option<Entry>> {
        let more = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let deadline = Instant::now() + self.timeout + DEADLINE_PER_INPUT * more;
        let look_ups = stream::iter(keys).map(|key| self.get(key, deadline));
        look_ups.buffered(LOOKUPS_AT_ONCE).collect().await
    }

    /// Writes one entry, as soon as the breaker lets it; dropped if `hurry` comes first.
    pub async fn put(&self, key: &Key, entry: &Entry, hurry: &CancellationToken) {
        let attempt = loop {
            match self.breaker.ask() {
                Ok(attempt) => break attempt,
                Err(_) if hurry.is_cancelled() => {
                    return self
                        .metrics
                        .count_store(StoreOperation::Put, StoreResult::Dropped);
                }
                Err(until) => tokio::select! {
                    () = sleep_until(until) => {}
                    () = hurry.cancelled() => {}
                },
            }
        };
        let (path, object) = (self.path(key), entry.to_object(key));
        let result = match timeout(WRITE_TIMEOUT, self.objects.put(&path, object.into())).await {
            Ok(Ok(_)) => StoreResult::Ok,
            Ok(Err(error)) => failed(&error),
            Err(_) => StoreResult::Timeout,
        };
        self.report(attempt, StoreOperation::Put, result);
    }

    /// Writes the marker of a purge.
    pub async fn mark(&self, tag: &Tag, time_ms: u64) -> Result<(), Unmarked> {
        let path = self
            .markers_path()
            .join(tag.kind())
            .join(tag.name())
            .join(time_ms.to_string());
        timeout(MARKER_TIMEOUT, self.objects.put(&path, PutPayload::new())).await??;
        Ok(())
    }

    /// All markers of purges.
    pub async fn markers(&self) -> Result<Vec<(Tag, u64)>, Unmarked> {
        let path = self.markers_path();
        let listed = self.objects.list(Some(&path)).try_collect::<Vec<_>>();
        let listed = timeout(MARKER_TIMEOUT, listed).await??;
        Ok(listed
            .iter()
            .filter_map(|object| marker(&object.location))
            .collect())
    }

    fn markers_path(&self) -> Path {
        self.prefix.clone().join(MARKER_PREFIX)
    }

    async fn get(&self, key: Key, deadline: Instant) -> Option<Entry> {
        let Ok(attempt) = self.breaker.ask() else {
            self.metrics
                .count_store(StoreOperation::Get, StoreResult::Skipped);
            return None;
        };
        let (result, entry) = match timeout_at(deadline, self.read(&key)).await {
            Ok(Ok(bytes)) => match Entry::from_object(&key, &bytes) {
                Ok(entry) => (StoreResult::Ok, Some(entry)),
                Err(reason) => {
                    tracing::warn!(%key, %reason, "an object in the store is unusable");
                    (StoreResult::Unusable, None)
                }
            },
            Ok(Err(object_store::Error::NotFound { .. })) => (StoreResult::Absent, None),
            Ok(Err(error)) => (failed(&error), None),
            Err(_) => (StoreResult::Timeout, None),
        };
        self.report(attempt, StoreOperation::Get, result);
        entry
    }

    async fn read(&self, key: &Key) -> object_store::Result<bytes::Bytes> {
        self.objects.get(&self.path(key)).await?.bytes().await
    }

    fn report(&self, attempt: Attempt<'_>, operation: StoreOperation, result: StoreResult) {
        self.metrics.count_store(operation, result);
        match attempt.report(!matches!(
            result,
            StoreResult::Failed | StoreResult::Timeout
        )) {
            Change::Opened => tracing::warn!("the store keeps failing and is left alone for now"),
            Change::Closed => tracing::info!("the store works again"),
            Change::None => {}
        }
    }

    /// `prefix/v1/ab/abcd…`: two digits of fan-out keep local directories small.
    fn path(&self, key: &Key) -> Path {
        let name = key.to_string();
        self.prefix
            .clone()
            .join(FORMAT_PREFIX)
            .join(&name[..2])
            .join(name.as_str())
    }
}

/// `…/<kind>/<name>/<Unix milliseconds>`
fn marker(path: &Path) -> Option<(Tag, u64)> {
    let parts: Vec<_> = path.parts().collect();
    let [.., kind, name, time] = parts.as_slice() else {
        return None;
    };
    Some((
        Tag::new(kind.as_ref(), name.as_ref()),
        time.as_ref().parse().ok()?,
    ))
}

fn failed(error: &object_store::Error) -> StoreResult {
    tracing::debug!(%error, "an operation of the store failed");
    StoreResult::Failed
}

fn s3(
    bucket: &str,
    endpoint: Option<&str>,
    settings: &AwsSettings,
) -> Result<object_store::aws::AmazonS3, Unopenable> {
    let mut builder = AmazonS3Builder::new()
        .with_region(DEFAULT_REGION)
        .with_http_connector(OwnConnector)
        .with_retry(retries());
    for (name, value) in &settings.0 {
        let known: Result<AmazonS3ConfigKey, _> = name.to_ascii_lowercase().parse();
        match known {
            Ok(key) => builder = builder.with_config(key, value),
            // AWS has more variables than its S3 client: AWS_PAGER is none of our business.
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

/// One more attempt at once: what takes longer is better paid than waited for.
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

/// Hands our own client to the S3 client, which would obey the environment's proxies.
#[derive(Debug)]
struct OwnConnector;

impl HttpConnector for OwnConnector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client =
            openai::http_client()
                .build()
                .map_err(|error| object_store::Error::Generic {
                    store: "S3",
                    source: Box::new(error),
                })?;
        Ok(HttpClient::new(client))
    }
}
