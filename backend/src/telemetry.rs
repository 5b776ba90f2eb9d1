//! Counters, log lines and traces. None ever holds an input, a vector or a key.

#[cfg(test)]
mod captured;
pub mod classic;
pub mod comparisons;
pub mod counts;
pub mod derived;
pub mod exposition;
pub mod gauges;
mod json_lines;
pub mod labels;
mod log_line;
pub mod log_writer;
pub mod logging;
pub mod metrics;
pub mod models;
pub mod otlp;
mod request_line;
pub mod request_record;
pub mod semantics;
pub mod spans;
mod tally;
pub mod totals;
mod trace_context;
pub mod trace_id;

pub use self::gauges::{Gauges, MemoryGauges, StoreGauges, StoreRights};
pub use self::labels::{
    BreakerState, Bypass, Failover, HashVerdict, Outcome, Reload, Route, SelfTest, SharedCall,
    StoreOperation, StoreResult, StoreRight,
};
pub use self::logging::start_logging;
pub use self::metrics::Metrics;
pub use self::request_record::RequestRecord;
pub use self::spans::{Span, Trace, Tracer};
pub use self::tally::Tally;
