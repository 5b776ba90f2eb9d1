//! The filter's configuration: camelCase JSON, read once, refused unless every field is sound.
//!
//! There is no silent default: a field that is unknown, given twice, of a wrong type or without a possible meaning
//! refuses the whole configuration, and the error names every such field.

use std::fmt;
use std::time::Duration;

mod fields;
mod json;
mod selection;

pub use fields::{Fields, Parse};
pub use json::Json;
pub use selection::{HostPattern, PathPrefix};

/// Envoy's own default for `per_connection_buffer_limit_bytes`: a held body must fit in it.
const DEFAULT_MAX_BODY_BYTES: u64 = 1024 * 1024;
/// Envoy counts the buffers that hold a body in 32 bits.
const LARGEST_BODY_BYTES: u64 = u32::MAX as u64;
const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(1);
/// An hour. To hold a silent request for longer is to hang it.
const LONGEST_STALL_TIMEOUT_MS: u64 = 60 * 60 * 1000;
const DEFAULT_HEADER: &str = "x-body-hash";
/// Far beyond any sensible name, far below what breaks the headers limit of the next hop.
const LONGEST_HEADER: usize = 128;

/// Headers that carry the message, the connection, the caller or Envoy's own word. The filter
/// removes its header from every request; none of these may be lost.
const RESERVED_HEADERS: [&str; 19] = [
    "accept",
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-request-id",
];
const RESERVED_PREFIXES: [&str; 2] = ["x-envoy-", "x-forwarded-"];

/// A sound configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The header to write, in lower case.
    pub header: String,
    /// The longest body that the filter hashes.
    pub max_body_bytes: u64,
    /// How long the filter holds a request while its body does not grow.
    pub stall_timeout: Duration,
    /// The hosts to hash for; empty means all.
    pub hosts: Vec<HostPattern>,
    /// The paths to hash for; empty means all.
    pub path_prefixes: Vec<PathPrefix>,
}

/// Everything that is wrong with a configuration, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads a configuration of the core's fields alone.
    ///
    /// # Errors
    /// Names every field that is unknown, repeated or wrong.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        Self::parse_with(json, |_| Some(())).map(|((), config)| config)
    }

    /// Reads a configuration with fields of a host beside the core's. `host` takes its own; `None` when it has noted
    /// that one is wrong.
    ///
    /// # Errors
    /// Names every field that is unknown, repeated or wrong.
    pub fn parse_with<T>(
        json: &[u8],
        host: impl FnOnce(&mut Fields) -> Option<T>,
    ) -> Result<(T, Self), ConfigError> {
        let mut fields = Fields::read(json).map_err(|wrong| ConfigError(vec![wrong]))?;
        let hosts_own = host(&mut fields);
        let config = Self::take(&mut fields);
        let wrong = fields.finish();
        match hosts_own {
            Some(hosts_own) if wrong.is_empty() => Ok((hosts_own, config)),
            _ => Err(ConfigError(wrong)),
        }
    }

    fn take(fields: &mut Fields) -> Self {
        Self {
            header: fields.optional("header", DEFAULT_HEADER.to_owned(), header),
            max_body_bytes: fields.optional("maxBodyBytes", DEFAULT_MAX_BODY_BYTES, body_bytes),
            stall_timeout: fields.optional("stallTimeout", DEFAULT_STALL_TIMEOUT, milliseconds),
            hosts: fields.optional("hosts", Vec::new(), hosts),
            path_prefixes: fields.optional("pathPrefixes", Vec::new(), path_prefixes),
        }
    }
}

/// A field name of RFC 9110, made lower-case: names of headers have no case.
fn header(value: &Json) -> Result<String, String> {
    let name = text(value)?.to_ascii_lowercase();
    if name.is_empty() || name.len() > LONGEST_HEADER {
        return Err(format!("must have 1 to {LONGEST_HEADER} characters"));
    }
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    {
        return Err("has a character that no header name may have (RFC 9110, token)".to_owned());
    }
    let reserved = RESERVED_HEADERS.contains(&name.as_str())
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix));
    if reserved {
        return Err("is a header with another meaning, which must not be removed".to_owned());
    }
    Ok(name)
}

/// The string that `value` is.
///
/// # Errors
/// Says that it must be one.
pub fn text(value: &Json) -> Result<&str, String> {
    match value {
        Json::Text(text) => Ok(text),
        _ => Err("must be a string".to_owned()),
    }
}

fn whole_number(value: &Json, most: u64) -> Result<u64, String> {
    match value {
        Json::Whole(number) if (1..=most).contains(number) => Ok(*number),
        _ => Err(format!("must be a whole number from 1 to {most}")),
    }
}

fn body_bytes(value: &Json) -> Result<u64, String> {
    whole_number(value, LARGEST_BODY_BYTES)
}

/// A truth value.
///
/// # Errors
/// Says that it must be one.
pub fn switch(value: &Json) -> Result<bool, String> {
    match value {
        Json::Truth(is) => Ok(*is),
        _ => Err("must be true or false".to_owned()),
    }
}

fn milliseconds(value: &Json) -> Result<Duration, String> {
    whole_number(value, LONGEST_STALL_TIMEOUT_MS).map(Duration::from_millis)
}

fn hosts(value: &Json) -> Result<Vec<HostPattern>, String> {
    list(value, HostPattern::parse)
}

fn path_prefixes(value: &Json) -> Result<Vec<PathPrefix>, String> {
    list(value, PathPrefix::parse)
}

fn list<T>(value: &Json, parse: fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let Json::List(entries) = value else {
        return Err("must be a list of strings".to_owned());
    };
    let parse_entry = |entry: &Json| match entry {
        Json::Text(text) => {
            parse(text).ok_or_else(|| format!("has an impossible entry: {}", text.escape_default()))
        }
        _ => Err("must be a list of strings".to_owned()),
    };
    entries.iter().map(parse_entry).collect()
}
