//! Log lines. None ever holds an input, a vector or a key.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

use super::json_lines::JsonLog;
use super::log_writer::{LastLines, LogWriter};
use super::request_line;
use crate::config::LogFormat;
use crate::config::log_filter::OWN_TARGETS;

/// Logging cannot start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum LogStartError {
    #[error("no thread for the log: {0}")]
    Thread(#[from] std::io::Error),
    #[error(transparent)]
    Started(#[from] TryInitError),
}

/// Starts logging to standard error. The program must keep the result to its end.
pub fn start_logging(format: LogFormat, wanted: Targets) -> Result<LastLines, LogStartError> {
    let ceiling = Targets::new()
        .with_targets(OWN_TARGETS.map(|target| (target, LevelFilter::TRACE)))
        .with_default(LevelFilter::WARN);
    let (writer, last) = LogWriter::start(std::io::stderr())?;
    let lines = fmt::layer().with_writer(writer.clone());
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.event_format(JsonLog).boxed(),
    };
    tracing_subscriber::registry()
        .with(ceiling)
        .with(wanted)
        .with(lines)
        .try_init()?;
    request_line::write_to(format, writer);
    Ok(last)
}
