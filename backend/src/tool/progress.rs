//! How far a command is: a bar on a terminal, else now and again a line. All of it goes to standard
//! error.

use std::fmt::Display;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::config::command_line::complain;
use crate::embeddings::key::Key;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// Keys are spread evenly, so that the first two bytes of one tell how much is behind it.
pub(super) const KEYS: u64 = 1 << 16;

/// A bar, or what stands in for it.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    total: u64,
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Progress {
    pub(super) fn new(what: &'static str, total: u64) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("{prefix} {wide_bar} {percent:>3} % {msg} {eta}");
            let bar = ProgressBar::new(total).with_prefix(what);
            match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self {
            what,
            total,
            bar,
            told: Instant::now(),
        }
    }

    /// Tells how much is done, and what there is to say of it.
    pub(super) fn show<D: Display>(&mut self, done: u64, say: impl FnOnce() -> D) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(say().to_string());
        } else if self.told.elapsed() >= PAUSE {
            self.told = Instant::now();
            let percent = done.saturating_mul(100) / self.total.max(1);
            complain(format_args!("{}: {percent} %, {}", self.what, say()));
        }
    }

    /// Does what writes to the terminal, too.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How many of [`KEYS`] are done when this one is.
pub(super) fn place(key: &Key) -> u64 {
    let [first, second, ..] = *key.as_bytes();
    u64::from(u16::from_be_bytes([first, second]))
}
