//! What stands in a store, folder by folder and in the order of the keys.

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use object_store::path::Path;

use super::names::{is_fan_out, key as parse_key};
use super::patience::{in_time, patiently};
use super::{Archive, ArchiveError, written_ms};
use crate::cache::store::check::PROBE_PREFIX;
use crate::cache::store::markers::MARKER_PREFIX;
use crate::cache::store::{FORMAT_PREFIX, path};
use crate::embeddings::key::Key;

/// A folder of entries: `v1/ab`.
#[derive(Clone, Debug)]
pub struct Folder(Path);

/// An object where entries are.
#[derive(Clone, Debug)]
pub struct ListedObject {
    /// Its name in the store.
    pub path: Path,
    /// The key that it is named after; `None` if it is not named as an entry is.
    pub key: Option<Key>,
    /// How long it is.
    pub bytes: u64,
    /// When it was written, in Unix milliseconds.
    pub written_ms: u64,
}

impl Archive {
    /// The folders of entries from that of `after` on, in order, and the names of objects and of
    /// folders beside them that no gateway wrote.
    pub async fn folders(
        &self,
        after: Option<&Key>,
    ) -> Result<(Vec<Folder>, Vec<Path>), ArchiveError> {
        let entries = self.prefix.clone().join(FORMAT_PREFIX);
        let top = self.children((!self.prefix.as_ref().is_empty()).then_some(&self.prefix));
        let own =
            [FORMAT_PREFIX, MARKER_PREFIX, PROBE_PREFIX].map(|name| self.prefix.clone().join(name));
        let (mut foreign, folders) = (top.await?, self.children(Some(&entries)).await?);
        foreign.retain(|path| !own.contains(path));
        let (mut folders, others): (Vec<Path>, Vec<Path>) = folders
            .into_iter()
            .partition(|path| path.filename().is_some_and(is_fan_out));
        foreign.extend(others);
        folders.sort_unstable();
        if let Some(after) = after {
            let first = after.to_string();
            folders.retain(|path| path.filename().is_some_and(|name| name >= &first[..2]));
        }
        Ok((folders.into_iter().map(Folder).collect(), foreign))
    }

    /// What stands directly below a folder: objects and folders.
    async fn children(&self, folder: Option<&Path>) -> Result<Vec<Path>, ArchiveError> {
        let listed = in_time(self.objects.list_with_delimiter(folder)).await?;
        let objects = listed.objects.into_iter().map(|object| object.location);
        Ok(objects.chain(listed.common_prefixes).collect())
    }

    /// The objects of a folder behind `after`, in the order of their names.
    pub fn entries(
        &self,
        folder: &Folder,
        after: Option<&Key>,
    ) -> BoxStream<'_, Result<ListedObject, ArchiveError>> {
        let after = after.map(|key| path(&self.prefix, key));
        let listed = match &after {
            Some(after) if self.is_ordered => self.objects.list_with_offset(Some(&folder.0), after),
            _ => self.objects.list(Some(&folder.0)),
        };
        let listed = patiently(listed)
            .map_ok(|object| self.found(&object))
            .try_filter(move |found| {
                let is_behind = after.as_ref().is_none_or(|after| found.path > *after);
                std::future::ready(is_behind)
            });
        match self.is_ordered {
            true => listed.boxed(),
            false => stream::once(sorted(listed)).try_flatten().boxed(),
        }
    }

    fn found(&self, object: &ObjectMeta) -> ListedObject {
        let key = object.location.filename().and_then(parse_key);
        ListedObject {
            // Named as an entry, and in its place.
            key: key.filter(|key| path(&self.prefix, key) == object.location),
            path: object.location.clone(),
            bytes: object.size,
            written_ms: written_ms(object),
        }
    }
}

/// Directories list their files in any order. A folder of them fits into memory.
async fn sorted<'a>(
    listed: impl Stream<Item = Result<ListedObject, ArchiveError>> + 'a,
) -> Result<impl Stream<Item = Result<ListedObject, ArchiveError>> + 'a, ArchiveError> {
    let mut found: Vec<_> = listed.try_collect().await?;
    found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(stream::iter(found.into_iter().map(Ok)))
}
