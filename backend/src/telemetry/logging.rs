//! Log lines. None ever holds an input, a vector or a key.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

use crate::config::LogFormat;

/// Our own lines. Libraries may warn, but not say more: at trace level they print headers.
const OWN_TARGET: &str = "embedding_gateway";

/// Starts logging to standard error.
pub fn start_logging(format: LogFormat, filter: &str) -> Result<(), TryInitError> {
    let ceiling = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target(OWN_TARGET, LevelFilter::TRACE);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let wanted = EnvFilter::builder().parse_lossy(filter);
    tracing_subscriber::registry()
        .with(lines.with_filter(ceiling).with_filter(wanted))
        .try_init()
}
