//! Calls that another upstream takes over: where the same vectors are to be had elsewhere, no
//! client learns that one upstream is down, slow or used up.

mod notes;

use std::borrow::Cow;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

pub use self::notes::{note_answer, note_failover, note_failure, reason, reason_of_status};
use super::Resolver;
use super::paced::{Asked, Replied};
use crate::http::error::Error;
use crate::telemetry::Failover;
use crate::upstream::{Chosen, Member};

/// What one upstream answered, if it was asked.
type Reply<'a> = Result<Replied<'a>, Error>;

/// The upstreams that were asked for one call.
#[derive(Default)]
pub(super) struct UpstreamsTried<'a> {
    /// In order.
    pub(super) members: Vec<&'a Member>,
    /// Those that have no room for the call until a time that is known.
    full: Vec<&'a Member>,
    /// Calls that failed and may have been charged.
    charged: u32,
    /// How they ended, and what they took.
    ends: Vec<(Cow<'static, str>, Duration)>,
}

impl Resolver {
    /// Asks the upstream of the group that is free, and another one as long as a failure is the
    /// upstream's own and there is one.
    pub(super) async fn ask_group<'a>(
        &self,
        asked: &Asked<'a, '_>,
        tried: &mut UpstreamsTried<'a>,
    ) -> Reply<'a> {
        let group = &asked.lookup.group;
        if group.is_single() {
            let member = group.first();
            tried.members.push(member);
            return self.ask(asked, member, member.upstream.rate_wait()).await;
        }
        group.begin_call();
        let inputs = asked.call.inputs.len();
        let mut last = Err(Error::Unreachable);
        while let Some(chosen) = group.choose(&tried.members, inputs) {
            tried.members.push(chosen.member);
            let began = Instant::now();
            last = self.try_one(asked, &chosen, &tried.members).await;
            let Some(why) = error(&last).and_then(reason) else {
                note_answer(&chosen);
                break;
            };
            tried.note(chosen.member, &last, why, began);
            note_failure(&self.metrics, &chosen, why);
            if !group.has_other(&tried.members) || !group.may_repeat(&chosen, &tried.members, why) {
                break;
            }
            tried.charged += u32::from(why.may_be_charged());
            note_failover(
                &self.metrics,
                &asked.lookup.request.model,
                chosen.member,
                why,
            );
        }
        self.wait_for_room(asked, tried, last).await
    }

    /// Asks one, and gives it up when it keeps the call waiting while another one could take it.
    async fn try_one<'a>(
        &self,
        asked: &Asked<'a, '_>,
        chosen: &Chosen<'a>,
        tried: &[&Member],
    ) -> Reply<'a> {
        let mut asking = pin!(self.ask(asked, chosen.member, Duration::ZERO));
        let failover_after = chosen
            .member
            .upstream
            .failover_after(asked.call.inputs.len());
        loop {
            match timeout(failover_after, &mut asking).await {
                Ok(answered) => return answered,
                Err(_) if asked.lookup.group.has_better(tried) => {
                    return Err(Error::UpstreamTimeout);
                }
                Err(_) => {}
            }
        }
    }

    /// Where none has room now, the call waits for the one that has room first.
    async fn wait_for_room<'a>(
        &self,
        asked: &Asked<'a, '_>,
        tried: &mut UpstreamsTried<'a>,
        last: Reply<'a>,
    ) -> Reply<'a> {
        let why = error(&last).and_then(reason);
        let full = tried.full.iter().copied();
        let soonest = full.min_by_key(|member| asked.expected(member));
        if why.is_some() && soonest.is_none() && last.is_ok() {
            // It is counted when it is checked.
            tried.ends.truncate(tried.ends.len().saturating_sub(1));
        }
        for (result, took) in std::mem::take(&mut tried.ends) {
            self.metrics.count_upstream(result, took);
        }
        let mut replied = match (why, soonest) {
            (Some(why), Some(member)) => {
                tried.charged += u32::from(why.may_be_charged());
                tried.members.push(member);
                self.ask(asked, member, member.upstream.rate_wait()).await?
            }
            _ => last?,
        };
        replied.repeated = tried.charged;
        Ok(replied)
    }
}

impl<'a> UpstreamsTried<'a> {
    /// Notes how a call failed.
    fn note(&mut self, member: &'a Member, reply: &Reply<'a>, why: Failover, began: Instant) {
        let end = end(reply).map(|result| (result, began.elapsed()));
        self.ends.extend(end);
        if why == Failover::RateLimited && tells_when(member, reply) {
            self.full.push(member);
        }
    }
}

fn error<'a>(reply: &'a Reply<'_>) -> Option<&'a Error> {
    match reply {
        Ok(replied) => replied.answer.as_ref().err(),
        Err(error) => Some(error),
    }
}

/// How a call ended that was made.
fn end(reply: &Reply<'_>) -> Option<Cow<'static, str>> {
    match error(reply)? {
        Error::RateLimited { .. } => None,
        Error::Refused(refusal) => Some(Cow::Owned(refusal.status.as_str().to_owned())),
        error => Some(Cow::Borrowed(error.code())),
    }
}

/// Whether it is known when the upstream has room.
fn tells_when(member: &Member, reply: &Reply<'_>) -> bool {
    match reply.as_ref().map(|replied| &replied.answer) {
        Ok(Err(Error::Refused(refusal))) => member.upstream.tells_when(refusal),
        Ok(_) => false,
        Err(_) => true,
    }
}
