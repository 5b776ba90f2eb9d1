//! `verify`: reads every object, and names what a gateway could not use. It deletes nothing unless
//! it is told to.

mod position;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use futures_util::TryStreamExt;
use indicatif::{HumanBytes, HumanCount};

use self::position::{Position, PositionFile};
use super::failure::{CommandError, CommandResult};
use super::interrupt::unless_interrupted;
use super::progress::{KEYS, Progress, place};
use super::store::{Parallelism, StoreOptions};
use super::walk::{Content, Seen, Walk};
use crate::cache::store::{Archive, ListedObject};
use crate::config::command_line::complain;
use crate::embeddings::key::Key;
use crate::embeddings::object::Flaw;

/// After so many objects in a row that the store does not give out, it gives out none.
const MOST_UNREAD: u32 = 20;

/// Names of foreign objects that are told; of more there is only the count.
const MOST_FOREIGN: u64 = 100;

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
    position: Position,
    progress: Progress,
    foreign: u64,
    unread_in_a_row: u32,
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
        position,
        progress: Progress::new("verify", KEYS),
        foreign: 0,
        unread_in_a_row: 0,
    };
    let ended = unless_interrupted(verification.go(walk, saved.as_ref())).await;
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
    async fn go(&mut self, walk: Walk<'_>, saved: Option<&PositionFile>) -> CommandResult {
        let mut everything = walk.everything().await?;
        while let Some(seen) = everything.try_next().await? {
            match seen {
                Seen::Foreign(name) => self.skip(&name)?,
                Seen::Object(key, found, content) => {
                    self.check(&key, &found, &content).await?;
                    self.position.pass(&key);
                    if let Some(saved) = saved {
                        saved.write_sometimes(&self.position)?;
                    }
                    let position = &self.position;
                    self.progress.show(place(&key), || position.summary());
                }
            }
        }
        Ok(())
    }

    async fn check(&mut self, key: &Key, found: &ListedObject, content: &Content) -> CommandResult {
        let flaw = match content {
            Content::Unread(failed) => {
                self.position.unread += 1;
                self.unread_in_a_row += 1;
                self.say(format_args!("{}\tis not given out: {failed}", found.path))?;
                return match self.unread_in_a_row {
                    MOST_UNREAD => Err(CommandError::broken(format!("the store: {failed}"))),
                    _ => Ok(()),
                };
            }
            Content::TooLong => Some(Flaw::Foreign),
            Content::Read(object) => Flaw::of(key, object),
        };
        self.unread_in_a_row = 0;
        self.position.checked += 1;
        self.position.bytes += found.bytes;
        let Some(flaw) = flaw else {
            return Ok(());
        };
        self.position.bad += 1;
        let fate = self.delete(key, found, &flaw).await?;
        self.say(format_args!("{}\t{flaw}{fate}", found.path))
    }

    /// Deletes an object that is bad still. What another program's format may be stays.
    async fn delete(
        &mut self,
        key: &Key,
        found: &ListedObject,
        flaw: &Flaw,
    ) -> CommandResult<&'static str> {
        if !self.delete_bad {
            return Ok("");
        }
        if *flaw == Flaw::UnknownFormat {
            return Ok("; kept");
        }
        if found.bytes <= super::walk::MOST_BYTES {
            match self.archive.read(&found.path, None).await? {
                Some(object) if Flaw::of(key, &object).is_none() => {
                    return Ok("; a gateway has replaced it meanwhile");
                }
                _ => {}
            }
        }
        self.archive.delete(&found.path).await?;
        self.position.deleted += 1;
        Ok("; deleted")
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
    fn say(&self, finding: std::fmt::Arguments<'_>) -> CommandResult {
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
