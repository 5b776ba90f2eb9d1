//! Each request's line in the log.
//!
//! A hit in memory takes some microseconds, so its line must take less than one. The line goes to
//! the log directly: `tracing` would visit its fields one by one.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use tracing::Level;

use super::json_lines::{self, LineMembers};
use super::labels::{Bypass, Label as _};
use super::log_line::{LogLine, is_plain};
use super::log_writer::LogWriter;
use super::request_record::EmbeddingOutcome;
use crate::config::LogFormat;

/// A target of its own, so that `embedding_gateway::request=off` turns these lines off.
const TARGET: &str = "embedding_gateway::request";

const LEVEL: Level = Level::INFO;

/// The message of every line.
const MESSAGE: &str = "request";

/// The process's log, if `RUST_LOG` asks for these lines.
static LOG: OnceLock<(LogFormat, LogWriter)> = OnceLock::new();

/// Sends the lines to `lines` from now on. Call it after `tracing` has its filter.
pub(super) fn write_to(format: LogFormat, lines: LogWriter) {
    if tracing::enabled!(target: TARGET, LEVEL) {
        // The first log stays, as with `tracing`.
        LOG.get_or_init(|| (format, lines));
    }
}

/// The fields of one request.
#[derive(Debug)]
pub(super) struct RequestLine<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub duration: Duration,
    pub bytes: u64,
    pub complete: bool,
    pub outcome: Option<&'a EmbeddingOutcome>,
    pub bypass: Option<Bypass>,
    pub trace_id: Option<&'a str>,
}

impl RequestLine<'_> {
    /// Writes the line, if `RUST_LOG` asks for it.
    pub(super) fn log(&self) {
        match LOG.get() {
            Some((format, lines)) => {
                LogLine::with(|line| self.write(line, *format), |line| lines.add(line));
            }
            // `RUST_LOG` leaves these lines out, or a test has a subscriber of its own.
            None => tracing::info!(target: TARGET, "{}", self.text()),
        }
    }

    fn write(&self, line: &mut LogLine, format: LogFormat) {
        match format {
            LogFormat::Json => json_lines::write_object(line, LEVEL, TARGET, |members| {
                members.word("message", MESSAGE);
                self.write_fields(members);
            }),
            LogFormat::Text => {
                line.push_time(SystemTime::now());
                line.push("  ");
                line.push(LEVEL.as_str());
                line.push(" ");
                line.push(TARGET);
                line.push(": ");
                self.write_text(line);
                line.push("\n");
            }
        }
    }

    fn write_text(&self, line: &mut LogLine) {
        line.push(MESSAGE);
        self.write_fields(&mut TextFields(line));
    }

    fn text(&self) -> String {
        LogLine::with(|line| self.write_text(line), str::to_owned)
    }

    #[inline(always)]
    fn write_fields(&self, line: &mut impl LineFields) {
        line.word("method", self.method);
        line.text("path", self.path);
        line.count("status", self.status.into());
        line.milliseconds("duration_ms", self.duration);
        line.count("bytes", self.bytes);
        if !self.complete {
            line.truth("cut_off");
        }
        if let Some(outcome) = self.outcome {
            line.count("memory", outcome.tally.memory as u64);
            line.count("store", outcome.tally.store as u64);
            line.count("miss", outcome.tally.miss as u64);
            line.count("collapsed", outcome.tally.collapsed as u64);
            line.count("repeat", outcome.repeats as u64);
            line.count("nominal_tokens", outcome.nominal_tokens);
            line.count("billed_tokens", outcome.billed_tokens);
        }
        if let Some(reason) = self.bypass {
            line.word("bypass", reason.value());
        }
        if let Some(trace_id) = self.trace_id {
            line.word("trace_id", trace_id);
        }
    }
}

/// Writes fields in one format.
trait LineFields {
    /// Writes a name, which the value must follow.
    fn name(&mut self, name: &'static str) -> &mut LogLine;

    fn text(&mut self, name: &'static str, value: &str);

    /// Letters, digits and underscores.
    #[inline(always)]
    fn word(&mut self, name: &'static str, value: &str) {
        let line = self.name(name);
        line.push("\"");
        line.push(value);
        line.push("\"");
    }

    #[inline(always)]
    fn count(&mut self, name: &'static str, value: u64) {
        self.name(name).push_integer(value);
    }

    #[inline(always)]
    fn milliseconds(&mut self, name: &'static str, value: Duration) {
        self.name(name).push_milliseconds(value);
    }

    #[inline(always)]
    fn truth(&mut self, name: &'static str) {
        self.name(name).push("true");
    }
}

impl LineFields for LineMembers<'_> {
    #[inline(always)]
    fn name(&mut self, name: &'static str) -> &mut LogLine {
        self.name(name)
    }

    fn text(&mut self, name: &'static str, value: &str) {
        self.string(name, value);
    }
}

/// `name=value`, as `tracing` writes fields.
struct TextFields<'a>(&'a mut LogLine);

impl LineFields for TextFields<'_> {
    #[inline(always)]
    fn name(&mut self, name: &'static str) -> &mut LogLine {
        self.0.push(" ");
        self.0.push(name);
        self.0.push("=");
        self.0
    }

    fn text(&mut self, name: &'static str, value: &str) {
        match is_plain(value) {
            true => self.word(name, value),
            false => self.name(name).push_shown(format_args!("{value:?}")),
        }
    }
}

#[cfg(test)]
mod tests;
