//! Times as the tool reads and writes them: RFC 3339, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::{format_rfc3339_millis, format_rfc3339_seconds, parse_rfc3339_weak};

use crate::embeddings::clock::unix_ms_of;

/// The last second that RFC 3339 can write, in Unix milliseconds.
const LAST_MS: u64 = 253_402_300_799_000;

/// Unix milliseconds as text, to the second.
pub(super) fn text(time_ms: u64) -> String {
    format_rfc3339_seconds(system_time(time_ms)).to_string()
}

/// Unix milliseconds as text, to the millisecond.
pub(super) fn exact_text(time_ms: u64) -> String {
    format_rfc3339_millis(system_time(time_ms)).to_string()
}

fn system_time(time_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(time_ms.min(LAST_MS))
}

/// `2026-01-31`, `2026-01-31T12:00:00Z` as Unix milliseconds.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let whole = match text.len() {
        10 => format!("{text} 00:00:00"),
        _ => text.to_owned(),
    };
    let time = parse_rfc3339_weak(&whole);
    let time =
        time.map_err(|_| "must be a time in UTC, as in 2026-01-31 or 2026-01-31T12:00:00Z")?;
    Ok(unix_ms_of(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(parse("2026-01-31"), Ok(1_769_817_600_000));
        assert_eq!(parse("2026-01-31T12:00:01Z"), Ok(1_769_860_801_000));
        assert_eq!(text(1_769_860_801_999), "2026-01-31T12:00:01Z");
        assert_eq!(text(u64::MAX), "9999-12-31T23:59:59Z");
        for wrong in ["", "yesterday", "31.01.2026", "2026-13-01", "1769860801"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
