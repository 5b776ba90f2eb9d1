//! The line of calls that wait for one credential and model, and what they wait for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Turn;
use super::bucket::Bucket;
use super::turns::Turns;
use crate::config::RateLimits;

/// The pace of one credential and model.
#[derive(Debug)]
pub(super) struct Pace(Mutex<PaceState>);

#[derive(Debug)]
pub(super) struct PaceState {
    pub(super) requests: Option<Bucket>,
    pub(super) tokens: Option<Bucket>,
    /// The upstream refuses everything until then.
    shut_until: Instant,
    /// Of calls that wait for their answers.
    pub(super) under_way: Cost,
    turns: Turns<Arc<Waiting>>,
}

/// What a call takes of the limits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) requests: f64,
    pub(super) tokens: f64,
}

/// A call that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting {
    cost: Cost,
    may_go: AtomicBool,
    woken: Notify,
}

/// A call in line, until it goes or is given up.
struct InLine<'a> {
    pace: &'a Pace,
    waiting: Arc<Waiting>,
    has_gone: bool,
}

impl Pace {
    pub(super) fn new(limits: &RateLimits) -> Self {
        let now = Instant::now();
        let bucket = |a_minute: Option<usize>| a_minute.map(|limit| Bucket::new(limit, now));
        Self(Mutex::new(PaceState {
            requests: bucket(limits.requests),
            tokens: bucket(limits.tokens),
            shut_until: now,
            under_way: Cost::default(),
            turns: Turns::new(),
        }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, PaceState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn expected(&self, turn: &Turn<'_>, cost: Cost) -> Duration {
        self.state().expected(turn.is_single, cost, Instant::now())
    }

    /// Waits for the call's turn; an error says when it would have been.
    pub(super) async fn wait(&self, turn: &Turn<'_>, cost: Cost) -> Result<(), Duration> {
        let Some(mut line) = self.enter(turn, cost)? else {
            return Ok(());
        };
        loop {
            let now = Instant::now();
            let next = self.state().let_go(now, Some(&line.waiting));
            if line.waiting.may_go() {
                line.has_gone = true;
                return Ok(());
            }
            if now >= turn.deadline {
                return Err(self.state().expected(turn.is_single, cost, now));
            }
            let until = next.map_or(turn.deadline, |at| at.min(turn.deadline));
            tokio::select! {
                () = line.waiting.woken.notified() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Goes at once, or enters the line.
    fn enter(&self, turn: &Turn<'_>, cost: Cost) -> Result<Option<InLine<'_>>, Duration> {
        let now = Instant::now();
        let mut state = self.state();
        let expected = state.expected(turn.is_single, cost, now);
        if expected.is_zero() && state.turns.is_empty() {
            state.take(cost, now);
            return Ok(None);
        }
        if now + expected > turn.deadline {
            return Err(expected);
        }
        let waiting = Arc::new(Waiting {
            cost,
            may_go: AtomicBool::new(false),
            woken: Notify::new(),
        });
        let call = Arc::clone(&waiting);
        state.turns.push(turn.caller, turn.is_single, call);
        Ok(Some(InLine {
            pace: self,
            waiting,
            has_gone: false,
        }))
    }
}

impl PaceState {
    /// Lets all calls go that may. Only the call whose turn is next watches the clock: returns when
    /// it may go if that is `own`, and wakes it if it is another.
    pub(super) fn let_go(&mut self, now: Instant, own: Option<&Waiting>) -> Option<Instant> {
        while let Some(next) = self.turns.front() {
            let next = Arc::clone(next);
            let wait = self.wait_behind(Cost::default(), next.cost, now);
            if !wait.is_zero() {
                let is_own = own.is_some_and(|own| *own == *next);
                if !is_own {
                    next.woken.notify_one();
                }
                return is_own.then(|| now + wait);
            }
            self.turns.pop();
            self.take(next.cost, now);
            next.may_go.store(true, Ordering::Release);
            next.woken.notify_one();
        }
        None
    }

    /// Refuses everything until then, as the upstream does.
    pub(super) fn shut(&mut self, until: Instant) {
        self.shut_until = self.shut_until.max(until);
    }

    /// When a new call would have its turn.
    fn expected(&self, is_single: bool, cost: Cost, now: Instant) -> Duration {
        let ahead = self
            .turns
            .before(is_single)
            .fold(Cost::default(), |sum, call| Cost {
                requests: sum.requests + call.cost.requests,
                tokens: sum.tokens + call.cost.tokens,
            });
        self.wait_behind(ahead, cost, now)
    }

    fn wait_behind(&self, ahead: Cost, cost: Cost, now: Instant) -> Duration {
        let wait = |bucket: Option<&Bucket>, ahead, cost| {
            bucket.map_or(Duration::ZERO, |bucket| {
                bucket.wait_behind(ahead, cost, now)
            })
        };
        let shut = self.shut_until.saturating_duration_since(now);
        shut.max(wait(self.requests.as_ref(), ahead.requests, cost.requests))
            .max(wait(self.tokens.as_ref(), ahead.tokens, cost.tokens))
    }

    fn take(&mut self, cost: Cost, now: Instant) {
        if let Some(bucket) = &mut self.requests {
            bucket.take(cost.requests, now);
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.take(cost.tokens, now);
        }
        self.under_way.requests += cost.requests;
        self.under_way.tokens += cost.tokens;
    }

    /// Ends a call: it is under way no more.
    pub(super) fn end(&mut self, cost: Cost) {
        self.under_way.requests -= cost.requests;
        self.under_way.tokens -= cost.tokens;
    }

    /// Ends a call that took nothing.
    fn give_back(&mut self, cost: Cost) {
        self.end(cost);
        let now = Instant::now();
        if let Some(bucket) = &mut self.requests {
            bucket.take(-cost.requests, now);
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.take(-cost.tokens, now);
        }
    }
}

impl Cost {
    pub(super) fn of(turn: &Turn<'_>) -> Self {
        Self {
            requests: 1.0,
            tokens: turn.tokens as f64,
        }
    }
}

impl Waiting {
    fn may_go(&self) -> bool {
        self.may_go.load(Ordering::Acquire)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// A call that is given up leaves its place, or what it took, to the next.
impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if self.has_gone {
            return;
        }
        let mut state = self.pace.state();
        match self.waiting.may_go() {
            true => state.give_back(self.waiting.cost),
            false => state.turns.remove(&self.waiting),
        }
        state.let_go(Instant::now(), None);
    }
}
