//! The second time through the file: each vector is written where the store has none that counts.

use std::fmt;

use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::HumanCount;

use super::lines::{Broken, Line};
use super::plan::Plan;
use super::source::Source;
use crate::cache::store::{Archive, ArchiveError, StoredObject};
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::tool::failure::{CommandError, CommandResult};
use crate::tool::progress::Progress;

/// What became of the vectors of a file.
#[derive(Debug, Default)]
pub(super) struct Written {
    new: u64,
    /// In place of what reads as a miss.
    renewed: u64,
    same: u64,
    other: u64,
}

/// What became of one vector.
#[derive(Clone, Copy, Debug)]
enum Fate {
    New,
    Renewed,
    /// The store has these numbers already.
    Same,
    /// The store has other numbers, which stay.
    Other,
}

/// Writes all vectors of the file. It ends with the first write that fails.
pub(super) async fn write_all(
    source: &Source<'_>,
    plan: &Plan,
    archive: &Archive,
    at_once: usize,
    written: &mut Written,
) -> CommandResult {
    let mut progress = Progress::new("import", source.bytes());
    let entries = source.records()?.map(|line| entry(source, plan, line));
    let mut writes = stream::iter(entries)
        .map(|entry| async {
            let (key, entry, end) = entry?;
            let fate = write(plan, archive, &key, &entry).await;
            let fate =
                fate.map_err(|failed| CommandError::broken(format!("the store: {failed}")))?;
            Ok::<_, CommandError>((fate, end))
        })
        .buffer_unordered(at_once);
    let mut furthest = 0;
    let ended = loop {
        match writes.try_next().await {
            Ok(Some((fate, end))) => {
                written.count(fate);
                furthest = end.max(furthest);
                progress.show(furthest, || format!("{written}"));
            }
            Ok(None) => break Ok(()),
            Err(failure) => break Err(failure),
        }
    };
    progress.end();
    ended
}

/// A line that was read before: a fault in it is news.
fn entry(
    source: &Source<'_>,
    plan: &Plan,
    line: Result<Line, Broken>,
) -> CommandResult<(Key, Entry, u64)> {
    let line = line.map_err(|broken| source.fault(&broken.to_string()))?;
    let read = plan.read(&line.text);
    let (key, record) = read.map_err(|_| source.fault("was changed while it was read"))?;
    Ok((key, plan.entry(record), line.end))
}

async fn write(
    plan: &Plan,
    archive: &Archive,
    key: &Key,
    entry: &Entry,
) -> Result<Fate, ArchiveError> {
    if plan.replace {
        archive.replace(key, entry).await?;
        return Ok(Fate::New);
    }
    match archive.entry(key).await? {
        // One that a gateway has written since this command began is none from the future.
        StoredObject::Entry(there) if there.created_ms > plan.freshness.created_after_ms() => {
            Ok(match there.vector == entry.vector {
                true => Fate::Same,
                false => Fate::Other,
            })
        }
        // A gateway that is quicker keeps its vector: clients may have it.
        StoredObject::Absent => match archive.create(key, entry).await? {
            true => Ok(Fate::New),
            false => Ok(Fate::Same),
        },
        StoredObject::Entry(_) | StoredObject::Unusable => {
            archive.replace(key, entry).await?;
            Ok(Fate::Renewed)
        }
    }
}

impl Written {
    /// Takes lines out that only repeat another one.
    pub(super) fn without(&mut self, repeats: u64) {
        let found = repeats.min(self.same);
        self.same -= found;
        self.new = self.new.saturating_sub(repeats - found);
    }

    fn count(&mut self, fate: Fate) {
        *match fate {
            Fate::New => &mut self.new,
            Fate::Renewed => &mut self.renewed,
            Fate::Same => &mut self.same,
            Fate::Other => &mut self.other,
        } += 1;
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} written", HumanCount(self.new + self.renewed))?;
        for (count, what) in [
            (self.renewed, "in place of purged, outdated or damaged ones"),
            (self.same, "there already"),
            (self.other, "there with other numbers, which stay"),
        ] {
            if count > 0 {
                write!(f, ", {} {what}", HumanCount(count))?;
            }
        }
        Ok(())
    }
}
