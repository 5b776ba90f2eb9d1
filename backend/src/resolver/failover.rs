//! Calls that another upstream takes over: where the same vectors are to be had elsewhere, no
//! client learns that one upstream is down, slow or used up.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, timeout};

use super::Resolver;
use super::paced::{Asked, Replied};
use crate::http::error::Error;
use crate::telemetry::Failover;
use crate::telemetry::labels::Label as _;
use crate::upstream::{Chosen, Member};

/// What one upstream answered, if it was asked.
type Reply<'a> = Result<Replied<'a>, Error>;

/// The upstreams that were asked for one call.
#[derive(Default)]
struct Tried<'a> {
    members: Vec<&'a Member>,
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
    pub(super) async fn ask_group<'a>(&self, asked: &Asked<'a, '_>) -> Reply<'a> {
        let group = &asked.lookup.group;
        if group.is_single() {
            let member = group.first();
            return self.ask(asked, member, member.upstream.rate_wait()).await;
        }
        group.begin_call();
        let mut tried = Tried::default();
        let mut last = Err(Error::Unreachable);
        while let Some(chosen) = group.choose(&tried.members) {
            tried.members.push(chosen.member);
            let has_other = group.has_other(&tried.members);
            let began = Instant::now();
            last = self.try_one(asked, &chosen, has_other).await;
            let Some(reason) = failover(&last) else {
                note_answer(&chosen);
                break;
            };
            let end = end(&last).map(|result| (result, began.elapsed()));
            self.note_failure(&chosen, &last, reason, &mut tried);
            let may_repeat = reason == Failover::RateLimited || group.may_repeat();
            if !has_other || !may_repeat {
                break;
            }
            tried.ends.extend(end);
            self.go_on(asked, chosen.member, reason, &mut tried);
        }
        self.wait_for_room(asked, &mut tried, last).await
    }

    /// Asks one that keeps the call waiting no longer than another could take it.
    async fn try_one<'a>(
        &self,
        asked: &Asked<'a, '_>,
        chosen: &Chosen<'a>,
        has_other: bool,
    ) -> Reply<'a> {
        let asking = self.ask(asked, chosen.member, Duration::ZERO);
        if !has_other {
            return asking.await;
        }
        let haste = chosen.member.upstream.haste(asked.call.inputs.len());
        let answered = timeout(haste, asking).await;
        answered.unwrap_or(Err(Error::UpstreamTimeout))
    }

    fn note_failure<'a>(
        &self,
        chosen: &Chosen<'a>,
        reply: &Reply<'a>,
        reason: Failover,
        tried: &mut Tried<'a>,
    ) {
        let member = chosen.member;
        if reason == Failover::RateLimited {
            // It is as well as before.
            tried
                .full
                .extend(tells_when(member, reply).then_some(member));
            return;
        }
        if let Some(pause) = chosen.note_failure() {
            let upstream = member.upstream.name();
            self.metrics.comparisons.count_ejection(upstream);
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::error!(%upstream, pause_ms, "the upstream fails again and again: calls go elsewhere");
        }
    }

    fn go_on<'a>(
        &self,
        asked: &Asked<'a, '_>,
        member: &Member,
        reason: Failover,
        tried: &mut Tried<'a>,
    ) {
        tried.charged += u32::from(reason.may_be_charged());
        self.metrics.failovers.add(reason, 1);
        tracing::warn!(
            model = &*asked.lookup.request.model,
            upstream = %member.upstream.name(),
            reason = reason.value(),
            may_be_charged = reason.may_be_charged(),
            "the call goes to another upstream"
        );
    }

    /// Where none has room now, the call waits for the one that has room first.
    async fn wait_for_room<'a>(
        &self,
        asked: &Asked<'a, '_>,
        tried: &mut Tried<'a>,
        last: Reply<'a>,
    ) -> Reply<'a> {
        for (result, took) in std::mem::take(&mut tried.ends) {
            self.metrics.count_upstream(result, took);
        }
        let full = tried.full.iter().copied();
        let soonest = full.min_by_key(|member| asked.expected(member));
        let mut replied = match (failover(&last), soonest) {
            (Some(reason), Some(member)) => {
                tried.charged += u32::from(reason.may_be_charged());
                self.ask(asked, member, member.upstream.rate_wait()).await?
            }
            _ => last?,
        };
        replied.repeated = tried.charged;
        Ok(replied)
    }
}

/// How a call ended that was made.
fn end(reply: &Reply<'_>) -> Option<Cow<'static, str>> {
    let error = match reply {
        Ok(replied) => replied.answer.as_ref().err()?,
        Err(error) => error,
    };
    match error {
        Error::RateLimited { .. } => None,
        Error::Refused(refusal) => Some(Cow::Owned(refusal.status.as_str().to_owned())),
        error => Some(Cow::Borrowed(error.code())),
    }
}

fn note_answer(chosen: &Chosen<'_>) {
    if chosen.note_answer() {
        let upstream = chosen.member.upstream.name();
        tracing::info!(%upstream, "the upstream answers again");
    }
}

/// Why another upstream may do better, if it may.
fn failover(reply: &Reply<'_>) -> Option<Failover> {
    let error = match reply {
        Ok(replied) => replied.answer.as_ref().err()?,
        Err(error) => error,
    };
    match error {
        Error::RateLimited { .. } => Some(Failover::RateLimited),
        Error::Unreachable => Some(Failover::Unreachable),
        Error::UpstreamTimeout => Some(Failover::Timeout),
        Error::UpstreamBroken => Some(Failover::Broken),
        Error::Refused(refusal) if refusal.status == StatusCode::TOO_MANY_REQUESTS => {
            Some(Failover::RateLimited)
        }
        Error::Refused(refusal) if refusal.status.is_server_error() => Some(Failover::ServerError),
        // The keys of several upstreams are the gateway's own.
        Error::Refused(refusal) if refusal.is_of_credential() => Some(Failover::KeyRefused),
        _ => None,
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
