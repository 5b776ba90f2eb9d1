//! Log lines as JSON, an object a line, written straight into the line: the library's own
//! formatter goes through a serialiser, and every request would pay for that.

use std::fmt::{self, Debug, Display, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

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
        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        writer.write_str("\",\"level\":\"")?;
        writer.write_str(metadata.level().as_str())?;
        writer.write_char('"')?;
        let mut fields = Fields {
            writer: writer.by_ref(),
            result: Ok(()),
        };
        event.record(&mut fields);
        fields.result?;
        writer.write_str(",\"target\":")?;
        write_text(&mut writer, metadata.target())?;
        writer.write_str("}\n")
    }
}

/// Writes each field after a comma, until one cannot be written.
struct Fields<'a> {
    writer: Writer<'a>,
    result: fmt::Result,
}

impl Fields<'_> {
    fn write(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_ok() {
            // Names are written in our source, and need no escapes.
            self.result = self
                .writer
                .write_str(",\"")
                .and_then(|()| self.writer.write_str(field.name()))
                .and_then(|()| self.writer.write_str("\":"))
                .and_then(|()| value(&mut self.writer));
        }
    }

    fn write_plain(&mut self, field: &Field, value: impl Display) {
        self.write(field, |writer| write!(writer, "{value}"));
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.write_plain(field, value),
            false => self.write_plain(field, "null"),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write_plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write_plain(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.write_plain(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.write_plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write_plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, |writer| write_text(writer, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.write(field, |writer| {
            write_text(writer, format_args!("{value:?}"))
        });
    }
}

fn write_text(writer: &mut Writer<'_>, text: impl Display) -> fmt::Result {
    writer.write_char('"')?;
    write!(Escaping(writer.by_ref()), "{text}")?;
    writer.write_char('"')
}

/// The inside of a JSON string (RFC 8259, 7).
struct Escaping<'a>(Writer<'a>);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let special = |byte: u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        let mut rest = text;
        while let Some(at) = rest.bytes().position(special) {
            self.0.write_str(&rest[..at])?;
            match rest.as_bytes()[at] {
                byte @ (b'"' | b'\\') => write!(self.0, "\\{}", char::from(byte))?,
                byte => write!(self.0, "\\u{byte:04x}")?,
            }
            rest = &rest[at + 1..];
        }
        self.0.write_str(rest)
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
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(JsonLines)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let written = written.0.lock().unwrap();
        assert_eq!(written.iter().filter(|&&byte| byte == b'\n').count(), 1);
        assert!(written.ends_with(b"\n"));
        serde_json::from_slice(&written).unwrap()
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
