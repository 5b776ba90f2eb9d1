//! What only a store that fails, or a gateway beside the tool, brings about.

use futures_util::FutureExt;
use tempfile::TempDir;

use super::*;
use crate::cache::store::ArchiveError;
use crate::config::StorePlace;
use crate::embeddings::entry::Entry;
use crate::embeddings::vector::Vector;

async fn with_one_object() -> (TempDir, Archive, Key, ListedObject) {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(&StorePlace::Directory(folder.path().into()), false).unwrap();
    let (key, entry) = (
        [7; 32].into(),
        Entry {
            model: "m".into(),
            tokens: 1,
            created_ms: 1,
            vector: Vector::new(vec![1; 16]),
        },
    );
    assert_eq!(archive.create(&key, &entry).await, Ok(true));
    let (folders, _) = archive.folders(None).await.unwrap();
    let mut listed = archive.entries(&folders[0], None);
    let found = listed.try_next().await.unwrap().unwrap();
    drop(listed);
    (folder, archive, key, found)
}

fn verification(archive: &Archive) -> Verification<'_> {
    Verification {
        archive,
        delete_bad: true,
        saved: None,
        position: Position::new(archive.url()),
        progress: Progress::new("verify", KEYS),
        foreign: 0,
        unread_in_a_row: 0,
        deletion: None,
    }
}

#[tokio::test]
async fn a_store_that_gives_nothing_out_any_more_ends_the_run() {
    let (_folder, archive, key, found) = with_one_object().await;
    let mut verification = verification(&archive);
    let unread = Content::Unread(ArchiveError("no answer".to_owned()));
    let read = Content::Read(archive.read(&found.path, None).await.unwrap().unwrap());
    for _ in 1..MOST_UNREAD {
        assert!(verification.check(key, &found, &unread).await.is_ok());
    }
    // One that is given out shows that the store still works.
    assert!(verification.check(key, &found, &read).await.is_ok());
    for _ in 1..MOST_UNREAD {
        assert!(verification.check(key, &found, &unread).await.is_ok());
    }
    let ended = verification.check(key, &found, &unread).await;
    let Err(CommandError::Broken(why)) = ended else {
        panic!("the run goes on: {ended:?}");
    };
    assert_eq!(why, "the store: no answer");
    assert_eq!(verification.position.deleted, 0);
}

#[tokio::test]
async fn what_a_gateway_has_replaced_meanwhile_is_not_deleted() {
    let (_folder, archive, key, found) = with_one_object().await;
    let mut verification = verification(&archive);
    let bad = Content::Read("cut o".into());
    assert!(verification.check(key, &found, &bad).await.is_ok());
    assert_eq!(verification.position.bad, 1);
    assert_eq!(verification.position.deleted, 0);
    assert!(archive.read(&found.path, None).await.unwrap().is_some());
}

#[tokio::test]
async fn a_run_that_is_interrupted_counts_each_object_once() {
    let (_folder, archive, key, mut found) = with_one_object().await;
    let mut verification = verification(&archive);
    // While it looks whether a gateway has replaced the object: the next run finds it again.
    let bad = Content::Read("cut o".into());
    let interrupted = verification.check(key, &found, &bad).now_or_never();
    assert!(interrupted.is_none());
    assert!(verification.end_deletion().await.is_ok());
    assert_eq!(verification.position, Position::new(archive.url()));
    // While the store deletes it: no other run finds it.
    found.bytes = crate::tool::walk::MOST_BYTES + 1;
    let interrupted = verification
        .check(key, &found, &Content::TooLong)
        .now_or_never();
    assert!(interrupted.is_none());
    assert!(verification.end_deletion().await.is_ok());
    assert!(archive.read(&found.path, None).await.unwrap().is_none());
    let Position {
        checked,
        bad,
        deleted,
        ..
    } = verification.position;
    assert_eq!((checked, bad, deleted), (1, 1, 1));
    assert_eq!(verification.position.after(), Some(key));
}
