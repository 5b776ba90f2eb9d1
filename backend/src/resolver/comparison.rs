//! Compares the vectors that the upstreams of a model give: with each other, and with the first
//! ones that any of them gave, which are pinned.
//!
//! An upstream whose vectors are others serves the model no more. If the first one's own vectors
//! change, the model behind the name has drifted: that is alarmed, and a new generation of the cache
//! begins if the operator wants it.

mod judge;
mod round;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::round::Comparison;
pub use self::round::{generation, pins};
use super::Resolver;
use crate::config::ComparisonRule;
use crate::upstream::{Group, Upstreams};

/// Pause between two looks at which comparison is due.
const TICK: Duration = Duration::from_millis(500);

/// Until a comparison is tried again that an upstream, or the store, did not answer to. What other
/// gateways have pinned is looked at as often.
const RETRY: Duration = Duration::from_secs(60);

/// What is known of one model's comparisons.
struct Schedule {
    group: Arc<Group>,
    compare_at: Instant,
    follow_at: Instant,
}

impl Resolver {
    /// Compares whenever it is due, for as long as it is polled.
    pub async fn watch_vectors(
        &self,
        upstreams: &Upstreams,
        namespace: &Arc<str>,
        rule: ComparisonRule,
    ) -> Infallible {
        let mut known: HashMap<Arc<str>, Schedule> = HashMap::new();
        loop {
            for (model, group) in upstreams.shared() {
                let comparison = Comparison::new(self, namespace, &model, &group);
                let now = Instant::now();
                let soon = now + RETRY.min(rule.interval);
                let same = known.remove(&model);
                let same = same.filter(|known| Arc::ptr_eq(&known.group, &group));
                let (mut compare_at, mut follow_at) =
                    same.map_or((now, soon), |known| (known.compare_at, known.follow_at));
                if compare_at <= now {
                    let is_complete = comparison.compare(rule).await;
                    compare_at = if is_complete {
                        now + rule.interval
                    } else {
                        soon
                    };
                } else if follow_at <= now {
                    comparison.follow().await;
                    follow_at = soon;
                }
                let group = Arc::clone(&group);
                known.insert(
                    model,
                    Schedule {
                        group,
                        compare_at,
                        follow_at,
                    },
                );
            }
            sleep(TICK.min(rule.interval)).await;
        }
    }

    /// Enters the generations of the cache that are pinned, before any vector is looked up.
    pub async fn follow_generations(&self, upstreams: &Upstreams, namespace: &Arc<str>) {
        for (model, group) in upstreams.shared() {
            Comparison::new(self, namespace, &model, &group)
                .follow()
                .await;
        }
    }
}
