//! The file of an import: lines of JSON, or rows of Parquet. It is read twice, and must not change
//! meanwhile.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::path::Path;

use super::lines::{Broken, Line, Lines};
use super::rows::{self, ParquetRows};
use crate::embeddings::clock::unix_ms_of;
use crate::tool::failure::{CommandError, CommandResult};

/// The records of a file, until the first that cannot be read.
pub(super) type Records<'a> = Box<dyn Iterator<Item = Result<Line, Broken>> + 'a>;

#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    file: File,
    found: Metadata,
    is_parquet: bool,
}

impl<'a> Source<'a> {
    pub(super) fn open(path: &'a Path) -> CommandResult<Self> {
        let of_file = |error: io::Error| CommandError::of_file(path, &error);
        // A pipe would be waited for.
        let found = std::fs::metadata(path).map_err(of_file)?;
        if !found.is_file() {
            let path = path.display();
            let why = format!("{path}: is no regular file, and is to be read twice");
            return Err(CommandError::misused(why));
        }
        let mut file = File::open(path).map_err(of_file)?;
        let found = file.metadata().map_err(of_file)?;
        let is_parquet = begins_with(&mut file, rows::MAGIC).map_err(of_file)?;
        Ok(Self {
            path,
            file,
            found,
            is_parquet,
        })
    }

    /// The records from where the file is read.
    pub(super) fn records(&self) -> CommandResult<Records<'_>> {
        if !self.is_parquet {
            let mut lines = Lines::new(&self.file);
            return Ok(Box::new(until_error(move || lines.read())));
        }
        let rows = self.file.try_clone().map_err(Broken::Io);
        let rows = rows.and_then(|file| ParquetRows::new(file, self.bytes()));
        let mut rows = rows.map_err(|broken| self.fault(&broken.to_string()))?;
        Ok(Box::new(until_error(move || rows.read())))
    }

    /// A record, as messages name it.
    pub(super) fn place(&self, number: u64) -> String {
        let path = self.path.display();
        match self.is_parquet {
            true => format!("{path}: row {number}"),
            false => format!("{path}:{number}"),
        }
    }

    /// What a record is called.
    pub(super) fn unit(&self) -> &'static str {
        match self.is_parquet {
            true => "row",
            false => "line",
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.found.len()
    }

    /// In Unix milliseconds.
    pub(super) fn changed_ms(&self) -> u64 {
        self.found.modified().map_or(0, unix_ms_of)
    }

    pub(super) fn rewind(&mut self) -> CommandResult {
        self.is_unchanged()?;
        let rewound = self.file.rewind();
        rewound.map_err(|error| CommandError::of_file(self.path, &error))
    }

    pub(super) fn is_unchanged(&self) -> CommandResult {
        let now = self.file.metadata();
        let now = now.map_err(|error| CommandError::of_file(self.path, &error))?;
        match (now.len(), now.modified().ok()) == (self.bytes(), self.found.modified().ok()) {
            true => Ok(()),
            false => Err(self.fault("was changed while it was read")),
        }
    }

    pub(super) fn fault(&self, what: &str) -> CommandError {
        CommandError::broken(format!("{}: {what}", self.path.display()))
    }
}

/// The records that `read` returns, and its first error.
pub(super) fn until_error(
    mut read: impl FnMut() -> Result<Option<Line>, Broken>,
) -> impl Iterator<Item = Result<Line, Broken>> {
    let mut is_broken = false;
    std::iter::from_fn(move || {
        let record = (!is_broken).then(&mut read)?;
        is_broken = record.is_err();
        record.transpose()
    })
}

fn begins_with(file: &mut File, magic: &[u8]) -> io::Result<bool> {
    let mut first = Vec::new();
    file.take(magic.len() as u64).read_to_end(&mut first)?;
    file.rewind()?;
    Ok(first == magic)
}
