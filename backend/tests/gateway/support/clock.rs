//! tokio's clock, stopped: time passes where a test lets it, however slow the machine is.

use std::sync::mpsc;
use std::time::Duration;

use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{advance, pause, resume};

/// Before time goes on, each task has its turn so often, and other threads have this long.
const TURNS: usize = 10;
const PAUSE: Duration = Duration::from_millis(1);

/// Stops the clock of the test's runtime until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct StoppedClock {
    step: Duration,
    _runs: mpsc::Sender<()>,
}

impl StoppedClock {
    /// A clock that goes on by a second at a time.
    pub fn stop() -> Self {
        Self::by(Duration::from_secs(1))
    }

    /// A clock that goes on by so much at a time.
    pub fn by(step: Duration) -> Self {
        pause();
        let (runs, ends) = mpsc::channel();
        // While a blocking task runs, tokio does not move the clock of an idle runtime by itself.
        spawn_blocking(move || ends.recv());
        Self { step, _runs: runs }
    }

    /// Lets time pass, step by step, until the future ends.
    pub async fn passes_until<T>(&self, ends: impl Future<Output = T>) -> T {
        let passes = async {
            loop {
                turn().await;
                advance(self.step).await;
            }
        };
        tokio::select! {
            biased;
            value = ends => value,
            () = passes => unreachable!("time passes for ever"),
        }
    }
}

impl Drop for StoppedClock {
    fn drop(&mut self) {
        resume();
    }
}

/// A moment that is none on tokio's clock.
pub async fn turn() {
    for _ in 0..TURNS {
        yield_now().await;
    }
    spawn_blocking(|| std::thread::sleep(PAUSE)).await.unwrap();
}
