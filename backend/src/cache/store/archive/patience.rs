//! How long the tool waits for a store, and what its errors mean to the tool.

use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use object_store::{BackoffConfig, RetryConfig};
use tokio::time::timeout;

use super::ArchiveError;
use crate::cache::store::fault::{StoreFault, code, reason};

/// For one operation with all its attempts, and for one page of a list.
const PATIENCE: Duration = Duration::from_secs(60);

/// No client waits, so a busy store is asked again.
const RETRIES: usize = 6;

pub(super) fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: RETRIES,
        retry_timeout: PATIENCE,
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
    }
}

/// The store's answer, whatever it is.
pub(super) async fn answered<T>(
    asked: impl Future<Output = object_store::Result<T>>,
) -> Result<object_store::Result<T>, ArchiveError> {
    let late = |_| ArchiveError("the store did not answer in time".to_owned());
    timeout(PATIENCE, asked).await.map_err(late)
}

/// What was asked for.
pub(super) async fn in_time<T>(
    asked: impl Future<Output = object_store::Result<T>>,
) -> Result<T, ArchiveError> {
    answered(asked).await?.map_err(|error| failed(&error))
}

/// What was asked for, if it is there.
pub(super) async fn present<T>(
    asked: impl Future<Output = object_store::Result<T>>,
) -> Result<Option<T>, ArchiveError> {
    match answered(asked).await? {
        Ok(found) => Ok(Some(found)),
        Err(error) if StoreFault::of(&error) == StoreFault::Absent => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

/// A list, each page in time.
pub(super) fn patiently<'a, T: Send + 'a>(
    listed: BoxStream<'a, object_store::Result<T>>,
) -> impl Stream<Item = Result<T, ArchiveError>> + Send + 'a {
    stream::unfold(Some(listed), |listed| async {
        let mut listed = listed?;
        let next = answered(async { listed.next().await.transpose() }).await;
        let next = next.and_then(|next| next.map_err(|error| failed(&error)));
        match next.transpose()? {
            Ok(found) => Some((Ok(found), Some(listed))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// Whether the store has no operation like this: `NotImplemented` of S3.
pub(super) fn is_unknown(error: &object_store::Error) -> bool {
    matches!(
        error,
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }
    ) || code(error).as_deref() == Some("NotImplemented")
}

pub(super) fn failed(error: &object_store::Error) -> ArchiveError {
    ArchiveError(reason(error))
}
