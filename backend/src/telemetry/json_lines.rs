//! Log lines as JSON, one object a line, written straight into the line: `tracing-subscriber`'s own
//! formatter goes through a serialiser.

use std::fmt::{self, Debug, Write};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::log_line::{LogLine, is_plain};

/// `timestamp`, `level`, the event's own fields, `target`.
#[derive(Debug)]
pub(super) struct JsonLog;

impl<S, N> FormatEvent<S, N> for JsonLog
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
        let write = |line: &mut LogLine| {
            write_object(line, *metadata.level(), metadata.target(), |members| {
                event.record(members);
            });
        };
        LogLine::with(write, |line| writer.write_str(line))
    }
}

/// Writes a whole line. Names and targets come from source code, so they need no escapes.
#[inline(always)]
pub(super) fn write_object(
    line: &mut LogLine,
    level: Level,
    target: &str,
    write_members: impl FnOnce(&mut LineMembers<'_>),
) {
    line.push("{\"timestamp\":\"");
    line.push_time(SystemTime::now());
    line.push("\",\"level\":\"");
    line.push(level.as_str());
    line.push("\"");
    write_members(&mut LineMembers(line));
    line.push(",\"target\":\"");
    line.push(target);
    line.push("\"}\n");
}

/// Writes further members of an object.
#[derive(Debug)]
pub(super) struct LineMembers<'a>(&'a mut LogLine);

impl LineMembers<'_> {
    /// Writes a name, which the value must follow.
    #[inline(always)]
    pub(super) fn name(&mut self, name: &str) -> &mut LogLine {
        self.0.push(",\"");
        self.0.push(name);
        self.0.push("\":");
        self.0
    }

    pub(super) fn string(&mut self, name: &str, value: &str) {
        self.name(name).push("\"");
        push_escaped(self.0, value);
        self.0.push("\"");
    }
}

impl Visit for LineMembers<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let line = self.name(field.name());
        match value.is_finite() {
            true => line.push(zmij::Buffer::new().format_finite(value)),
            false => line.push("null"),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field.name()).push_integer(value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field.name()).push_integer(value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.name(field.name()).push_integer(value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.name(field.name()).push_integer(value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        let word = if value { "true" } else { "false" };
        self.name(field.name()).push(word);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.name(field.name()).push("\"");
        // A value whose `Debug` fails is shown up to there.
        write!(Escaping(self.0), "{value:?}").unwrap_or_default();
        self.0.push("\"");
    }
}

/// Pushes the inside of a JSON string (RFC 8259, 7). It also escapes what a terminal would obey or
/// not show: operators read logs there, and clients choose their paths.
fn push_escaped(line: &mut LogLine, text: &str) {
    if is_plain(text) {
        return line.push(text);
    }
    for character in text.chars() {
        match character {
            '"' => line.push("\\\""),
            '\\' => line.push("\\\\"),
            ' '..='~' => line.push(character.encode_utf8(&mut [0; 4])),
            shown if shown.escape_debug().len() == 1 => {
                line.push(shown.encode_utf8(&mut [0; 4]));
            }
            hidden => {
                for unit in hidden.encode_utf16(&mut [0; 2]) {
                    line.push_shown(format_args!("\\u{unit:04x}"));
                }
            }
        }
    }
}

/// [`push_escaped`] for text that comes in pieces.
struct Escaping<'a>(&'a mut LogLine);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::telemetry::captured::Captured;

    fn line(log: impl FnOnce()) -> Value {
        let written = lines(log);
        assert_eq!(written.len(), 1);
        written[0].clone()
    }

    fn lines(log: impl FnOnce()) -> Vec<Value> {
        let written = Captured::default();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(JsonLog)
            .with_writer(written.clone());
        with_default(tracing_subscriber::registry().with(layer), log);
        let text = written.text();
        assert!(text.ends_with('\n'));
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
    fn what_a_terminal_would_obey_is_escaped() {
        const OBEYED: &str = "é☃'\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{2028}\u{e0001}\t";
        let escaped = LogLine::with(|line| push_escaped(line, OBEYED), str::to_owned);
        assert_eq!(
            escaped,
            r"é☃'\u001b[2J\u007f\u009b\u202e\u2028\udb40\udc01\u0009"
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
