//! Whether an upstream serves: it is ejected after failures that follow each other, and let in
//! again by one call that it answers. One that says nothing while calls wait for it gets no more of
//! them before these have failed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many failures, without an answer in between, eject an upstream.
const FAILURES: u32 = 3;

/// It is probed after this time, and after twice as long with each probe that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// So many calls that wait tell silence from one slow call.
const WAITING: usize = 3;

/// Silence lasts for this part of the time after which a call goes elsewhere.
const SILENCE: u32 = 4;

/// The calls of one model to one upstream, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Health {
    state: Mutex<HealthState>,
    in_flight: AtomicUsize,
}

#[derive(Clone, Copy, Debug, Default)]
struct HealthState {
    /// That followed each other.
    failures: u32,
    /// When it may be probed, if it is ejected.
    out_until: Option<Instant>,
    /// How often it was ejected since it served.
    ejections: u32,
    is_probed: bool,
    /// Since when it has said nothing: its last answer, or the first call after an idle time.
    silent_since: Option<Instant>,
    /// The longest that any of the calls since that idle time waits before it goes elsewhere.
    failover_after: Duration,
}

/// What may be asked of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Everything.
    Up,
    /// Nothing as long as another one answers: calls wait for it in vain.
    Silent,
    /// One call, as a probe.
    Due,
    /// Nothing until then, unless there is no other.
    Out(Instant),
}

/// A call under way, until it is dropped.
#[derive(Debug)]
pub(super) struct PendingCall<'a> {
    health: &'a Health,
    is_probe: bool,
}

impl Health {
    pub(super) fn standing(&self, now: Instant) -> Standing {
        let state = self.state();
        match state.out_until {
            None if self.is_silent(&state, now) => Standing::Silent,
            None => Standing::Up,
            Some(until) if until <= now && !state.is_probed => Standing::Due,
            Some(until) => Standing::Out(until),
        }
    }

    fn is_silent(&self, state: &HealthState, now: Instant) -> bool {
        let lasts = |since: Instant| now.duration_since(since) > state.failover_after / SILENCE;
        self.in_flight() >= WAITING && state.silent_since.is_some_and(lasts)
    }

    /// Whether it has not failed since its last answer, whatever waits for it now.
    pub(super) fn serves(&self) -> bool {
        let state = self.state();
        state.out_until.is_none() && state.failures == 0
    }

    /// Begins a call, which is a probe if one is due. It goes elsewhere after `failover_after`.
    pub(super) fn enter(&self, now: Instant, failover_after: Duration) -> PendingCall<'_> {
        let mut state = self.state();
        let is_due = state.out_until.is_some_and(|until| until <= now);
        let is_probe = is_due && !state.is_probed;
        state.is_probed |= is_probe;
        if self.in_flight.fetch_add(1, Ordering::Relaxed) == 0 {
            (state.silent_since, state.failover_after) = (Some(now), failover_after);
        }
        state.failover_after = state.failover_after.max(failover_after);
        PendingCall {
            health: self,
            is_probe,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Notes an answer. Returns whether it lets the upstream in again.
    pub(super) fn note_answer(&self, now: Instant) -> bool {
        let mut state = self.state();
        let was_out = state.out_until.is_some();
        *state = HealthState {
            is_probed: state.is_probed,
            silent_since: Some(now),
            failover_after: state.failover_after,
            ..HealthState::default()
        };
        was_out
    }

    /// Notes a failure. Returns for how long it ejects the upstream, if it does.
    pub(super) fn note_failure(&self, now: Instant) -> Option<Duration> {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let is_out = state.out_until.is_some_and(|until| now < until);
        if is_out || state.failures < FAILURES {
            return None;
        }
        let longer = 1_u32.checked_shl(state.ejections).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(longer).min(LONGEST_PAUSE);
        state.ejections = state.ejections.saturating_add(1);
        state.out_until = Some(now + pause);
        Some(pause)
    }

    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        self.health.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.is_probe {
            self.health.state().is_probed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASTE: Duration = Duration::from_secs(10);

    fn fail(health: &Health, times: u32, now: Instant) -> Option<Duration> {
        let ejected = (0..times).map(|_| health.note_failure(now));
        ejected.last().flatten()
    }

    #[test]
    fn failures_that_follow_each_other_eject() {
        let (health, now) = (Health::default(), Instant::now());
        assert_eq!(fail(&health, FAILURES - 1, now), None);
        assert!(!health.note_answer(now));
        assert_eq!(fail(&health, FAILURES - 1, now), None);
        assert_eq!(health.standing(now), Standing::Up);
        assert_eq!(fail(&health, 1, now), Some(FIRST_PAUSE));
        assert_eq!(health.standing(now), Standing::Out(now + FIRST_PAUSE));
        // Calls that were under way change nothing.
        assert_eq!(fail(&health, 9, now), None);
    }

    #[test]
    fn one_call_at_a_time_probes_and_an_answer_lets_in() {
        let (health, now) = (Health::default(), Instant::now());
        fail(&health, FAILURES, now);
        let due = now + FIRST_PAUSE;
        assert_eq!(health.standing(due), Standing::Due);
        let probe = health.enter(due, HASTE);
        assert_eq!(health.standing(due), Standing::Out(due));
        assert_eq!(fail(&health, 1, due), Some(2 * FIRST_PAUSE));
        drop(probe);
        assert_eq!(health.standing(due), Standing::Out(due + 2 * FIRST_PAUSE));
        let probe = health.enter(due + 2 * FIRST_PAUSE, HASTE);
        assert!(health.note_answer(due));
        drop(probe);
        assert_eq!(health.standing(due), Standing::Up);
        assert_eq!(health.in_flight(), 0);
    }

    #[test]
    fn calls_that_wait_for_nothing_are_silence() {
        let (health, now) = (Health::default(), Instant::now());
        let _calls: Vec<_> = (1..WAITING).map(|_| health.enter(now, HASTE)).collect();
        let later = now + HASTE;
        assert_eq!(health.standing(later), Standing::Up);
        // A longer call may take longer, whichever wait beside it.
        let _long = health.enter(now, 2 * HASTE);
        assert_eq!(health.standing(now + HASTE / SILENCE * 2), Standing::Up);
        assert_eq!(health.standing(later), Standing::Silent);
        assert!(health.serves());
        health.note_answer(later);
        assert_eq!(health.standing(later), Standing::Up);
        assert_eq!(health.standing(later + HASTE), Standing::Silent);
    }

    #[test]
    fn an_idle_time_is_no_silence() {
        let (health, now) = (Health::default(), Instant::now());
        drop(health.enter(now, HASTE));
        let later = now + 9 * HASTE;
        let _calls: Vec<_> = (0..WAITING).map(|_| health.enter(later, HASTE)).collect();
        assert_eq!(health.standing(later), Standing::Up);
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let (health, mut now) = (Health::default(), Instant::now());
        fail(&health, FAILURES, now);
        let mut longest = None;
        for _ in 0..20 {
            now += LONGEST_PAUSE;
            longest = fail(&health, 1, now);
        }
        assert_eq!(longest, Some(LONGEST_PAUSE));
    }
}
