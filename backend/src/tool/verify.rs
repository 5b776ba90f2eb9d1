//! `verify`: reads every object, and names what a gateway could not use. It deletes nothing unless
//! it is told to.

mod finding;
mod position;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_util::TryStreamExt;
use indicatif::{HumanBytes, HumanCount};
use tokio::time::timeout;

use self::finding::{Deletion, Finding};
use self::position::{Position, PositionFile};
use super::failure::{CommandError, CommandResult};
use super::interrupt::unless_interrupted;
use super::progress::{KEYS, Progress, place};
use super::store::{Parallelism, StoreOptions};
use super::walk::{Content, Seen, Walk};
use crate::cache::store::{Archive, ArchiveError, ListedObject};
use crate::config::command_line::complain;
use crate::embeddings::key::Key;
use crate::embeddings::object::Flaw;

/// After so many objects in a row that the store does not give out, it gives out none.
const MOST_UNREAD: u32 = 20;

/// Names of foreign objects that are told; of more there is only the count.
const MOST_FOREIGN: u64 = 100;

/// How long an interrupted run waits for the store to say that it has deleted an object.
const DELETION: Duration = Duration::from_secs(5);

/// The options of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyOptions {
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    pace: Parallelism,
    /// Notes in this file how far it is, and goes on from there if the file is there
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Deletes objects that no gateway can use: they read as misses until then
    #[arg(long)]
    delete_bad: bool,
}

/// One run of the command.
struct Verification<'a> {
    archive: &'a Archive,
    delete_bad: bool,
    saved: Option<&'a PositionFile>,
    position: Position,
    progress: Progress,
    foreign: u64,
    unread_in_a_row: u32,
    /// Under way: an interrupted run waits for it, so that it counts what it has deleted.
    deletion: Option<Deletion<'a>>,
}

pub(super) async fn run(options: &VerifyOptions) -> CommandResult {
    let archive = options.store.open()?;
    let open = |path: &PathBuf| PositionFile::open(path, archive.url());
    let saved = options.resume.as_ref().map(open).transpose()?;
    let new = || Position::new(archive.url());
    let position = saved.as_ref().map_or_else(new, PositionFile::position);
    let walk = Walk {
        archive: &archive,
        after: position.after(),
        most: None,
        at_once: options.pace.at_once(),
    };
    let mut verification = Verification {
        archive: &archive,
        delete_bad: options.delete_bad,
        saved: saved.as_ref(),
        position,
        progress: Progress::new("verify", KEYS),
        foreign: 0,
        unread_in_a_row: 0,
        deletion: None,
    };
    let ended = unless_interrupted(verification.go(walk)).await;
    let ended = match timeout(DELETION, verification.end_deletion()).await {
        Ok(deleted) => ended.and(deleted),
        Err(_) => ended,
    };
    verification.progress.end();
    if let Some(saved) = &saved {
        match &ended {
            Ok(()) => saved.remove(),
            Err(_) => saved.write(&verification.position)?,
        }
    }
    ended?;
    verification.report()
}

impl Verification<'_> {
    async fn go(&mut self, walk: Walk<'_>) -> CommandResult {
        let mut everything = walk.everything().await?;
        while let Some(seen) = everything.try_next().await? {
            match seen {
                Seen::Foreign(name) => self.skip(&name)?,
                Seen::Object(key, found, content) => {
                    self.check(key, &found, &content).await?;
                    let position = &self.position;
                    self.progress.show(place(&key), || position.summary());
                }
            }
        }
        Ok(())
    }

    async fn check(&mut self, key: Key, found: &ListedObject, content: &Content) -> CommandResult {
        let flaw = match content {
            Content::Unread(failed) => return self.note_unread(&key, found, failed),
            Content::TooLong => Some(Flaw::Foreign),
            Content::Read(object) => Flaw::of(&key, object),
        };
        self.unread_in_a_row = 0;
        let Some(flaw) = flaw else {
            return self.note(&key, &Finding::good(found));
        };
        if !self.delete_bad {
            return self.note(&key, &Finding::bad(found, &flaw, ""));
        }
        // What another program's format may be stays.
        if flaw == Flaw::UnknownFormat {
            return self.note(&key, &Finding::bad(found, &flaw, "; kept"));
        }
        if self.is_good_now(&key, found).await? {
            let fate = "; a gateway has replaced it meanwhile";
            return self.note(&key, &Finding::bad(found, &flaw, fate));
        }
        self.deletion = Some(Deletion {
            key,
            finding: Finding::deleted(found, &flaw),
            answer: Box::pin(self.archive.delete(found.path.clone())),
        });
        self.end_deletion().await
    }

    async fn is_good_now(&self, key: &Key, found: &ListedObject) -> CommandResult<bool> {
        if found.bytes > super::walk::MOST_BYTES {
            return Ok(false);
        }
        let object = self.archive.read(&found.path, None).await?;
        Ok(object.is_some_and(|object| Flaw::of(key, &object).is_none()))
    }

    /// Waits for the deletion that is under way.
    async fn end_deletion(&mut self) -> CommandResult {
        let Some(deletion) = &mut self.deletion else {
            return Ok(());
        };
        let deleted = (&mut deletion.answer).await;
        match (deleted, self.deletion.take()) {
            (Ok(()), Some(deletion)) => self.note(&deletion.key, &deletion.finding),
            (deleted, _) => Ok(deleted?),
        }
    }

    fn note_unread(
        &mut self,
        key: &Key,
        found: &ListedObject,
        why: &ArchiveError,
    ) -> CommandResult {
        self.unread_in_a_row += 1;
        self.note(key, &Finding::unread(found, why))?;
        match self.unread_in_a_row {
            MOST_UNREAD => Err(CommandError::broken(format!("the store: {why}"))),
            _ => Ok(()),
        }
    }

    /// Tells what was found, and counts it: together, or a run that goes on here would count it
    /// again or not at all.
    fn note(&mut self, key: &Key, finding: &Finding) -> CommandResult {
        let told = finding.line.as_ref().map_or(Ok(()), |line| self.say(line));
        // No later run finds what is deleted.
        if told.is_ok() || finding.is_deleted {
            self.position.pass(key, finding);
        }
        match self.saved {
            Some(saved) if finding.is_deleted => saved.write(&self.position)?,
            Some(saved) => saved.write_sometimes(&self.position)?,
            None => {}
        }
        told
    }

    fn skip(&mut self, name: &str) -> CommandResult {
        self.foreign += 1;
        if self.foreign <= MOST_FOREIGN {
            self.progress
                .aside(|| complain(format_args!("skipped, for no gateway wrote it: {name}")));
        }
        Ok(())
    }

    /// A finding, for the program or the operator that reads standard output.
    fn say(&self, finding: &str) -> CommandResult {
        let written = self.progress.aside(|| {
            let mut output = io::stdout().lock();
            writeln!(output, "{finding}").and_then(|()| output.flush())
        });
        written.map_err(|error| CommandError::of_output(&error))
    }

    fn report(&self) -> CommandResult {
        complain(format_args!("verified: {}", self.position.summary()));
        if self.foreign > 0 {
            complain(format_args!(
                "{} skipped, for no gateway wrote them",
                HumanCount(self.foreign)
            ));
        }
        match self.position.bad + self.position.unread {
            0 => Ok(()),
            _ => Err(CommandError::Found),
        }
    }
}

impl Position {
    fn summary(&self) -> String {
        let mut summary = format!(
            "{} objects, {}, {} bad",
            HumanCount(self.checked),
            HumanBytes(self.bytes),
            HumanCount(self.bad)
        );
        for (count, what) in [(self.deleted, "deleted"), (self.unread, "not given out")] {
            if count > 0 {
                summary.push_str(&format!(", {} {what}", HumanCount(count)));
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests;
