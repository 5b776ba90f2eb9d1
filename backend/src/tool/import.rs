//! `import`: vectors that were paid for elsewhere, written under the keys by which the server will
//! look for them.
//!
//! The file is read twice. The first time finds every fault in it, and nothing is written if there
//! is one; the second time writes. A run that breaks off is simply begun again: what is in the
//! store already is not written twice.

mod caller;
mod check;
mod contained;
mod identity;
mod lines;
mod plan;
mod repeats;
mod rows;
mod source;
mod write;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use indicatif::HumanCount;

use self::check::{CheckedFile, check};
use self::plan::Plan;
use self::source::Source;
use self::write::{Written, write_all};
use super::failure::{CommandError, CommandResult};
use super::interrupt::unless_interrupted;
use super::store::{Parallelism, StoreOptions};
use super::time;
use crate::config::Config;
use crate::config::command_line::complain;

const FIELDS_HELP: &str =
    r#"What else clients' requests have that decides the vector, as in '{"input_type":"query"}'"#;

const CALLER_HELP: &str = "Whose vectors they are, where CACHE_SCOPE is credential or caller: a file with the headers \
     that this caller sends, one a line, or with its key alone";

const ORGANIZATION_HELP: &str =
    "Whose they are, where CACHE_SCOPE is organization: its name as the upstream tells it";

/// The options of `import`.
#[derive(Debug, Args)]
pub(super) struct ImportOptions {
    /// A file of JSON Lines or Parquet: "input" and "embedding" in each line or row, and "tokens" if
    /// it is known
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    pace: Parallelism,
    /// The model that clients ask for
    #[arg(long, value_name = "NAME")]
    model: String,
    /// What the upstream's answers call it, if that is another name; see a real answer
    #[arg(long, value_name = "NAME")]
    answered_model: Option<String>,
    /// The "dimensions" of clients' requests; absent if they send none
    #[arg(long, value_name = "NUMBER")]
    dimensions: Option<u32>,
    #[arg(long, value_name = "JSON", default_value = "{}", help = FIELDS_HELP)]
    fields: String,
    #[arg(long, value_name = "FILE", help = CALLER_HELP)]
    caller: Option<PathBuf>,
    #[arg(long, value_name = "NAME", help = ORGANIZATION_HELP)]
    organization: Option<String>,
    /// When they were paid for, as in 2026-01-31; when the file was last changed, if absent
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    created: Option<u64>,
    /// Also writes where the store has a vector already
    #[arg(long)]
    replace: bool,
    /// Only looks for faults
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(options: &ImportOptions) -> CommandResult {
    let config = Config::with_store(options.store.store.as_deref());
    let config = config.map_err(|problems| options.store.refused(problems))?;
    let mut source = Source::open(&options.file)?;
    let archive = options
        .store
        .open_configured(config.store.as_ref(), options.dry_run)?;
    let plan = Plan::new(options, &config, &archive, source.changed_ms()).await?;
    complain(&plan);
    let checked = check(&mut source, &plan)?;
    if options.dry_run {
        return say(format_args!("{checked}, nothing was written"));
    }
    source.rewind()?;
    let mut written = Written::default();
    let at_once = options.pace.at_once();
    let writing = write_all(&source, &plan, &archive, at_once, &mut written);
    let ended = unless_interrupted(writing).await;
    let ended = ended.and_then(|()| source.is_unchanged());
    match ended {
        Ok(()) => {
            written.without(checked.repeats);
            say(format_args!("{checked}; {written}"))
        }
        Err(failure) => {
            complain(format_args!(
                "stopped: {written}. Begin again: what is written stays, and is not written twice"
            ));
            Err(failure)
        }
    }
}

fn say(what: std::fmt::Arguments<'_>) -> CommandResult {
    let mut output = io::stdout().lock();
    let said = writeln!(output, "{what}").and_then(|()| output.flush());
    said.map_err(|error| CommandError::of_output(&error))
}

impl std::fmt::Display for CheckedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} vectors of {} numbers",
            HumanCount(self.records - self.repeats),
            self.dimensions
        )?;
        for (count, what) in [
            (self.repeats, "only repeat another"),
            (self.estimated, "token counts are estimated"),
        ] {
            if count > 0 {
                write!(f, ", {} {what}", HumanCount(count))?;
            }
        }
        Ok(())
    }
}
