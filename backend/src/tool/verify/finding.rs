//! What a verification finds of one object.

use futures_util::future::BoxFuture;

use crate::cache::store::{ArchiveError, ListedObject};
use crate::embeddings::key::Key;
use crate::embeddings::object::Flaw;

/// What was found of one object.
#[derive(Debug, Default)]
pub(super) struct Finding {
    /// For standard output; nothing of a good one.
    pub(super) line: Option<String>,
    /// How long it is; 0 if it was not read.
    pub(super) bytes: u64,
    pub(super) is_bad: bool,
    pub(super) is_deleted: bool,
    pub(super) is_unread: bool,
}

/// The deletion of a bad object, and what is found when the store has answered.
pub(super) struct Deletion<'a> {
    pub(super) key: Key,
    pub(super) finding: Finding,
    pub(super) answer: BoxFuture<'a, Result<(), ArchiveError>>,
}

impl Finding {
    pub(super) fn good(found: &ListedObject) -> Self {
        Self {
            bytes: found.bytes,
            ..Self::default()
        }
    }

    /// A gateway cannot use it; `fate` says what became of it.
    pub(super) fn bad(found: &ListedObject, flaw: &Flaw, fate: &str) -> Self {
        Self {
            line: Some(format!("{}\t{flaw}{fate}", found.path)),
            is_bad: true,
            ..Self::good(found)
        }
    }

    pub(super) fn deleted(found: &ListedObject, flaw: &Flaw) -> Self {
        Self {
            is_deleted: true,
            ..Self::bad(found, flaw, "; deleted")
        }
    }

    pub(super) fn unread(found: &ListedObject, why: &ArchiveError) -> Self {
        Self {
            line: Some(format!("{}\tis not given out: {why}", found.path)),
            is_unread: true,
            ..Self::default()
        }
    }
}
