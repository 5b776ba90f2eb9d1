//! The configuration of one instance in a VM: the core's fields, and which of the filters it is.

use std::rc::Rc;

use crate::config::{Config, ConfigError, Json, text};

/// What an instance of the filter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The pair's first filter.
    Tap,
    /// The pair's second filter.
    Gate,
    /// The filter that does both.
    Single,
}

/// A sound configuration with its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// What this instance is.
    pub role: Role,
    /// The fields that every host reads.
    pub config: Rc<Config>,
}

impl Instance {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Names every field that is missing, unknown, repeated or wrong.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let (role, config) = Config::parse_with(json, |fields| fields.required("role", role))?;
        let config = Rc::new(config);
        Ok(Self { role, config })
    }
}

fn role(value: &Json) -> Result<Role, String> {
    match text(value)? {
        "tap" => Ok(Role::Tap),
        "gate" => Ok(Role::Gate),
        "single" => Ok(Role::Single),
        _ => Err("must be \"tap\", \"gate\" or \"single\"".to_owned()),
    }
}
