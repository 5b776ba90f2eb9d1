//! One line of the log, in a buffer that each thread reuses.

use std::cell::Cell;
use std::fmt::{Arguments, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;

thread_local! {
    /// The thread's last line.
    static LAST: Cell<LogLine> = Cell::default();
}

/// A growing text. All that pushes to it is inlined: short texts of a known length are copied
/// fastest that way.
#[derive(Debug, Default)]
pub(super) struct LogLine {
    text: String,
    /// The last second in which a line began, and its spelling: formatting it anew is slow.
    second: (u64, String),
}

impl LogLine {
    /// Lets `write` fill a line, then passes it to `hand_on`.
    pub(super) fn with<T>(write: impl FnOnce(&mut Self), hand_on: impl FnOnce(&str) -> T) -> T {
        // Taken, not borrowed: a value's `Debug` may log, too.
        let mut line = LAST.take();
        line.text.clear();
        write(&mut line);
        let handed_on = hand_on(&line.text);
        LAST.set(line);
        handed_on
    }

    #[inline(always)]
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Pushes a value, up to where its formatting fails.
    pub(super) fn push_shown(&mut self, value: Arguments<'_>) {
        self.text.write_fmt(value).unwrap_or_default();
    }

    #[inline(always)]
    pub(super) fn push_integer(&mut self, value: impl itoa::Integer) {
        self.push(itoa::Buffer::new().format(value));
    }

    /// Pushes milliseconds with three decimals.
    #[inline(always)]
    pub(super) fn push_milliseconds(&mut self, value: Duration) {
        self.push_integer(value.as_millis() as u64);
        self.push(".");
        self.push_last_digits::<3>(value.subsec_micros());
    }

    /// Pushes a time by RFC 3339, with microseconds.
    pub(super) fn push_time(&mut self, time: SystemTime) {
        let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (second, written) = &mut self.second;
        if *second != time.as_secs() || written.is_empty() {
            *second = time.as_secs();
            written.clear();
            let second = format_rfc3339_seconds(UNIX_EPOCH + time);
            write!(written, "{second}").unwrap_or_default();
        }
        self.text.push_str(written.trim_end_matches('Z'));
        self.push(".");
        self.push_last_digits::<6>(time.subsec_micros());
        self.push("Z");
    }

    #[inline(always)]
    fn push_last_digits<const N: usize>(&mut self, mut number: u32) {
        let mut digits = [b'0'; N];
        for digit in digits.iter_mut().rev() {
            *digit += (number % 10) as u8;
            number /= 10;
        }
        self.push(str::from_utf8(&digits).unwrap_or_default());
    }
}

/// Whether a text needs no escapes between quotes. Most need none, and one pass over the whole text
/// is faster than a decision for each letter.
pub(super) fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    text.bytes().fold(true, |all, byte| all & plain(byte))
}

#[cfg(test)]
mod tests {
    use humantime::format_rfc3339_micros;

    use super::*;

    #[test]
    fn times_are_those_of_rfc_3339() {
        let mut line = LogLine::default();
        // Within a second, in the next one, and back again.
        for micros in [0, 999_999, 1_000_000, 2_000_007, 2_100_000, 1_000_001] {
            for whole in [0, 1_700_000_000, 253_402_300_797] {
                let time = UNIX_EPOCH + Duration::from_secs(whole) + Duration::from_micros(micros);
                line.text.clear();
                line.push_time(time);
                assert_eq!(line.text, format_rfc3339_micros(time).to_string());
            }
        }
    }

    #[test]
    fn durations_are_cut_to_microseconds() {
        for (nanos, expected) in [
            (0, "0.000"),
            (50_999, "0.050"),
            (12_034_056_789, "12034.056"),
        ] {
            let mut line = LogLine::default();
            line.push_milliseconds(Duration::from_nanos(nanos));
            assert_eq!(line.text, expected);
        }
    }
}
