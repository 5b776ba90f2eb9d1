//! What can be seen from outside: counters and log lines. Neither ever holds an input, a vector
//! or a key.

mod caller;
#[cfg(test)]
mod captured;
pub mod classic;
pub mod counts;
pub mod exchange;
pub mod gauges;
mod json_lines;
pub mod labels;
mod line;
pub mod lines;
pub mod logging;
pub mod metrics;
pub mod models;
pub mod otlp;
mod request_line;
pub mod semantics;
pub mod spans;
pub mod trace_id;

pub use self::exchange::Exchange;
pub use self::gauges::{Gauges, MemoryGauges, StoreGauges};
pub use self::labels::{BreakerState, HashVerdict, Outcome, Route, StoreOperation, StoreResult};
pub use self::logging::start_logging;
pub use self::metrics::Metrics;
pub use self::spans::{Span, Trace, Tracer};

/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, if whoever built it said so.
pub const COMMIT: &str = match option_env!("GIT_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
