//! Reads variables one by one and remembers everything that is wrong with them.

use std::collections::HashMap;

use super::variables::Variable;

/// One variable with an impossible value. The value itself is not shown: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct Problem {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong, in words for the operator.
    pub reason: String,
}

/// The variables as they were given, and the problems found so far.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) given: &'a HashMap<String, String>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(given: &'a HashMap<String, String>) -> Self {
        Self {
            given,
            problems: Vec::new(),
        }
    }

    /// The variable's value, or its default. `None` only after a problem was noted.
    pub(super) fn read<T>(
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

    /// The variable's value, if it was given and makes sense.
    pub(super) fn optional<T>(
        &mut self,
        variable: &Variable,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.given.get(variable.name)?;
        self.parse(variable, value, parse)
    }

    /// Notes a problem that lies in the variable's relation to others.
    pub(super) fn refuse(&mut self, variable: &Variable, reason: &str) {
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
