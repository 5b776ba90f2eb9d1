//! How many spans are exported together, and when.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::variables as var;

/// Spans that may wait for their export. The queue reserves memory for all of them at the start.
const MAX_SPANS: usize = 100_000;

/// A year: times are added to times.
const MAX_MILLISECONDS: u64 = 365 * 24 * 60 * 60 * 1000;

/// How spans are exported together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanBatches {
    /// Spans that may wait for an export.
    pub queue: usize,
    /// Spans of one export.
    pub export: usize,
    /// Pause between two exports.
    pub delay: Duration,
}

impl SpanBatches {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let queue = reader.read(&var::OTEL_BSP_MAX_QUEUE_SIZE, spans);
        let export = reader.read(&var::OTEL_BSP_MAX_EXPORT_BATCH_SIZE, spans);
        let delay = reader.read(&var::OTEL_BSP_SCHEDULE_DELAY, milliseconds);
        Some(Self {
            queue: queue?,
            export: export?,
            delay: delay?,
        })
    }
}

/// At least 1: with 0 the exporter would not pause, or would not wait for the collector.
pub(super) fn milliseconds(value: &str) -> Result<Duration, String> {
    let number = value.parse().ok();
    number
        .filter(|number| (1..=MAX_MILLISECONDS).contains(number))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("must be a number of milliseconds from 1 to {MAX_MILLISECONDS}"))
}

fn spans(value: &str) -> Result<usize, String> {
    let number = value.parse().ok();
    number
        .filter(|number| (1..=MAX_SPANS).contains(number))
        .ok_or_else(|| format!("must be a number from 1 to {MAX_SPANS}"))
}
