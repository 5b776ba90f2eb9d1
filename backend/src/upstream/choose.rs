//! Which upstream of a group is asked next: of those that serve the ones of the first priority,
//! and of two of them, drawn by weight, the one with less to do (power of two choices). One that is
//! silent comes after all that are not.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::group::{Group, Member};
use super::health::{PendingCall, Standing};
use crate::telemetry::Failover;

/// An upstream that is asked, until the call has ended.
#[derive(Debug)]
pub struct Chosen<'a> {
    /// It.
    pub member: &'a Member,
    _in_flight: PendingCall<'a>,
}

impl Chosen<'_> {
    /// Notes an answer. Returns whether it lets the upstream in again.
    pub fn note_answer(&self) -> bool {
        self.member.health.note_answer(Instant::now())
    }

    /// Notes a failure. Returns for how long it ejects the upstream, if it does.
    pub fn note_failure(&self) -> Option<Duration> {
        self.member.health.note_failure(Instant::now())
    }
}

impl Group {
    /// The upstream to ask for so many inputs, which is none of `tried`. If all are ejected at the
    /// first try, it is the one that is to be probed first.
    pub fn choose(&self, tried: &[&Member], inputs: usize) -> Option<Chosen<'_>> {
        let now = Instant::now();
        let standings = self.standings(tried, now);
        let up = standings
            .iter()
            .filter(|(_, standing)| !matches!(standing, Standing::Out(_)));
        let rank = |(member, standing): &(&Member, Standing)| {
            (*standing == Standing::Silent, member.upstream.priority())
        };
        let first = up.clone().map(rank).min();
        let up = up.filter(|one| Some(rank(one)) == first);
        // What is due is probed at once, or it would never be back.
        let due = up.clone().find(|(_, standing)| *standing == Standing::Due);
        let pool: Vec<_> = up.map(|(member, _)| *member).collect();
        let member = match (due, pool.is_empty()) {
            (Some((member, _)), _) => Some(*member),
            (None, false) => less_busy(&pool),
            (None, true) if tried.is_empty() => soonest(&standings),
            (None, true) => None,
        };
        member.map(|member| Chosen {
            member,
            _in_flight: member
                .health
                .enter(now, member.upstream.failover_after(inputs)),
        })
    }

    /// Whether another one than `tried` may be asked.
    pub fn has_other(&self, tried: &[&Member]) -> bool {
        let standings = self.standings(tried, Instant::now());
        let mut others = standings.iter().map(|(_, standing)| standing);
        others.any(|standing| !matches!(standing, Standing::Out(_)))
    }

    /// Whether another one than `tried` is known to answer: for one that is silent, or to be probed,
    /// no call is given up.
    pub fn has_better(&self, tried: &[&Member]) -> bool {
        let standings = self.standings(tried, Instant::now());
        let mut others = standings.iter().map(|(_, standing)| standing);
        others.any(|standing| *standing == Standing::Up)
    }

    /// Whether one more call may go to another upstream than `tried` after a failure of `failed`:
    /// while all fail, repeats must not double the load. What was refused for its rate alone was no
    /// load, and the calls that an ejected upstream leaves behind are no more than the others would
    /// have had: they cost nothing while one of these serves.
    pub fn may_repeat(&self, failed: &Chosen<'_>, tried: &[&Member], reason: Failover) -> bool {
        let now = Instant::now();
        let standing = failed.member.health.standing(now);
        let is_out = matches!(standing, Standing::Out(_));
        let mut others = self.standings(tried, now).into_iter();
        reason == Failover::RateLimited
            || is_out && others.any(|(member, _)| member.health.serves())
            || self.withdraw_repeat()
    }

    fn standings(&self, tried: &[&Member], now: Instant) -> Vec<(&Member, Standing)> {
        let is_new = |member: &Member| !tried.iter().any(|tried| std::ptr::eq(*tried, member));
        let others = self.members();
        let others = others.filter(|member| is_new(member) && self.trusts(member));
        others
            .map(|member| (member, member.health.standing(now)))
            .collect()
    }
}

fn soonest<'a>(standings: &[(&'a Member, Standing)]) -> Option<&'a Member> {
    let soonest = standings.iter().min_by_key(|(_, standing)| match standing {
        Standing::Out(until) => Some(*until),
        Standing::Up | Standing::Silent | Standing::Due => None,
    });
    soonest.map(|(member, _)| *member)
}

/// Of two that are drawn, the one with fewer calls under way for its weight.
fn less_busy<'a>(pool: &[&'a Member]) -> Option<&'a Member> {
    let one = drawn(pool)?;
    let others = pool
        .iter()
        .copied()
        .filter(|other| !std::ptr::eq(*other, one));
    let Some(other) = drawn(&others.collect::<Vec<_>>()) else {
        return Some(one);
    };
    let load = |member: &Member, of: &Member| {
        // Crosswise, so that nothing is divided.
        member.health.in_flight() as u64 * u64::from(of.upstream.weight())
    };
    Some(match load(other, one) < load(one, other) {
        true => other,
        false => one,
    })
}

/// One at random, by weight.
fn drawn<'a>(pool: &[&'a Member]) -> Option<&'a Member> {
    let weights = pool
        .iter()
        .map(|member| u64::from(member.upstream.weight()));
    let total: u64 = weights.sum();
    let mut at = RandomState::new().hash_one(pool.len()) % total.max(1);
    let drawn = pool.iter().find(|member| {
        let weight = u64::from(member.upstream.weight());
        let is_it = at < weight;
        at = at.saturating_sub(weight);
        is_it
    });
    drawn.copied()
}
