//! Why a command did not do what it was asked, and the exit status that says so.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::cache::store::{ArchiveError, StoreOpenError};
use crate::config::Problem;
use crate::config::command_line::{BAD_USAGE, complain, refuse};

/// A command's end.
#[derive(Debug)]
pub(super) enum CommandError {
    /// The environment holds impossible values.
    Problems(Vec<Problem>),
    /// What was asked is impossible as it was asked.
    Misused(String),
    /// Something went wrong, and this is what.
    Broken(String),
    /// The command did its work and found something wrong, which it has told.
    Found,
}

pub(super) type CommandResult<T = ()> = Result<T, CommandError>;

impl CommandError {
    pub(super) fn misused(why: impl Into<String>) -> Self {
        Self::Misused(why.into())
    }

    pub(super) fn broken(why: impl Into<String>) -> Self {
        Self::Broken(why.into())
    }

    /// A file, and what is wrong with it.
    pub(super) fn of_file(path: &Path, error: &io::Error) -> Self {
        Self::Broken(format!("{}: {error}", path.display()))
    }

    /// Standard output took no more.
    pub(super) fn of_output(error: &io::Error) -> Self {
        Self::Broken(format!("standard output: {error}"))
    }

    pub(super) fn report(&self) -> ExitCode {
        match self {
            Self::Problems(problems) => return refuse(problems),
            Self::Misused(why) => {
                complain(why);
                return ExitCode::from(BAD_USAGE);
            }
            Self::Broken(why) => complain(why),
            Self::Found => {}
        }
        ExitCode::FAILURE
    }
}

impl From<StoreOpenError> for CommandError {
    fn from(error: StoreOpenError) -> Self {
        Self::Broken(format!("the store: {error}"))
    }
}

impl From<ArchiveError> for CommandError {
    fn from(error: ArchiveError) -> Self {
        Self::Broken(format!("the store: {error}"))
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}
