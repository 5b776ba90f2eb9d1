//! Log lines as JSON, an object a line, written straight into the line: the library's own
//! formatter goes through a serialiser, and every request would pay for that.

use std::cell::Cell;
use std::fmt::{self, Debug, Write};
use std::time::SystemTime;

use humantime::format_rfc3339_micros;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

thread_local! {
    /// The room of the thread's last line.
    static ROOM: Cell<String> = const { Cell::new(String::new()) };
}

/// `timestamp`, `level`, the event's own fields, `target`. Names of fields and targets stand in
/// source code, and need no escapes.
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
        // Taken, not borrowed: a value may log while it is written.
        let mut line = ROOM.take();
        line.clear();
        let written =
            write_line(&mut line, SystemTime::now(), event).and_then(|()| writer.write_str(&line));
        ROOM.set(line);
        written
    }
}

fn write_line(line: &mut String, now: SystemTime, event: &Event<'_>) -> fmt::Result {
    let metadata = event.metadata();
    line.push_str("{\"timestamp\":\"");
    write!(line, "{}", format_rfc3339_micros(now))?;
    line.push_str("\",\"level\":\"");
    line.push_str(metadata.level().as_str());
    line.push('"');
    let mut fields = Fields {
        line,
        result: Ok(()),
    };
    event.record(&mut fields);
    fields.result?;
    line.push_str(",\"target\":\"");
    line.push_str(metadata.target());
    line.push_str("\"}\n");
    Ok(())
}

/// Writes each field after a comma, until one cannot be written.
struct Fields<'a> {
    line: &'a mut String,
    result: fmt::Result,
}

impl Fields<'_> {
    fn push_name(&mut self, field: &Field) {
        self.line.push_str(",\"");
        self.line.push_str(field.name());
        self.line.push_str("\":");
    }

    fn push(&mut self, field: &Field, value: &str) {
        self.push_name(field);
        self.line.push_str(value);
    }

    fn push_integer(&mut self, field: &Field, value: impl itoa::Integer) {
        self.push(field, itoa::Buffer::new().format(value));
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.push(field, zmij::Buffer::new().format_finite(value)),
            false => self.push(field, "null"),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push_integer(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push_integer(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.push_integer(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.push_integer(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, if value { "true" } else { "false" });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push_name(field);
        self.line.push('"');
        push_escaped(self.line, value);
        self.line.push('"');
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push_name(field);
        self.line.push('"');
        let written = write!(Escaping(self.line), "{value:?}");
        self.line.push('"');
        self.result = self.result.and(written);
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
