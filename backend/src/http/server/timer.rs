//! A connection's timer, which reuses its sleep.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time;

/// A timer that resets one sleep instead of making new ones.
///
/// hyper asks for a sleep whenever it waits for a request, and drops it as soon as the request's
/// head is there. Making and dropping a sleep each take the lock of the runtime's timers. This one
/// is put aside instead, and reset for the next request.
#[derive(Debug, Default)]
pub(super) struct ReusedTimer {
    aside: Aside,
}

type Aside = Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>;

/// A sleep that hyper's drop puts aside.
struct Reused {
    sleep: Option<Pin<Box<time::Sleep>>>,
    aside: Aside,
}

impl Timer for ReusedTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let deadline = deadline.into();
        let aside = take(&self.aside).map(|mut sleep| {
            sleep.as_mut().reset(deadline);
            sleep
        });
        let sleep = aside.unwrap_or_else(|| Box::pin(time::sleep_until(deadline)));
        Box::pin(Reused {
            sleep: Some(sleep),
            aside: Arc::clone(&self.aside),
        })
    }

    fn now(&self) -> Instant {
        time::Instant::now().into()
    }
}

impl Sleep for Reused {}

impl Future for Reused {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(context),
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Reused {
    fn drop(&mut self) {
        let mut aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        *aside = self.sleep.take();
    }
}

fn take(aside: &Aside) -> Option<Pin<Box<time::Sleep>>> {
    aside.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_sleep_lasts_as_long_as_it_says() {
        let timer = ReusedTimer::default();
        for seconds in [5, 1, 3] {
            let began = time::Instant::now();
            timer.sleep(seconds * SECOND).await;
            assert_eq!(began.elapsed().as_secs(), u64::from(seconds));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_that_was_put_aside_does_not_end_the_next_one() {
        let timer = ReusedTimer::default();
        drop(timer.sleep(SECOND));
        time::advance(10 * SECOND).await;
        let began = time::Instant::now();
        timer.sleep(2 * SECOND).await;
        assert_eq!(began.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn sleeps_at_the_same_time_do_not_share() {
        let timer = ReusedTimer::default();
        let began = time::Instant::now();
        let (short, long) = (timer.sleep(SECOND), timer.sleep(4 * SECOND));
        short.await;
        assert_eq!(began.elapsed().as_secs(), 1);
        long.await;
        assert_eq!(began.elapsed().as_secs(), 4);
    }
}
