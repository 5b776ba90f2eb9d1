//! Reads a store from its first key to its last, several objects side by side.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::failure::CommandResult;
use crate::cache::store::{Archive, ArchiveError, ListedObject};
use crate::embeddings::key::Key;

/// More than any vector takes: a million numbers.
pub(super) const MOST_BYTES: u64 = 4 << 20;

/// Something that stands in the store.
#[derive(Debug)]
pub(super) enum Seen {
    /// The name of what no gateway wrote: of an object, or of a folder.
    Foreign(String),
    /// An object that is named as an entry is.
    Object(Key, ListedObject, Content),
}

/// What an object holds.
#[derive(Debug)]
pub(super) enum Content {
    /// These bytes.
    Read(Bytes),
    /// More than any entry.
    TooLong,
    /// The store did not give it out.
    Unread(ArchiveError),
}

/// How a store is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a> {
    pub(super) archive: &'a Archive,
    /// Everything behind this key; all if absent.
    pub(super) after: Option<Key>,
    /// So much of each object; all if absent.
    pub(super) most: Option<u64>,
    pub(super) at_once: usize,
}

impl<'a> Walk<'a> {
    /// Everything that the store holds, in the order of the keys. It ends with the first list that
    /// fails.
    pub(super) async fn everything(
        self,
    ) -> CommandResult<BoxStream<'a, Result<Seen, ArchiveError>>> {
        let (folders, foreign) = self.archive.folders(self.after.as_ref()).await?;
        let foreign = foreign
            .into_iter()
            .map(|path| Ok(Seen::Foreign(path.to_string())));
        let listed = stream::iter(folders)
            .flat_map(move |folder| self.archive.entries(&folder, self.after.as_ref()));
        let read = listed
            .map(move |found| async move { Ok(self.read(found?).await) })
            .buffered(self.at_once)
            .try_filter_map(|seen| std::future::ready(Ok(seen)));
        Ok(stream::iter(foreign).chain(read).boxed())
    }

    /// Everything that is left of it behind what no gateway wrote.
    pub(super) async fn objects(
        self,
    ) -> CommandResult<BoxStream<'a, Result<(Key, ListedObject, Content), ArchiveError>>> {
        let everything = self.everything().await?;
        let objects = everything.try_filter_map(|seen| {
            std::future::ready(Ok(match seen {
                Seen::Object(key, found, content) => Some((key, found, content)),
                Seen::Foreign(_) => None,
            }))
        });
        Ok(objects.boxed())
    }

    /// Reads an object; `None` if it was deleted meanwhile.
    async fn read(self, found: ListedObject) -> Option<Seen> {
        let Some(key) = found.key else {
            return Some(Seen::Foreign(found.path.to_string()));
        };
        let content = if self.most.is_none() && found.bytes > MOST_BYTES {
            Content::TooLong
        } else {
            // There are no first bytes of an empty object: a store refuses to give them out.
            let most = self.most.filter(|&most| most < found.bytes);
            match self.archive.read(&found.path, most).await {
                Ok(bytes) => Content::Read(bytes?),
                Err(failed) => Content::Unread(failed),
            }
        };
        Some(Seen::Object(key, found, content))
    }
}
