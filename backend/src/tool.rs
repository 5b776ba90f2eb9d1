//! The gateway's program as a tool beside the server: it counts, checks, exports and imports what a
//! store holds.
//!
//! It reads the environment that the server reads, and takes keys, formats and rules from where the
//! server has them. It changes nothing but by `import` and `verify --delete-bad`.

mod export;
mod failure;
mod import;
mod interrupt;
mod progress;
mod stats;
mod store;
mod time;
mod verify;
mod walk;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::export::ExportOptions;
use self::failure::CommandError;
use self::import::ImportOptions;
use self::stats::StatsOptions;
use self::verify::VerifyOptions;
use crate::config::build::VERSION;
use crate::config::command_line::{self, CommandHelp};
use crate::http::process;

/// What the program does besides serving, for `--help`.
pub const COMMANDS: &[CommandHelp] = &[STATS, VERIFY, EXPORT, IMPORT];

const STATS: CommandHelp = CommandHelp {
    name: "stats",
    about: "Counts the vectors of a store, and their bytes, by model",
};
const VERIFY: CommandHelp = CommandHelp {
    name: "verify",
    about: "Reads all objects of a store, and names those that a gateway could not use",
};
const EXPORT: CommandHelp = CommandHelp {
    name: "export",
    about: "Writes the vectors of a store as JSON Lines or Parquet",
};
const IMPORT: CommandHelp = CommandHelp {
    name: "import",
    about: "Writes vectors that were paid for elsewhere into a store, under the server's keys",
};

#[derive(Debug, Parser)]
#[command(name = "embedding-gateway", version = VERSION, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(name = STATS.name, about = STATS.about)]
    Stats(StatsOptions),
    #[command(name = VERIFY.name, about = VERIFY.about)]
    Verify(VerifyOptions),
    #[command(name = EXPORT.name, about = EXPORT.about)]
    Export(ExportOptions),
    #[command(name = IMPORT.name, about = IMPORT.about)]
    Import(ImportOptions),
}

/// Does what the command line asks; `None` if it names no command.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let named = arguments.get(1)?.to_str()?;
    COMMANDS.iter().find(|command| command.name == named)?;
    Some(match CommandLine::try_parse_from(arguments) {
        Ok(asked) => carry_out(asked.command),
        Err(answer) if answer.use_stderr() => {
            command_line::complain(answer.render().to_string().trim_end());
            ExitCode::from(command_line::BAD_USAGE)
        }
        Err(answer) => command_line::say(&answer.render().to_string()),
    })
}

fn carry_out(command: Command) -> ExitCode {
    let done = process::run(async {
        match command {
            Command::Stats(options) => stats::run(&options).await,
            Command::Verify(options) => verify::run(&options).await,
            Command::Export(options) => export::run(&options).await,
            Command::Import(options) => import::run(&options).await,
        }
    });
    match done.map_err(CommandError::from).and_then(|done| done) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
