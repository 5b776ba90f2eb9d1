//! Which store a command works on.

use clap::Args;

use super::failure::{CommandError, CommandResult};
use crate::cache::store::Archive;
use crate::config::variables::STORE;
use crate::config::{Problem, StoreConfig, StorePlace};

const STORE_HELP: &str = "The store, as in s3://bucket/prefix or file:///directory; by default that of STORE or \
     S3_BUCKET. S3_ENDPOINT and AWS_* hold as they do for the server";

/// The options of every command.
#[derive(Debug, Args)]
pub(super) struct StoreOptions {
    #[arg(long, value_name = "URL", help = STORE_HELP)]
    pub(super) store: Option<String>,
}

/// How many objects are read or written side by side.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Parallelism {
    /// Objects that are read or written side by side
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
}

impl Parallelism {
    pub(super) fn at_once(self) -> usize {
        self.concurrency.into()
    }
}

impl StoreOptions {
    /// Opens the store for a command that reads it.
    pub(super) fn open(&self) -> CommandResult<Archive> {
        let config = StoreConfig::named(self.store.as_deref());
        let config = config.map_err(|problems| self.refused(problems))?;
        self.open_configured(config.as_ref(), true)
    }

    /// The environment with this store is wrong: what the command line named is called by its
    /// option.
    pub(super) fn refused(&self, mut problems: Vec<Problem>) -> CommandError {
        for problem in &mut problems {
            if self.store.is_some() && problem.variable == STORE.name {
                problem.variable = "--store";
            }
        }
        CommandError::Problems(problems)
    }

    /// Opens the store that the environment and the command line have named.
    pub(super) fn open_configured(
        &self,
        config: Option<&StoreConfig>,
        is_read: bool,
    ) -> CommandResult<Archive> {
        let place = config.map(|config| &config.place);
        match place {
            None => Err(CommandError::misused(
                "no store: name one by --store, or by STORE as the server does",
            )),
            Some(StorePlace::Memory) => Err(CommandError::misused(
                "memory: is a store inside one server, which no other program can reach",
            )),
            Some(place) => Ok(Archive::open(place, is_read)?),
        }
    }
}
