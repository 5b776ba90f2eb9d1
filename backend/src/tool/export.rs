//! `export`: the vectors of a store, in a format that other programs read. Objects hold no inputs,
//! so that vectors are named by their keys.

mod json_lines;
mod parquet_file;
mod target;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use futures_util::TryStreamExt;
use indicatif::HumanCount;

use self::json_lines::JsonLines;
use self::parquet_file::ParquetFile;
use self::target::Target;
use super::failure::{CommandError, CommandResult};
use super::interrupt::unless_interrupted;
use super::progress::{KEYS, Progress, place};
use super::store::{Parallelism, StoreOptions};
use super::walk::{Content, Walk};
use crate::cache::store::ListedObject;
use crate::config::command_line::complain;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;

/// Names of models that are remembered, to tell an operator who asks for one that is not there.
const MOST_NAMES: usize = 100;

/// The options of `export`.
#[derive(Debug, Args)]
pub(super) struct ExportOptions {
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    pace: Parallelism,
    /// Only vectors of this model, as the upstream's answers name it; `stats` lists the names
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only vectors of this length
    #[arg(long, value_name = "NUMBER")]
    dimensions: Option<usize>,
    /// How to write them
    #[arg(long, value_enum, default_value = "jsonl")]
    format: ExportFormat,
    /// The file to write; standard output if absent. It is there when it is whole
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExportFormat {
    /// JSON Lines
    Jsonl,
    /// Parquet
    Parquet,
}

/// What writes vectors, one after the other.
trait Sink {
    fn write(&mut self, key: &Key, entry: &Entry) -> io::Result<()>;

    /// Writes what is left, and gives the target back.
    fn end(self: Box<Self>) -> io::Result<Target>;
}

/// What became of what the store holds.
#[derive(Debug, Default)]
struct Exported {
    written: u64,
    purged: u64,
    unusable: u64,
    names: BTreeSet<String>,
}

pub(super) async fn run(options: &ExportOptions) -> CommandResult {
    // What is not whole goes away with the work.
    unless_interrupted(export(options)).await
}

async fn export(options: &ExportOptions) -> CommandResult {
    let archive = options.store.open()?;
    // Whatever their model and scope are.
    let purged_ms = archive.freshness("", "", None).await?.created_after_ms();
    let walk = Walk {
        archive: &archive,
        after: None,
        most: None,
        at_once: options.pace.at_once(),
    };
    let mut sink = options.sink()?;
    let (mut exported, mut progress) = (Exported::default(), Progress::new("export", KEYS));
    let mut objects = walk.objects().await?;
    while let Some((key, found, content)) = objects.try_next().await? {
        match entry(&key, &found, content)? {
            Some(entry) if entry.created_ms <= purged_ms => exported.purged += 1,
            Some(entry) if options.wants(&entry) => {
                let written = sink.write(&key, &entry);
                written.map_err(|error| options.unwritten(&error))?;
                exported.written += 1;
            }
            Some(entry) => exported.note(&entry),
            None => exported.unusable += 1,
        }
        let written = exported.written;
        progress.show(place(&key), || format!("{} vectors", HumanCount(written)));
    }
    progress.end();
    if exported.written == 0 {
        return Err(CommandError::broken(exported.nothing(options)));
    }
    let ended = sink.end().and_then(Target::end);
    ended.map_err(|error| options.unwritten(&error))?;
    exported.report();
    Ok(())
}

/// The entry of an object, if it is usable.
fn entry(key: &Key, found: &ListedObject, content: Content) -> CommandResult<Option<Entry>> {
    match content {
        Content::Read(object) => Ok(Entry::from_object(key, &object).ok()),
        Content::TooLong => Ok(None),
        Content::Unread(failed) => Err(CommandError::broken(format!("{}: {failed}", found.path))),
    }
}

impl ExportOptions {
    fn sink(&self) -> CommandResult<Box<dyn Sink>> {
        let target = Target::open(self.output.as_deref());
        let target = target.map_err(|error| self.unwritten(&error))?;
        Ok(match self.format {
            ExportFormat::Jsonl => Box::new(JsonLines::new(target)),
            ExportFormat::Parquet => {
                let file = ParquetFile::new(target);
                Box::new(file.map_err(|error| self.unwritten(&error))?)
            }
        })
    }

    fn wants(&self, entry: &Entry) -> bool {
        let is_model = self
            .model
            .as_ref()
            .is_none_or(|model| **model == *entry.model);
        is_model
            && self
                .dimensions
                .is_none_or(|length| length == entry.dimensions())
    }

    fn unwritten(&self, error: &io::Error) -> CommandError {
        match &self.output {
            Some(path) => CommandError::of_file(path, error),
            None => CommandError::of_output(error),
        }
    }
}

impl Exported {
    /// Takes note of what was not asked for.
    fn note(&mut self, entry: &Entry) {
        if self.names.len() < MOST_NAMES {
            let length = entry.dimensions();
            self.names.insert(format!("{:?} of {length}", entry.model));
        }
    }

    fn nothing(&self, options: &ExportOptions) -> String {
        if self.names.is_empty() {
            return "the store holds no vectors that could be exported".to_owned();
        }
        let named = options.model.as_ref().map(|model| format!(" of {model:?}"));
        let long = options
            .dimensions
            .map(|length| format!(" of {length} dimensions"));
        let names: Vec<_> = self.names.iter().map(String::as_str).collect();
        format!(
            "the store holds no vectors{}{}; it holds those of {}",
            named.unwrap_or_default(),
            long.unwrap_or_default(),
            names.join(", ")
        )
    }

    fn report(&self) {
        complain(format_args!(
            "exported: {} vectors",
            HumanCount(self.written)
        ));
        for (count, what) in [
            (self.purged, "left out: older than a purge of everything"),
            (self.unusable, "left out: unusable, `verify` names them"),
        ] {
            if count > 0 {
                complain(format_args!("{} {what}", HumanCount(count)));
            }
        }
    }
}
