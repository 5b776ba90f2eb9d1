//! Reads variables one by one and collects every problem.

use std::collections::HashMap;
use std::ffi::OsString;

use super::variables::{S3_BUCKET, STORE, Variable};

/// One variable with an impossible value. The value itself stays out: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct Problem {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong, in words for the operator.
    pub reason: String,
}

/// The variables as the operator set them, and the problems found so far.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) given: &'a HashMap<String, String>,
    pub(crate) problems: Vec<Problem>,
}

/// Makes a configuration of the given variables by `read`. An empty value counts as absent.
///
/// `read` should read all variables before its first `?`, so that the operator sees all problems
/// at once.
pub(crate) fn configured<T>(
    variables: impl IntoIterator<Item = (String, String)>,
    read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> Result<T, Vec<Problem>> {
    let given = variables
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let mut reader = Reader {
        given: &given,
        problems: Vec::new(),
    };
    match (read(&mut reader), reader.problems) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(problems),
    }
}

/// All variables of this process.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |bytes: OsString| bytes.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// All variables of this process, but for those that name a store, if `store` does.
pub(crate) fn environment_with_store(
    store: Option<&str>,
) -> impl Iterator<Item = (String, String)> {
    let names_store = |name: &str| name == STORE.name || name == S3_BUCKET.name;
    let named = store.map(|store| (STORE.name.to_owned(), store.to_owned()));
    environment()
        .filter(move |(name, _)| store.is_none() || !names_store(name))
        .chain(named)
}

impl Reader<'_> {
    /// The variable's value, or its default. `None` after a problem only.
    pub(crate) fn read<T>(
        &mut self,
        variable: &Variable,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self
            .given
            .get(variable.name)
            .map_or(variable.default, String::as_str);
        self.parse(variable, value, parse)
    }

    /// The variable's value, if it is set and valid.
    pub(crate) fn optional<T>(
        &mut self,
        variable: &Variable,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.given.get(variable.name)?;
        self.parse(variable, value, parse)
    }

    /// The variable's value; its absence is a problem.
    pub(crate) fn required<T>(
        &mut self,
        variable: &Variable,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.given.contains_key(variable.name) {
            self.refuse(variable, "must be set");
        }
        self.optional(variable, parse)
    }

    /// Notes a problem that lies in the variable's relation to others.
    pub(crate) fn refuse(&mut self, variable: &Variable, reason: &str) {
        self.problems.push(Problem {
            variable: variable.name,
            reason: reason.to_owned(),
        });
    }

    fn parse<T>(
        &mut self,
        variable: &Variable,
        value: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        parse(value)
            .map_err(|reason| self.refuse(variable, &reason))
            .ok()
    }
}
