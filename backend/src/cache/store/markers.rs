//! The markers of purges: objects without content, whose names say what was purged and when.

use std::time::Duration;

use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use percent_encoding::percent_decode;
use tokio::time::timeout;

use super::Store;
use super::fault::StoreFault;
use crate::cache::clock::millis;
use crate::http::tags::Tag;

/// The prefix of every marker of a purge.
pub(super) const MARKER_PREFIX: &str = "purge";

/// For writing or deleting one marker.
const MARKER_TIMEOUT: Duration = Duration::from_secs(2);

/// Stores tell when a marker was written in whole seconds, rounded down.
const WRITTEN_PRECISION: Duration = Duration::from_secs(1);

/// A marker as it stands in the store.
#[derive(Clone, Debug)]
pub struct Marker {
    /// What was purged.
    pub tag: Tag,
    /// When, in Unix milliseconds: as its name says, but not after it was written.
    pub time_ms: u64,
    path: Path,
}

impl Marker {
    /// The marker of a purge, as it will be written.
    pub fn new(tag: Tag, time_ms: u64) -> Self {
        let path = Path::from(MARKER_PREFIX)
            .join(tag.kind())
            .join(tag.name())
            .join(time_ms.to_string());
        Self { tag, time_ms, path }
    }

    /// Its name in the store.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The markers of purges could not be read or written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum MarkerError {
    #[error(transparent)]
    Failed(#[from] object_store::Error),
    #[error("the store did not answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
}

impl Store {
    /// Writes the marker of a purge.
    pub async fn mark(&self, tag: &Tag, time_ms: u64) -> Result<(), MarkerError> {
        let path = self
            .markers_path()
            .join(tag.kind())
            .join(tag.name())
            .join(time_ms.to_string());
        timeout(MARKER_TIMEOUT, self.objects.put(&path, PutPayload::new())).await??;
        Ok(())
    }

    /// Deletes a marker, if it is still there.
    pub async fn unmark(&self, marker: &Marker) -> Result<(), MarkerError> {
        match timeout(MARKER_TIMEOUT, self.objects.delete(&marker.path)).await? {
            Err(error) if StoreFault::of(&error) != StoreFault::Absent => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Reads the markers behind `after`, all if that is `None`, page by page: each within
    /// `patience`. `after` moves along, so that the next call goes on where this one broke off.
    pub async fn read_markers(
        &self,
        after: &mut Option<Path>,
        patience: Duration,
        mut each: impl FnMut(Marker),
    ) -> Result<(), MarkerError> {
        let path = self.markers_path();
        let mut listed = match after.as_ref().filter(|_| self.lists_in_order) {
            Some(after) => self.objects.list_with_offset(Some(&path), after),
            None => self.objects.list(Some(&path)),
        };
        while let Some(object) = timeout(patience, listed.next()).await? {
            let object = object?;
            if let Some(marker) = marker(&object) {
                each(marker);
            }
            *after = Some(object.location);
        }
        *after = None;
        Ok(())
    }

    pub(super) fn markers_path(&self) -> Path {
        self.prefix.clone().join(MARKER_PREFIX)
    }
}

/// `…/<kind>/<name>/<Unix milliseconds>`, each part percent-encoded.
pub(super) fn marker(object: &ObjectMeta) -> Option<Marker> {
    let parts: Vec<_> = object.location.parts().collect();
    let [.., kind, name, time] = parts.as_slice() else {
        return None;
    };
    let name = String::from_utf8(percent_decode(name.as_ref().as_bytes()).collect()).ok()?;
    let named_ms: u64 = time.as_ref().parse().ok()?;
    let written_ms = u64::try_from(object.last_modified.timestamp_millis()).ok()?;
    Some(Marker {
        tag: Tag::new(kind.as_ref(), &name),
        time_ms: named_ms.min(written_ms + millis(WRITTEN_PRECISION)),
        path: object.location.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    use object_store::memory::InMemory;
    use object_store::throttle::{ThrottleConfig, ThrottledStore};
    use tokio::time::Instant;

    use super::*;
    use crate::telemetry::Metrics;

    #[tokio::test(start_paused = true)]
    async fn any_number_of_markers_is_read_however_long_that_takes() {
        const MARKERS: u64 = 25_000;
        let patience = Duration::from_secs(2);
        let objects = InMemory::new();
        for time in 0..MARKERS {
            let path = Marker::new(Tag::model("m"), time).path;
            objects.put(&path, PutPayload::new()).await.unwrap();
        }
        let slow = ThrottleConfig {
            wait_list_per_entry: Duration::from_millis(1),
            ..ThrottleConfig::default()
        };
        let objects = Box::new(ThrottledStore::new(objects, slow));
        let metrics = Arc::new(Metrics::new());
        let store = Store::on(objects, Path::default(), patience, 1, metrics);
        let (mut read, mut after, began) = (0, None, Instant::now());
        let listed = store.read_markers(&mut after, patience, |_| read += 1);
        listed.await.unwrap();
        assert_eq!((read, after), (MARKERS, None));
        assert!(began.elapsed() > 10 * patience);
    }

    fn object(location: Path, written_ms: u64) -> ObjectMeta {
        ObjectMeta {
            location,
            last_modified: (UNIX_EPOCH + Duration::from_millis(written_ms)).into(),
            size: 0,
            e_tag: None,
            version: None,
        }
    }

    #[test]
    fn the_name_of_a_marker_holds_any_tag() {
        for tag in [
            Tag::model("BAAI/bge:m3@1%2F~="),
            Tag::scope("organization:org"),
            Tag::all(),
        ] {
            let path = Path::from("prefix")
                .join(MARKER_PREFIX)
                .join(tag.kind())
                .join(tag.name());
            let marker = marker(&object(path.join("17"), 5000)).unwrap();
            assert_eq!((marker.tag, marker.time_ms), (tag, 17));
        }
        assert!(marker(&object(Path::from("purge/model/m/never"), 5000)).is_none());
    }

    #[test]
    fn a_marker_counts_from_its_writing_on_if_its_name_says_later() {
        let path = Path::from("purge/model/m/3600000");
        assert_eq!(marker(&object(path.clone(), 5000)).unwrap().time_ms, 6000);
        let later = marker(&object(path, 4_000_000)).unwrap();
        assert_eq!(later.time_ms, 3_600_000);
    }
}
