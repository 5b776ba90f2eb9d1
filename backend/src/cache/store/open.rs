//! Opens a store: its client, time-outs and retries.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};

use super::{Breaker, Store, WRITE_TIMEOUT};
use crate::config::{AwsSettings, StorePlace};
use crate::http::client::http_client;
use crate::telemetry::Metrics;

/// MinIO and SeaweedFS take any region; AWS names the right one in its error.
const DEFAULT_REGION: &str = "us-east-1";

/// The store cannot be opened as configured.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Unopenable {
    #[error("the directory cannot be made: {0}")]
    Directory(#[from] std::io::Error),
    #[error(transparent)]
    Client(#[from] object_store::Error),
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

/// Gives the S3 client the gateway's HTTP client; its own would obey the environment's proxies.
#[derive(Debug)]
struct OwnConnector;

impl HttpConnector for OwnConnector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = http_client()
            .build()
            .map_err(|error| object_store::Error::Generic {
                store: "S3",
                source: Box::new(error),
            })?;
        Ok(HttpClient::new(client))
    }
}
