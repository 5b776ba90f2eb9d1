//! One request from its head to the last byte of its answer: counted when it ends, however it
//! ends.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::{Metrics, Route};

/// What nginx logs for a client that went away before it got an answer.
const CLIENT_GONE: u16 = 499;

/// A request that is being answered. Its end is its drop.
#[derive(Debug)]
pub struct Exchange {
    metrics: Arc<Metrics>,
    route: Route,
    began: Instant,
    status: Option<StatusCode>,
    facts: Option<Facts>,
}

/// What an answer with vectors tells about itself: a member of its extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// How long the request waited for the upstream.
    pub waited: Duration,
}

impl Exchange {
    /// A request has begun.
    pub fn begin(metrics: &Arc<Metrics>, route: Route) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            route,
            began: Instant::now(),
            status: None,
            facts: None,
        }
    }

    /// Its answer has begun.
    pub fn answer(&mut self, status: StatusCode, facts: Option<Facts>) {
        self.status = Some(status);
        self.facts = facts;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let duration = self.began.elapsed();
        let status = self.status.map_or(CLIENT_GONE, |status| status.as_u16());
        self.metrics.count_request(self.route, status, duration);
        if let Some(facts) = &self.facts {
            let added = duration.saturating_sub(facts.waited);
            self.metrics.added_latency.observe(added);
        }
    }
}
