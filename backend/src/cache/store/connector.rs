//! The HTTP client of the S3 client: it obeys no proxy of the environment, and reads the store's
//! time from its answers.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use http::StatusCode;
use http::header::DATE;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
};
use tokio::time::Instant;

use crate::cache::clock::{Clock, ToldTime, millis};
use crate::http::client::http_client;

/// `Date` tells whole seconds.
const PRECISION: Duration = Duration::from_secs(1);

/// Connects the S3 client.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) clock: Arc<Clock>,
}

#[derive(Debug)]
struct DatedService {
    client: reqwest::Client,
    clock: Arc<Clock>,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = http_client()
            .build()
            .map_err(|error| object_store::Error::Generic {
                store: "S3",
                source: Box::new(error),
            })?;
        let clock = Arc::clone(&self.clock);
        Ok(HttpClient::new(DatedService { client, clock }))
    }
}

#[async_trait]
impl HttpService for DatedService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let sent = Instant::now();
        let answer = self.client.call(request).await?;
        if let Some(time_ms) = told(&answer) {
            self.clock.hear(ToldTime {
                sent,
                received: Instant::now(),
                time_ms,
                precision: PRECISION,
            });
        }
        Ok(answer)
    }
}

/// The time in an answer of the store. A 5xx may be some proxy's.
fn told(answer: &HttpResponse) -> Option<u64> {
    if answer.status() >= StatusCode::INTERNAL_SERVER_ERROR {
        return None;
    }
    let date = answer.headers().get(DATE)?.to_str().ok()?;
    let date = httpdate::parse_http_date(date).ok()?;
    Some(millis(date.duration_since(UNIX_EPOCH).ok()?))
}
