//! Entries that must not be taken for absent because the store fails.

use object_store::ObjectStoreExt;
use tokio::time::timeout;

use super::{Store, WRITE_TIMEOUT};
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::telemetry::StoreResult;

/// The store could not say what is there, or did not take an entry.
#[derive(Debug, thiserror::Error)]
#[error("the store does not answer, refuses, or has a damaged object")]
pub struct PinError;

impl Store {
    /// The entry of a key, if it has one.
    pub async fn find(&self, key: &Key) -> Result<Option<Entry>, PinError> {
        match timeout(WRITE_TIMEOUT, self.read(key)).await {
            Ok(Ok((bytes, _))) => Entry::from_object(key, &bytes)
                .map(Some)
                .map_err(|_| PinError),
            Ok(Err(error)) if self.failed(&error) == StoreResult::Absent => Ok(None),
            Ok(Err(_)) | Err(_) => Err(PinError),
        }
    }

    /// Writes an entry, in place of one that may be there.
    pub async fn keep(&self, key: &Key, entry: &Entry) -> Result<(), PinError> {
        let (path, object) = (self.path(key), entry.to_object(key));
        let kept = timeout(WRITE_TIMEOUT, self.objects.put(&path, object.into())).await;
        kept.map_err(|_| PinError)?.map(drop).map_err(|_| PinError)
    }
}
