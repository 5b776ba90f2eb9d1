//! A whole store, as the operator's tool reads and writes it: no breaker and no request's deadline,
//! and a failure is told instead of read as a miss.

mod listing;
mod names;
mod patience;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};

pub use self::listing::{Folder, ListedObject};
pub use self::names::key as parse_key;
use self::patience::{answered, failed, in_time, is_unknown, patiently, present, retries};
use super::lookups::date_by_writing;
use super::markers::{MARKER_PREFIX, marker};
use super::open::{StoreOpenError, lists_in_order, objects};
use super::path;
use crate::cache::Freshness;
use crate::cache::clock::Clock;
use crate::cache::purges::Purges;
use crate::config::StorePlace;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;

/// All objects of a store.
#[derive(Debug)]
pub struct Archive {
    url: String,
    objects: Box<dyn ObjectStore>,
    prefix: Path,
    is_ordered: bool,
    /// Some S3 servers know no `If-None-Match`.
    puts_blindly: AtomicBool,
    clock: Arc<Clock>,
}

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredObject {
    /// Nothing.
    Absent,
    /// An object that reads as a miss.
    Unusable,
    /// An entry.
    Entry(Box<Entry>),
}

/// The store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArchiveError(pub(crate) String);

impl Archive {
    /// Opens the store of a place. A directory that is only to be read must be there.
    pub fn open(place: &StorePlace, is_read: bool) -> Result<Self, StoreOpenError> {
        if let StorePlace::Directory(path) = place
            && is_read
        {
            std::fs::read_dir(path).map_err(StoreOpenError::Absent)?;
        }
        let clock = Arc::new(Clock::new());
        let (objects, prefix) = objects(place, &clock, retries())?;
        Ok(Self {
            url: place.url(),
            objects,
            prefix,
            is_ordered: lists_in_order(place),
            puts_blindly: AtomicBool::new(false),
            clock,
        })
    }

    /// Where it is, as `STORE` names it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Reads an object, or its first `most` bytes; `None` if it is gone.
    pub async fn read(
        &self,
        path: &Path,
        most: Option<u64>,
    ) -> Result<Option<Bytes>, ArchiveError> {
        let range = most.map(|most| (0..most).into());
        let options = GetOptions {
            range,
            ..GetOptions::default()
        };
        let read = async { self.objects.get_opts(path, options).await?.bytes().await };
        present(read).await
    }

    /// What is stored under a key.
    pub async fn entry(&self, key: &Key) -> Result<StoredObject, ArchiveError> {
        let path = path(&self.prefix, key);
        let read = async {
            let found = self.objects.get(&path).await?;
            let written_ms = written_ms(&found.meta);
            Ok((found.bytes().await?, written_ms))
        };
        let Some((object, written_ms)) = present(read).await? else {
            return Ok(StoredObject::Absent);
        };
        Ok(match Entry::from_object(key, &object) {
            Ok(mut entry) => {
                date_by_writing(&mut entry, written_ms);
                StoredObject::Entry(Box::new(entry))
            }
            Err(_) => StoredObject::Unusable,
        })
    }

    /// Writes an entry where there is none. Returns whether there was none.
    pub async fn create(&self, key: &Key, entry: &Entry) -> Result<bool, ArchiveError> {
        if self.puts_blindly.load(Ordering::Relaxed) {
            return self.replace(key, entry).await.map(|()| true);
        }
        let (path, object) = (
            path(&self.prefix, key),
            PutPayload::from(entry.to_object(key)),
        );
        let put = self.objects.put_opts(&path, object, PutMode::Create.into());
        match answered(put).await? {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) if is_unknown(&error) => {
                self.puts_blindly.store(true, Ordering::Relaxed);
                self.replace(key, entry).await.map(|()| true)
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// Writes an entry, whatever is there.
    pub async fn replace(&self, key: &Key, entry: &Entry) -> Result<(), ArchiveError> {
        let (path, object) = (path(&self.prefix, key), entry.to_object(key));
        in_time(self.objects.put(&path, object.into())).await?;
        Ok(())
    }

    /// Deletes an object, if it is still there.
    pub async fn delete(&self, path: Path) -> Result<(), ArchiveError> {
        present(self.objects.delete(&path)).await?;
        Ok(())
    }

    /// When gateways serve what is stored of a model and a scope; asks for the purges.
    pub async fn freshness(
        &self,
        model: &str,
        scope: &str,
        max_age: Option<Duration>,
    ) -> Result<Freshness, ArchiveError> {
        let listed = self
            .objects
            .list(Some(&self.prefix.clone().join(MARKER_PREFIX)));
        let markers: Vec<_> = patiently(listed)
            .try_filter_map(|object| std::future::ready(Ok(marker(&object))))
            .try_collect()
            .await?;
        let purges = Purges::told_by(markers, Arc::clone(&self.clock));
        let last_ms = purges.last(model, scope);
        Ok(Freshness::new(self.clock.now_ms(), max_age, last_ms))
    }

    /// The store's time, as far as it has told it, in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }
}

fn written_ms(object: &ObjectMeta) -> u64 {
    u64::try_from(object.last_modified.timestamp_millis()).unwrap_or_default()
}
