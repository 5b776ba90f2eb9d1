//! The pace of calls: no more requests and tokens a minute than the operator says, than answers
//! tell, and than refusals allow. Each credential has a pace of its own for each model.
//!
//! Calls wait in turns for as long as the operator allows. What cannot be served in that time is
//! refused at once, and told when it can.

mod bucket;
mod line;
mod rate_headers;
mod turns;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use self::bucket::Bucket;
use self::line::{Cost, Pace};
use super::client::Client;
use crate::config::RateLimits;
use crate::http::credentials::CredentialId;
use crate::http::error::{Error, UpstreamRefusal};

/// Bound on paces. One that is forgotten is learnt anew.
const MAX_PACES: usize = 4096;

/// After this time the upstream is asked again, whatever it said: a refusal is not charged, and a
/// quota may have been raised.
const LONGEST_SHUT: Duration = Duration::from_secs(60);

/// A call is asked again no sooner than this, and each time after twice as long, whatever the
/// upstream says: `Retry-After: 0` is no order to ask without a pause.
const SHORTEST_SHUT: Duration = Duration::from_millis(10);

/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The paces of all credentials and models.
#[derive(Debug)]
pub(super) struct Paces {
    limits: RateLimits,
    known: Cache<(CredentialId, Arc<str>), Arc<Pace>>,
}

/// Which call asks for its turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// Whose credential goes upstream.
    pub payer: CredentialId,
    /// Who waits: callers take turns.
    pub caller: CredentialId,
    /// The model.
    pub model: &'a Arc<str>,
    /// Whether it is for one input.
    pub is_single: bool,
    /// Its tokens, as far as can be told.
    pub tokens: usize,
    /// When it must have had its turn.
    pub deadline: Instant,
}

/// A call that has its turn, until it has ended.
#[derive(Debug)]
pub struct PacedCall {
    pace: Option<Arc<Pace>>,
    cost: Cost,
}

impl Client {
    /// How long a call may wait for its turn.
    pub fn rate_wait(&self) -> Duration {
        self.paces.limits.wait
    }

    /// When a call would have its turn, as it looks now.
    pub fn expected_wait(&self, turn: &Turn<'_>) -> Duration {
        let pace = self.paces.pace(turn);
        let wait = |pace: Arc<Pace>| pace.expected(turn, Cost::of(turn));
        pace.map_or(Duration::ZERO, wait)
    }

    /// Whether a refusal of a call's rate says when to ask again.
    pub fn tells_when(&self, refusal: &UpstreamRefusal) -> bool {
        self.paces.learns() && rate_headers::retry_after(refusal).is_some()
    }

    /// Waits until the call has its turn.
    pub async fn turn(&self, turn: &Turn<'_>) -> Result<PacedCall, Error> {
        self.paces.turn(turn).await
    }

    /// Notes what a good answer cost, and what it tells of the limits.
    pub fn end_turn(&self, turn: &Turn<'_>, headers: &HeaderMap, tokens: u64, going: PacedCall) {
        self.paces.answered(turn, headers, tokens, going);
    }

    /// Whether a call whose rate was refused, after so many refusals before, may be asked again: it
    /// was not charged, and there is time.
    pub fn may_ask_again(
        &self,
        turn: &Turn<'_>,
        refusal: &UpstreamRefusal,
        before: u32,
        going: PacedCall,
    ) -> bool {
        self.paces.refused(turn, refusal, before, going)
    }
}

impl Paces {
    pub(super) fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            known: Cache::new(MAX_PACES),
        }
    }

    async fn turn(&self, turn: &Turn<'_>) -> Result<PacedCall, Error> {
        let cost = Cost::of(turn);
        let pace = self.pace(turn);
        if let Some(pace) = &pace {
            let waited = pace.wait(turn, cost).await;
            waited.map_err(|retry_after| Error::RateLimited { retry_after })?;
        }
        Ok(PacedCall { pace, cost })
    }

    fn answered(&self, turn: &Turn<'_>, headers: &HeaderMap, tokens: u64, going: PacedCall) {
        let told = |of| {
            self.learns()
                .then(|| rate_headers::allowance(headers, of))
                .flatten()
        };
        let (told_requests, told_tokens) =
            (told(&rate_headers::REQUESTS), told(&rate_headers::TOKENS));
        let pace = match &going.pace {
            Some(pace) => Arc::clone(pace),
            None if told_requests.is_none() && told_tokens.is_none() => return,
            None => self.begin(turn),
        };
        let estimated = going.cost.tokens;
        drop(going);
        let now = Instant::now();
        let mut state = pace.state();
        let under_way = state.under_way;
        if let Some(told) = told_requests {
            state.requests = Some(Bucket::of(told, under_way.requests, now));
        }
        match (told_tokens, &mut state.tokens) {
            (Some(told), bucket) => *bucket = Some(Bucket::of(told, under_way.tokens, now)),
            (None, Some(bucket)) if tokens > 0 => bucket.take(tokens as f64 - estimated, now),
            _ => {}
        }
        state.let_go(now, None);
    }

    fn refused(
        &self,
        turn: &Turn<'_>,
        refusal: &UpstreamRefusal,
        before: u32,
        going: PacedCall,
    ) -> bool {
        let Some(after) = rate_headers::retry_after(refusal).filter(|_| self.learns()) else {
            return false;
        };
        let pace = match &going.pace {
            Some(pace) => Arc::clone(pace),
            None => self.begin(turn),
        };
        drop(going);
        let pause = SHORTEST_SHUT.saturating_mul(1_u32.checked_shl(before).unwrap_or(u32::MAX));
        let until = Instant::now() + after.max(pause.min(LONGEST_PAUSE));
        pace.state().shut(until.min(Instant::now() + LONGEST_SHUT));
        until <= turn.deadline
    }

    /// Where calls do not wait, the upstream itself says which are too many.
    fn learns(&self) -> bool {
        !self.limits.wait.is_zero()
    }

    fn pace(&self, turn: &Turn<'_>) -> Option<Arc<Pace>> {
        let known = self.known.get(&(turn.payer, Arc::clone(turn.model)));
        known.or_else(|| self.limits.are_set().then(|| self.begin(turn)))
    }

    fn begin(&self, turn: &Turn<'_>) -> Arc<Pace> {
        let key = (turn.payer, Arc::clone(turn.model));
        let new = || Ok::<_, Infallible>(Arc::new(Pace::new(&self.limits)));
        let Ok(pace) = self.known.get_or_insert_with(&key, new);
        pace
    }
}

impl Drop for PacedCall {
    fn drop(&mut self) {
        if let Some(pace) = &self.pace {
            pace.state().end(self.cost);
        }
    }
}

#[cfg(test)]
mod tests;
