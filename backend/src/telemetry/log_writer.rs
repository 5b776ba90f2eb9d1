//! Buffers log lines in memory and writes them on a thread of its own, so that a slow reader of
//! standard error slows down no request.
//!
//! The buffer is bounded in bytes. Lines that do not fit are dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use tracing_subscriber::fmt::MakeWriter;

/// Bound of the buffer: some ten thousand lines.
const MAX_WAITING: usize = 4 << 20;

/// Pause between two writes, so that many lines go out together.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the end of the program waits for the last lines: the reader may be stuck.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Lines that were dropped. One counter for the process, because it has one log.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines were dropped.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// The buffer's input.
#[derive(Clone, Debug, Default)]
pub struct LogWriter(Arc<WriterState>);

#[derive(Debug, Default)]
struct WriterState {
    state: Mutex<PendingLines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct PendingLines {
    waiting: Vec<u8>,
    /// Whether the thread is writing lines that it took out.
    writing: bool,
}

/// The program keeps it to its end: its drop waits, within bounds, until all lines are written.
#[derive(Debug)]
pub struct LastLines(LogWriter);

impl LogWriter {
    /// Starts the thread that writes to `out`.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<(Self, LastLines)> {
        let lines = Self::default();
        let shared = Arc::clone(&lines.0);
        thread::Builder::new()
            .name("log".into())
            .spawn(move || shared.write_all(out))?;
        Ok((lines.clone(), LastLines(lines)))
    }

    /// Adds a line to the buffer.
    pub(super) fn add(&self, line: &str) {
        self.0.add(line.as_bytes());
    }
}

impl WriterState {
    fn state(&self) -> MutexGuard<'_, PendingLines> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() + line.len() > MAX_WAITING {
            LOST.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let first = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        drop(state);
        if first {
            self.changed.notify_all();
        }
    }

    fn write_all(&self, mut out: impl Write) {
        let mut lines = Vec::new();
        loop {
            let state = self
                .changed
                .wait_while(self.state(), |state| state.waiting.is_empty());
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut lines, &mut state.waiting);
            state.writing = true;
            drop(state);
            if out.write_all(&lines).and_then(|()| out.flush()).is_err() {
                let count = lines.iter().filter(|&&byte| byte == b'\n').count();
                LOST.fetch_add(count as u64, Ordering::Relaxed);
            }
            lines.clear();
            self.state().writing = false;
            self.changed.notify_all();
            thread::sleep(PAUSE);
        }
    }

    fn wait_until_written(&self, patience: Duration) -> bool {
        let unwritten = |state: &mut PendingLines| state.writing || !state.waiting.is_empty();
        let waited = self
            .changed
            .wait_timeout_while(self.state(), patience, unwritten);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for LastLines {
    fn drop(&mut self) {
        self.0.0.wait_until_written(LAST_WAIT);
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LineSink<'a>;

    fn make_writer(&'a self) -> LineSink<'a> {
        LineSink(&self.0)
    }
}

/// Takes one line from `tracing-subscriber`, in one write.
#[derive(Debug)]
pub struct LineSink<'a>(&'a WriterState);

impl Write for LineSink<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// [`lost`] as a metric.
#[derive(Debug)]
pub(super) struct Lost;

impl EncodeMetric for Lost {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        encoder.encode_counter::<NoLabelSet, _, u64>(&lost(), None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A reader that takes lines only when the test does.
    struct SlowReader(SyncSender<Vec<u8>>);

    impl Write for SlowReader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            self.0.send(bytes.into()).map_err(gone)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (LogWriter, LastLines, Receiver<Vec<u8>>) {
        let (sender, receiver) = sync_channel(0);
        let (lines, last) = LogWriter::start(SlowReader(sender)).unwrap();
        (lines, last, receiver)
    }

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let (lines, _last, read) = start();
        let expected: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        for line in expected.split_inclusive('\n') {
            lines.make_writer().write_all(line.as_bytes()).unwrap();
        }
        let mut found = Vec::new();
        while found.len() < expected.len() {
            found.extend(read.recv_timeout(PATIENCE).unwrap());
        }
        assert_eq!(String::from_utf8(found).unwrap(), expected);
    }

    #[test]
    fn a_reader_that_is_stuck_costs_lines_and_not_time() {
        let (lines, last, _read) = start();
        let line = [b'x'; 1 << 16];
        let before = lost();
        // Twice the buffer's bound, and as much as the thread has taken out.
        for _ in 0..3 * MAX_WAITING / line.len() {
            lines.make_writer().write_all(&line).unwrap();
        }
        assert!(lost() - before >= (MAX_WAITING / line.len()) as u64);
        assert!(lines.0.state().waiting.len() <= MAX_WAITING);
        // Returns, although the test never reads.
        drop(last);
    }

    #[test]
    fn the_end_waits_for_what_waits() {
        let (lines, _last, read) = start();
        lines.make_writer().write_all(b"last words\n").unwrap();
        assert!(!lines.0.wait_until_written(Duration::ZERO));
        let reader = thread::spawn(move || read.recv_timeout(PATIENCE).unwrap());
        assert!(lines.0.wait_until_written(PATIENCE));
        assert_eq!(reader.join().unwrap(), b"last words\n");
    }
}
