//! The markers of purges: objects without content, whose names hold the tag and the time.

use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use percent_encoding::percent_decode;
use tokio::time::timeout;

use super::Store;
use crate::http::tags::Tag;

/// The prefix of every marker.
const MARKER_PREFIX: &str = "purge";

/// How long writing one marker, or listing all, may take.
const MARKER_TIMEOUT: Duration = Duration::from_secs(2);

/// The store could not write or list markers.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Unmarked {
    #[error(transparent)]
    Failed(#[from] object_store::Error),
    #[error("the store did not answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
}

impl Store {
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
}

/// `…/<kind>/<name>/<Unix milliseconds>`, each part percent-encoded.
fn marker(path: &Path) -> Option<(Tag, u64)> {
    let parts: Vec<_> = path.parts().collect();
    let [.., kind, name, time] = parts.as_slice() else {
        return None;
    };
    let name = String::from_utf8(percent_decode(name.as_ref().as_bytes()).collect()).ok()?;
    Some((Tag::new(kind.as_ref(), &name), time.as_ref().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(marker(&path.join("17")), Some((tag, 17)));
        }
        assert_eq!(marker(&Path::from("purge/model/m/never")), None);
    }
}
