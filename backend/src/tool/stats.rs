//! `stats`: what a store holds, by model. It reads the heads of objects alone, which say all of it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::{Args, ValueEnum};
use futures_util::TryStreamExt;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::failure::{CommandError, CommandResult};
use super::progress::{KEYS, Progress, place};
use super::store::{Parallelism, StoreOptions};
use super::walk::{Content, Seen, Walk};
use crate::cache::store::ListedObject;
use crate::embeddings::entry::MAX_MODEL_BYTES;
use crate::embeddings::object::{Format, ObjectHead};

/// What is read of each object: the head with the longest name that gateways write.
const HEAD_BYTES: u64 = 54 + MAX_MODEL_BYTES as u64;

/// The options of `stats`.
#[derive(Debug, Args)]
pub(super) struct StatsOptions {
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    pace: Parallelism,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    format: StatsFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatsFormat {
    /// A table
    Text,
    /// One JSON object
    Json,
}

/// What a store holds.
#[derive(Debug, Default, Serialize)]
struct Stats {
    models: Vec<Row>,
    total: ModelCounts,
    /// Objects that are named as entries are, and are none.
    unusable: u64,
    /// Objects that the store did not give out.
    unread: u64,
    /// Objects, and folders, that no gateway wrote.
    foreign: u64,
}

/// The vectors of one model and length.
#[derive(Debug, Serialize)]
struct Row {
    /// As the upstream answered it.
    model: String,
    dimensions: u32,
    #[serde(flatten)]
    counts: ModelCounts,
}

#[derive(Clone, Debug, Default, Serialize)]
struct ModelCounts {
    vectors: u64,
    format_1: u64,
    format_2: u64,
    bytes: u64,
    /// What they would take more in format 1.
    saved_bytes: u64,
    tokens: u64,
    oldest: Option<String>,
    newest: Option<String>,
    #[serde(skip)]
    ages_ms: Option<(u64, u64)>,
}

pub(super) async fn run(options: &StatsOptions) -> CommandResult {
    let archive = options.store.open()?;
    let walk = Walk {
        archive: &archive,
        after: None,
        most: Some(HEAD_BYTES),
        at_once: options.pace.at_once(),
    };
    let (mut stats, mut by_model) = (Stats::default(), BTreeMap::new());
    let mut progress = Progress::new("stats", KEYS);
    let mut everything = walk.everything().await?;
    while let Some(seen) = everything.try_next().await? {
        stats.count(&seen, &mut by_model);
        if let Seen::Object(key, ..) = &seen {
            let total = stats.total.vectors;
            progress.show(place(key), || format!("{} vectors", HumanCount(total)));
        }
    }
    progress.end();
    stats.models = rows(by_model);
    stats.total.date();
    let written = match options.format {
        StatsFormat::Text => stats.write_table(&mut io::stdout().lock()),
        StatsFormat::Json => stats.write_json(&mut io::stdout().lock()),
    };
    written.map_err(|error| CommandError::of_output(&error))
}

fn rows(by_model: BTreeMap<(String, u32), ModelCounts>) -> Vec<Row> {
    let row = |((model, dimensions), mut counts): (_, ModelCounts)| {
        counts.date();
        Row {
            model,
            dimensions,
            counts,
        }
    };
    by_model.into_iter().map(row).collect()
}

impl Stats {
    fn count(&mut self, seen: &Seen, by_model: &mut BTreeMap<(String, u32), ModelCounts>) {
        let (key, found, object) = match seen {
            Seen::Foreign(_) => {
                self.foreign += 1;
                return;
            }
            Seen::Object(_, _, Content::Unread(_)) => {
                self.unread += 1;
                return;
            }
            Seen::Object(_, _, Content::TooLong) => {
                self.unusable += 1;
                return;
            }
            Seen::Object(key, found, Content::Read(object)) => (key, found, object),
        };
        match ObjectHead::read(object) {
            Some((head, _)) if head.key == *key && head.object_bytes() == found.bytes => {
                let name = (head.model.to_owned(), head.dimensions);
                by_model.entry(name).or_default().add(&head, found);
                self.total.add(&head, found);
            }
            _ => self.unusable += 1,
        }
    }

    fn write_json(&self, output: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *output, self)?;
        writeln!(output)?;
        output.flush()
    }

    fn write_table(&self, output: &mut impl Write) -> io::Result<()> {
        let width = self.models.iter().map(|row| row.model.chars().count());
        let width = width.max().unwrap_or(0).max("model".len());
        writeln!(
            output,
            "{:width$}  dimensions     vectors    format 1    format 2         bytes         saved  oldest                newest",
            "model"
        )?;
        for Row {
            model,
            dimensions,
            counts,
        } in &self.models
        {
            // A name may hold what would move the terminal's cursor.
            let model: String = model.chars().map(printable).collect();
            writeln!(output, "{model:width$}  {dimensions:>10}  {counts}")?;
        }
        writeln!(output, "{:width$}  {:>10}  {}", "total", "", self.total)?;
        for (count, what) in [
            (self.unusable, "unusable: `verify` names them"),
            (
                self.unread,
                "not given out by the store: `verify` names them",
            ),
            (self.foreign, "written by no gateway: `verify` names them"),
        ] {
            if count > 0 {
                writeln!(output, "{} {what}", HumanCount(count))?;
            }
        }
        output.flush()
    }
}

fn printable(character: char) -> char {
    match character.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => character,
    }
}

impl ModelCounts {
    fn add(&mut self, head: &ObjectHead<'_>, found: &ListedObject) {
        self.vectors += 1;
        match head.format {
            Format::Floats => self.format_1 += 1,
            Format::Halves => self.format_2 += 1,
        }
        self.bytes += found.bytes;
        self.saved_bytes += head
            .float_object_bytes()
            .saturating_sub(head.object_bytes());
        self.tokens += u64::from(head.tokens);
        let (oldest, newest) = self.ages_ms.unwrap_or((head.created_ms, head.created_ms));
        self.ages_ms = Some((oldest.min(head.created_ms), newest.max(head.created_ms)));
    }

    fn date(&mut self) {
        let dated = |time_ms| Some(super::time::text(time_ms));
        if let Some((oldest, newest)) = self.ages_ms {
            (self.oldest, self.newest) = (dated(oldest), dated(newest));
        }
    }
}

impl std::fmt::Display for ModelCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".to_owned());
        write!(
            f,
            "{:>10}  {:>10}  {:>10}  {:>12}  {:>12}  {:<20}  {:<20}",
            HumanCount(self.vectors).to_string(),
            HumanCount(self.format_1).to_string(),
            HumanCount(self.format_2).to_string(),
            HumanBytes(self.bytes).to_string(),
            HumanBytes(self.saved_bytes).to_string(),
            time(&self.oldest),
            time(&self.newest),
        )
    }
}
