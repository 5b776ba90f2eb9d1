//! How far a verification is, and the file that keeps it.

use std::cell::Cell;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use crate::cache::store::parse_key;
use crate::config::command_line::complain;
use crate::embeddings::key::Key;
use crate::tool::failure::{CommandError, CommandResult};

/// What a killed run repeats at most.
const PAUSE: Duration = Duration::from_secs(2);

/// How far a verification is, with the findings of all its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// The store's URL.
    store: String,
    after: Option<String>,
    pub(super) checked: u64,
    pub(super) bytes: u64,
    pub(super) bad: u64,
    pub(super) deleted: u64,
    pub(super) unread: u64,
}

/// The file.
#[derive(Debug)]
pub(super) struct PositionFile {
    path: PathBuf,
    read: Position,
    written: Cell<Instant>,
}

impl Position {
    /// Nothing of this store is verified.
    pub(super) fn new(store: &str) -> Self {
        Self {
            store: store.to_owned(),
            ..Self::default()
        }
    }

    /// The last key that is verified.
    pub(super) fn after(&self) -> Option<Key> {
        parse_key(self.after.as_deref()?)
    }

    /// Everything up to this key is verified; counts what was found of it.
    pub(super) fn pass(&mut self, key: &Key, finding: &Finding) {
        self.after = Some(key.to_string());
        self.checked += u64::from(!finding.is_unread);
        self.bytes += finding.bytes;
        self.bad += u64::from(finding.is_bad);
        self.deleted += u64::from(finding.is_deleted);
        self.unread += u64::from(finding.is_unread);
    }
}

impl PositionFile {
    /// The position of an earlier run on this store, if the file is there.
    pub(super) fn open(path: &Path, store: &str) -> CommandResult<Self> {
        let position = match fs::read(path) {
            Ok(text) => read(&text, store).map_err(|why| {
                let path = path.display();
                CommandError::misused(format!("{path}: {why}"))
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Position::new(store),
            Err(error) => return Err(CommandError::of_file(path, &error)),
        };
        let saved = Self {
            path: path.to_owned(),
            read: position,
            written: Cell::new(Instant::now()),
        };
        // Now, and not after an hour, the operator learns that it cannot be written.
        saved.write(&saved.read)?;
        if let Some(after) = &saved.read.after {
            complain(format_args!("goes on behind {after}"));
        }
        Ok(saved)
    }

    pub(super) fn position(&self) -> Position {
        self.read.clone()
    }

    /// Writes the position if that was not done just now.
    pub(super) fn write_sometimes(&self, position: &Position) -> CommandResult {
        match self.written.get().elapsed() < PAUSE {
            true => Ok(()),
            false => self.write(position),
        }
    }

    /// Writes the position, whole or not at all.
    pub(super) fn write(&self, position: &Position) -> CommandResult {
        self.written.set(Instant::now());
        let folder = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let written = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).and_then(
            |mut file| {
                serde_json::to_writer(&mut file, position)?;
                file.flush()?;
                file.persist(&self.path).map_err(|error| error.error)
            },
        );
        written
            .map(drop)
            .map_err(|error| CommandError::of_file(&self.path, &error))
    }

    /// The verification has come to its end: the next one begins anew.
    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            complain(format_args!("{}: {error}", self.path.display()));
        }
    }
}

/// A position that cannot be read would begin anew, and another store's would pass keys over.
fn read(text: &[u8], store: &str) -> Result<Position, String> {
    let position = serde_json::from_slice(text).ok();
    let readable = |position: &Position| position.after.is_none() || position.after().is_some();
    let position = position.filter(readable);
    let position = position.ok_or("is no file that --resume has written")?;
    match position.store == store {
        true => Ok(position),
        false => Err(format!("is of another store, {}", position.store)),
    }
}
