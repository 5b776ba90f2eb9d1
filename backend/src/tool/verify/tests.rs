//! What only a store that fails, or a gateway beside the tool, brings about.

use futures_util::FutureExt;
use tempfile::TempDir;
use tokio::sync::oneshot;

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
async fn an_interrupted_run_counts_what_the_store_deletes_meanwhile_and_once() {
    let (_folder, archive, key, found) = with_one_object().await;
    let mut verification = verification(&archive);
    let (deleted, answer) = oneshot::channel();
    verification.deletion = Some(Deletion {
        key,
        finding: Finding::deleted(&found, &Flaw::Foreign),
        answer: Box::pin(answer.map(|answer| answer.expect("the store answers"))),
    });
    assert!(verification.end_deletion().now_or_never().is_none());
    // A run that goes on from here looks at the object again, so it is not counted yet.
    assert_eq!(verification.position, Position::new(archive.url()));
    deleted.send(Ok(())).unwrap();
    for _ in 0..2 {
        assert!(verification.end_deletion().await.is_ok());
        let position = &verification.position;
        assert_eq!(
            (position.checked, position.bad, position.deleted),
            (1, 1, 1)
        );
        assert_eq!(position.after(), Some(key));
    }
}

#[tokio::test]
async fn what_the_store_does_not_delete_is_counted_by_no_run() {
    let (_folder, archive, key, found) = with_one_object().await;
    let mut verification = verification(&archive);
    let refused = ArchiveError("refused".to_owned());
    verification.deletion = Some(Deletion {
        key,
        finding: Finding::deleted(&found, &Flaw::Foreign),
        answer: Box::pin(std::future::ready(Err(refused))),
    });
    assert!(verification.end_deletion().await.is_err());
    assert_eq!(verification.position, Position::new(archive.url()));
}
