//! Parses values: durations, sizes, addresses. An error says what would have been right.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode;
use reqwest::Url;
use secrecy::SecretString;

use super::{EncodingRule, LogFormat, StoreAdmission};

/// hyper takes no smaller buffer for a request's head.
const MIN_HEADER_BYTES: usize = 8192;

/// Every connection may have such a buffer.
const MAX_HEADER_BYTES: usize = 16 << 20;

/// A hundred years: times are added to times.
const MAX_DURATION: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// A client waits for it with every miss.
const MAX_WINDOW: Duration = Duration::from_secs(1);

const MIN_PATIENCE: Duration = Duration::from_millis(1);

const MIN_CLIENT_PATIENCE: Duration = Duration::from_millis(100);

/// More than any machine has. Sizes are added and multiplied.
const MAX_BYTES: u64 = 1 << 40;

/// Places and queues reserve memory, or numbers that a semaphore must hold.
const MAX_COUNT: usize = 1_000_000;

pub(crate) fn parsed<T: FromStr<Err: ToString>>(value: &str) -> Result<T, String> {
    value.parse().map_err(|error: T::Err| error.to_string())
}

pub(crate) fn text(value: &str) -> Result<String, String> {
    Ok(value.to_owned())
}

pub(crate) fn secret(value: &str) -> Result<SecretString, String> {
    let visible = value.bytes().all(|byte| byte.is_ascii_graphic());
    visible
        .then(|| value.into())
        .ok_or_else(|| "holds blanks or control characters".into())
}

pub(crate) fn path(value: &str) -> Result<PathBuf, String> {
    Ok(value.into())
}

pub(crate) fn boolean(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "must be true or false".into())
}

/// Whole numbers with units, as in `500ms`, `30s` or `1h 30m`.
pub(crate) fn duration(value: &str) -> Result<Duration, String> {
    humantime::parse_duration(value)
        .map_err(|_| "must be a whole number with a unit, as in 500ms, 30s, 10m, 1h, 7d".into())
        .and_then(|duration| at_most(&MAX_DURATION, duration, "36500d"))
}

/// A time that is waited for something: at least 1 ms.
pub(crate) fn patience(value: &str) -> Result<Duration, String> {
    at_least(&MIN_PATIENCE, duration(value)?, "1ms")
}

/// A time in which work is collected.
pub(crate) fn window(value: &str) -> Result<Duration, String> {
    at_most(&MAX_WINDOW, duration(value)?, "1s")
}

/// A time that clients have: a shorter one would serve none.
pub(crate) fn client_patience(value: &str) -> Result<Duration, String> {
    at_least(&MIN_CLIENT_PATIENCE, duration(value)?, "100ms")
}

/// A whole number of bytes, or with a unit: `KiB`, `MiB` or `GiB`.
pub(crate) fn bytes(value: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(value);
    let shift = match unit {
        "" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        _ => None,
    };
    shift
        .zip(number.parse::<u64>().ok())
        .and_then(|(shift, number)| number.checked_mul(1 << shift))
        .ok_or_else(|| "must be a number of bytes, as in 1048576, 512KiB, 16MiB, 1GiB".into())
        .and_then(|bytes| at_most(&MAX_BYTES, bytes, "1024GiB"))
}

/// How many there may be: from 1 to a million.
pub(crate) fn count(value: &str) -> Result<usize, String> {
    let count = value.parse().ok();
    count
        .filter(|count| (1..=MAX_COUNT).contains(count))
        .ok_or_else(|| format!("must be a number from 1 to {MAX_COUNT}"))
}

/// A size of at least `min` bytes: a smaller one would serve no request.
pub(crate) fn size_from(min: usize) -> impl Fn(&str) -> Result<usize, String> {
    move |value| {
        let size = usize::try_from(bytes(value)?).map_err(|error| error.to_string())?;
        at_least(&min, size, &min.to_string())
    }
}

pub(crate) fn header_size(value: &str) -> Result<usize, String> {
    let size = size_from(MIN_HEADER_BYTES)(value)?;
    at_most(&MAX_HEADER_BYTES, size, "16MiB")
}

fn at_least<T: PartialOrd>(min: &T, value: T, spelled: &str) -> Result<T, String> {
    match value >= *min {
        true => Ok(value),
        false => Err(format!("must be at least {spelled}")),
    }
}

fn at_most<T: PartialOrd>(max: &T, value: T, spelled: &str) -> Result<T, String> {
    match value <= *max {
        true => Ok(value),
        false => Err(format!("must be at most {spelled}")),
    }
}

/// An upstream's base URL, normalised: two spellings of one upstream must not make two keys.
pub(crate) fn base_url(value: &str) -> Result<Url, String> {
    let mut url: Url = value
        .parse()
        .map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must start with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password".into());
    }
    if url.fragment().is_some() {
        return Err("must not hold a fragment".into());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    if path.ends_with("/embeddings") {
        return Err("must end before /embeddings, as in https://api.openai.com/v1".into());
    }
    url.set_path(&path);
    Ok(url)
}

pub(crate) fn encoding(value: &str) -> Result<EncodingRule, String> {
    match value {
        "base64" => Ok(EncodingRule::Base64),
        "float" => Ok(EncodingRule::Float),
        "as-asked" => Ok(EncodingRule::AsAsked),
        _ => Err("must be base64, float or as-asked".into()),
    }
}

pub(crate) fn admission(value: &str) -> Result<StoreAdmission, String> {
    match value {
        "always" => Ok(StoreAdmission::Always),
        "second-use" => Ok(StoreAdmission::SecondUse),
        _ => Err("must be always or second-use".into()),
    }
}

pub(crate) fn log_format(value: &str) -> Result<LogFormat, String> {
    match value {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".into()),
    }
}

/// Names with commas between them.
pub(crate) fn list(value: &str) -> Result<Vec<String>, String> {
    let names = value
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(str::to_owned).collect();
    if names.is_empty() {
        Err("names nothing".into())
    } else {
        Ok(names)
    }
}

/// A part of a whole.
pub(crate) fn ratio(value: &str) -> Result<f64, String> {
    let ratio = value.parse().ok();
    ratio
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| "must be a number from 0 to 1".into())
}

/// `name=value,…`, values percent-encoded (W3C Baggage).
pub(crate) fn pairs(value: &str) -> Result<Vec<(String, String)>, String> {
    let members = value.split(',').filter(|member| !member.trim().is_empty());
    let pair = |member: &str| {
        let (name, value) = member.split_once('=')?;
        let value = String::from_utf8(percent_decode(value.trim().as_bytes()).collect()).ok()?;
        Some((name.trim().to_owned(), value)).filter(|(name, _)| !name.is_empty())
    };
    let pairs: Option<_> = members.map(pair).collect();
    pairs.ok_or_else(|| "must be of the form name=value,name=value".into())
}

/// Headers whose values are marked as sensitive, so that no log shows them.
pub(crate) fn headers(value: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(value)? {
        let name: Option<HeaderName> = name.parse().ok();
        let value = HeaderValue::try_from(value).ok();
        let (name, mut value) = name.zip(value).ok_or("holds what no header may hold")?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn split_unit(value: &str) -> (&str, &str) {
    let digits = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    (&value[..digits], value[digits..].trim_start())
}

#[cfg(test)]
mod tests;
