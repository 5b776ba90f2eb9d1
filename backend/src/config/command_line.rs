//! The command line of both programs, and their exit status. The environment configures them, so
//! the command line only asks for help or the version, or names a command of a tool.

use std::error::Error;
use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::process::ExitCode;

use crate::config::build::VERSION;
use crate::config::{Problem, Variable};

/// The exit status of a wrong command line or environment, as `EX_USAGE` of sysexits(3): a restart
/// does not help.
pub const BAD_USAGE: u8 = 64;

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its file's name.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// All that it reads from the environment.
    pub variables: &'static [Variable],
    /// A variable that names a file, and what such a file may hold.
    pub example: Option<(&'static str, &'static str)>,
    /// What it does instead of serving, if its first argument says so.
    pub commands: &'static [CommandHelp],
}

/// What a program does instead of serving.
#[derive(Clone, Copy, Debug)]
pub struct CommandHelp {
    /// The argument that asks for it.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
}

impl Program {
    /// Answers what the command line asks. If it asks nothing, runs with the configuration that
    /// `configure` reads from the environment.
    pub fn start<C, E: AsRef<dyn Error>>(
        &self,
        configure: impl FnOnce() -> Result<C, Vec<Problem>>,
        run: impl FnOnce(C) -> Result<(), E>,
    ) -> ExitCode {
        if let Some(answered) = self.answer(std::env::args().nth(1).as_deref()) {
            return answered;
        }
        let config = match configure() {
            Ok(config) => config,
            Err(problems) => return refuse(&problems),
        };
        match run(config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(in_full(error.as_ref()));
                ExitCode::FAILURE
            }
        }
    }

    /// `None`: the command line asks nothing.
    fn answer(&self, argument: Option<&str>) -> Option<ExitCode> {
        match argument {
            None => None,
            Some("--help" | "-h") => Some(say(&self.help())),
            Some("--version" | "-V") => Some(say(&format!("{} {VERSION}\n", self.name))),
            Some(_) => {
                let names: String = self
                    .commands
                    .iter()
                    .map(|command| format!("{}, ", command.name))
                    .collect();
                complain(format_args!(
                    "{} takes no arguments but {names}--help and --version",
                    self.name
                ));
                Some(ExitCode::from(BAD_USAGE))
            }
        }
    }

    fn usage(&self) -> String {
        if self.commands.is_empty() {
            return "It takes no arguments.".to_owned();
        }
        let mut usage =
            "Without an argument it serves. It is a tool with one of these:\n\n".to_owned();
        for CommandHelp { name, about } in self.commands {
            _ = writeln!(usage, "  {name:<8}{about}");
        }
        _ = write!(
            usage,
            "\n`{} <COMMAND> --help` names a command's options.",
            self.name
        );
        usage
    }

    fn help(&self) -> String {
        let mut help = format!("{}\n\n{}", self.about, self.usage());
        help.push_str(" Environment variables, with their defaults:\n");
        let mut heading = "";
        for variable in self.variables {
            let Variable {
                group,
                name,
                default,
                meaning,
            } = variable;
            if heading != *group {
                heading = group;
                // Writing to a string does not fail.
                _ = writeln!(help, "\n{heading}");
            }
            _ = write!(help, "\n  {name}={default}\n      {meaning}\n");
        }
        if let Some((variable, example)) = self.example {
            _ = write!(
                help,
                "\nWhat a file that {variable} names may hold:\n\n{example}"
            );
        }
        help
    }
}

/// Reports every problem of the environment.
pub fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        complain(problem);
    }
    ExitCode::from(BAD_USAGE)
}

/// An error with those of its causes that it does not name itself.
fn in_full(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    for cause in causes.map(ToString::to_string) {
        if !said.ends_with(&cause) {
            said.extend([": ", &cause]);
        }
    }
    said
}

/// Writes to standard output, which may be a full disk or a pipe whose reader is gone.
pub fn say(text: &str) -> ExitCode {
    let mut output = std::io::stdout();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard error. If that fails, the exit status still tells the operator.
pub fn complain(of: impl Display) {
    _ = writeln!(std::io::stderr(), "{of}");
}
