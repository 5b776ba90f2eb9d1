//! The time of day, for what outlives a process.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, now.
pub fn unix_ms() -> u64 {
    unix_ms_of(SystemTime::now())
}

/// Milliseconds from 1970 to `time`.
pub fn unix_ms_of(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
