//! The command line of our programs: they are told by the environment, so it only asks. And the
//! status that they end with.

use std::fmt::{Display, Write as _};
use std::process::ExitCode;

use crate::config::{Problem, Variable};

/// As `EX_USAGE` of sysexits(3): a restart does not help.
const BAD_CONFIGURATION: u8 = 64;

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its file's name.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// All that it reads from the environment.
    pub variables: &'static [Variable],
}

impl Program {
    /// Answers what the command line asks; if that is nothing, runs with what `configure` makes of
    /// the environment.
    pub fn start<C, E: Display>(
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
                // With its causes.
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        }
    }

    /// `None`: nothing was asked.
    fn answer(&self, argument: Option<&str>) -> Option<ExitCode> {
        match argument {
            None => return None,
            Some("--help" | "-h") => print!("{}", self.help()),
            Some("--version" | "-V") => println!("{} {}", self.name, env!("CARGO_PKG_VERSION")),
            Some(_) => {
                eprintln!("{} takes no arguments but --help and --version", self.name);
                return Some(ExitCode::from(BAD_CONFIGURATION));
            }
        }
        Some(ExitCode::SUCCESS)
    }

    fn help(&self) -> String {
        let mut help = format!(
            "{}\n\nIt takes no arguments. Environment variables, with their defaults:\n",
            self.about
        );
        for variable in self.variables {
            let Variable {
                name,
                default,
                meaning,
            } = variable;
            // Writing to a string does not fail.
            _ = write!(help, "\n  {name}={default}\n      {meaning}\n");
        }
        help
    }
}

/// Names all that is wrong with the environment.
fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        eprintln!("{problem}");
    }
    ExitCode::from(BAD_CONFIGURATION)
}
