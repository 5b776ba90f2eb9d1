//! What a failed call means, and what is noted of it: no call that may be charged twice is silent.

use std::time::Duration;

use http::StatusCode;

use crate::http::error::Error;
use crate::telemetry::labels::Label as _;
use crate::telemetry::{Failover, Metrics};
use crate::upstream::{Chosen, Member};

/// Why another upstream may do better after this error, if it may.
pub fn reason(error: &Error) -> Option<Failover> {
    match error {
        Error::RateLimited { .. } => Some(Failover::RateLimited),
        Error::Unreachable => Some(Failover::Unreachable),
        Error::UpstreamTimeout => Some(Failover::Timeout),
        Error::UpstreamBroken => Some(Failover::Broken),
        // The keys of several upstreams are the gateway's own.
        Error::GatewayKeyRefused => Some(Failover::KeyRefused),
        Error::Refused(refusal) if refusal.is_of_credential() => Some(Failover::KeyRefused),
        Error::Refused(refusal) => reason_of_status(refusal.status),
        _ => None,
    }
}

/// Why another upstream may do better after an answer with this status, if it may.
pub fn reason_of_status(status: StatusCode) -> Option<Failover> {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Some(Failover::RateLimited),
        status if status.is_server_error() => Some(Failover::ServerError),
        _ => None,
    }
}

/// Notes an answer, of whatever kind.
pub fn note_answer(chosen: &Chosen<'_>) {
    if chosen.note_answer() {
        let upstream = chosen.member.upstream.name();
        tracing::info!(%upstream, "the upstream answers again");
    }
}

/// Notes a failure, which ejects the upstream if it is one too many. One whose rate is used up is as
/// well as before.
pub fn note_failure(metrics: &Metrics, chosen: &Chosen<'_>, reason: Failover) {
    if reason == Failover::RateLimited {
        return;
    }
    if let Some(pause) = chosen.note_failure() {
        let upstream = chosen.member.upstream.name();
        metrics.comparisons.count_ejection(upstream);
        let pause_ms = millis(pause);
        tracing::error!(%upstream, pause_ms, "the upstream fails again and again: calls go elsewhere");
    }
}

/// Notes that a call goes from one upstream to another.
pub fn note_failover(metrics: &Metrics, model: &str, from: &Member, reason: Failover) {
    metrics.failovers.add(reason, 1);
    tracing::warn!(
        model,
        upstream = %from.upstream.name(),
        reason = reason.value(),
        may_be_charged = reason.may_be_charged(),
        "the call goes to another upstream"
    );
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
