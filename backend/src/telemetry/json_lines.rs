//! Log lines as JSON, an object a line, written straight into the line: the library's own
//! formatter goes through a serialiser.

use std::cell::Cell;
use std::fmt::{self, Debug, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

thread_local! {
    /// The room of the thread's last line.
    static ROOM: Cell<JsonLine> = Cell::default();
}

/// `timestamp`, `level`, the event's own fields, `target`.
#[derive(Debug)]
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        with_line(
            *metadata.level(),
            metadata.target(),
            |line| event.record(line),
            |line| writer.write_str(line),
        )
    }
}

/// Makes a line and hands it on.
pub(super) fn with_line<T>(
    level: Level,
    target: &str,
    write_fields: impl FnOnce(&mut JsonLine),
    hand_on: impl FnOnce(&str) -> T,
) -> T {
    // Taken, not borrowed: a value may log while it is written.
    let mut line = ROOM.take();
    line.begin(level);
    write_fields(&mut line);
    line.end(target);
    let handed_on = hand_on(&line.text);
    ROOM.set(line);
    handed_on
}

/// A line that is being written. Names of fields and targets stand in source code, and need no
/// escapes. Whoever writes a field knows its name, and copies it fastest if all of this is inlined.
#[derive(Debug, Default)]
pub(super) struct JsonLine {
    text: String,
    /// The last second in which a line began, and how it is written, which takes long to find.
    second: (u64, String),
}

impl JsonLine {
    fn begin(&mut self, level: Level) {
        self.text.clear();
        self.text.push_str("{\"timestamp\":\"");
        self.push_time(SystemTime::now());
        self.text.push_str("\",\"level\":\"");
        self.text.push_str(level.as_str());
        self.text.push('"');
    }

    fn end(&mut self, target: &str) {
        self.text.push_str(",\"target\":\"");
        self.text.push_str(target);
        self.text.push_str("\"}\n");
    }

    /// RFC 3339, in microseconds.
    fn push_time(&mut self, time: SystemTime) {
        let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (second, written) = &mut self.second;
        if *second != time.as_secs() || written.is_empty() {
            *second = time.as_secs();
            written.clear();
            let second = format_rfc3339_seconds(UNIX_EPOCH + time);
            write!(written, "{second}").unwrap_or_default();
        }
        self.text.push_str(written.trim_end_matches('Z'));
        self.text.push('.');
        self.push_last_digits::<6>(time.subsec_micros());
        self.text.push('Z');
    }

    #[inline(always)]
    fn push_last_digits<const N: usize>(&mut self, mut number: u32) {
        let mut digits = [b'0'; N];
        for digit in digits.iter_mut().rev() {
            *digit += (number % 10) as u8;
            number /= 10;
        }
        self.text
            .push_str(str::from_utf8(&digits).unwrap_or_default());
    }

    #[inline(always)]
    fn push_name(&mut self, name: &str) {
        self.text.push_str(",\"");
        self.text.push_str(name);
        self.text.push_str("\":");
    }

    /// A member whose value is written as it stands: a number, or a word of JSON.
    #[inline(always)]
    pub(super) fn plain(&mut self, name: &str, value: &str) {
        self.push_name(name);
        self.text.push_str(value);
    }

    #[inline(always)]
    pub(super) fn integer(&mut self, name: &str, value: impl itoa::Integer) {
        self.plain(name, itoa::Buffer::new().format(value));
    }

    /// With three decimals.
    #[inline(always)]
    pub(super) fn milliseconds(&mut self, name: &str, value: Duration) {
        self.integer(name, value.as_millis() as u64);
        self.text.push('.');
        self.push_last_digits::<3>(value.subsec_micros());
    }

    /// A string that needs no escapes.
    #[inline(always)]
    pub(super) fn word(&mut self, name: &str, value: &str) {
        self.push_name(name);
        self.text.push('"');
        self.text.push_str(value);
        self.text.push('"');
    }

    #[inline(always)]
    pub(super) fn string(&mut self, name: &str, value: &str) {
        self.push_name(name);
        self.text.push('"');
        push_escaped(&mut self.text, value);
        self.text.push('"');
    }
}

impl Visit for JsonLine {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.plain(field.name(), zmij::Buffer::new().format_finite(value)),
            false => self.plain(field.name(), "null"),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.integer(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.integer(field.name(), value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.integer(field.name(), value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.integer(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field.name(), if value { "true" } else { "false" });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push_name(field.name());
        self.text.push('"');
        // What cannot be shown to its end is shown as far as it can.
        write!(Escaping(&mut self.text), "{value:?}").unwrap_or_default();
        self.text.push('"');
    }
}

/// Appends the inside of a JSON string (RFC 8259, 7).
fn push_escaped(line: &mut String, text: &str) {
    let special = |byte: u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    // Most texts are plain; to look at all of one is faster than to stop at the right byte.
    if !text.bytes().fold(false, |any, byte| any | special(byte)) {
        return line.push_str(text);
    }
    let mut rest = text;
    while let Some(at) = rest.bytes().position(special) {
        line.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            byte @ (b'"' | b'\\') => line.extend(['\\', char::from(byte)]),
            byte => line.push_str(&format!("\\u{byte:04x}")),
        }
        rest = &rest[at + 1..];
    }
    line.push_str(rest);
}

/// [`push_escaped`] for what comes in pieces.
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(log: impl FnOnce()) -> Value {
        let written = lines(log);
        assert_eq!(written.len(), 1);
        written[0].clone()
    }

    fn lines(log: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(JsonLines)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let written = written.0.lock().unwrap();
        assert!(written.ends_with(b"\n"));
        let text = std::str::from_utf8(&written).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Logs while it is written.
    struct Talkative;

    impl Debug for Talkative {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            tracing::error!("aside");
            f.write_str("said")
        }
    }

    #[test]
    fn a_value_may_log_while_it_is_written() {
        let lines = lines(|| tracing::info!(first = 1, value = ?Talkative, "whole"));
        let whole = lines
            .iter()
            .find(|line| line["message"] == "whole")
            .unwrap();
        assert_eq!(
            (&whole["first"], &whole["value"]),
            (&json!(1), &json!("said"))
        );
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        let mut line = JsonLine::default();
        // Within a second, in the next one, and back again.
        for micros in [0, 999_999, 1_000_000, 2_000_007, 2_100_000, 1_000_001] {
            for whole in [0, 1_700_000_000, 253_402_300_797] {
                let time = UNIX_EPOCH + Duration::from_secs(whole) + Duration::from_micros(micros);
                line.text.clear();
                line.push_time(time);
                let expected = humantime::format_rfc3339_micros(time).to_string();
                assert_eq!(line.text, expected);
            }
        }
    }

    #[test]
    fn every_kind_of_field_is_json() {
        const STRANGE: &str = "a \"quoted\"\\ \u{0}\n\u{1f}é\u{2028}";
        let line = line(|| {
            tracing::warn!(
                text = STRANGE,
                shown = %STRANGE,
                debug = ?[STRANGE],
                none = None::<u64>,
                whole = u64::MAX,
                below = -1,
                half = 0.5,
                not = f64::NAN,
                so = true,
                "the {} message",
                "\"whole\""
            );
        });
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "the \"whole\" message");
        assert_eq!(line["target"], module_path!());
        assert_eq!(line["text"], STRANGE);
        assert_eq!(line["shown"], STRANGE);
        assert_eq!(line["debug"], format!("{:?}", [STRANGE]));
        assert!(line.get("none").is_none());
        assert_eq!(line["whole"], u64::MAX);
        assert_eq!(line["below"], -1);
        assert_eq!(line["half"], 0.5);
        assert_eq!(line["not"], json!(null));
        assert_eq!(line["so"], true);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
