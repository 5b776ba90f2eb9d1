use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};

use object_store::path::Path;

use super::*;
use crate::telemetry::{Gauges, Metrics};

const CONNECTIONS: usize = 100;

/// An empty store where each look-up takes `wait`.
fn store(wait: Duration) -> (Store, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let throttled = ThrottleConfig {
        wait_get_per_call: wait,
        ..ThrottleConfig::default()
    };
    let objects = ThrottledStore::new(InMemory::new(), throttled);
    let timeout = Duration::from_millis(500);
    let store = Store::on(
        Box::new(objects),
        Path::default(),
        timeout,
        CONNECTIONS,
        Arc::clone(&metrics),
    );
    (store, metrics)
}

fn keys(count: u32) -> Vec<Key> {
    let key = |n: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        bytes.into()
    };
    (0..count).map(key).collect()
}

#[tokio::test(start_paused = true)]
async fn a_large_batch_does_not_trip_the_deadline_of_a_healthy_store() {
    let (store, metrics) = store(Duration::from_millis(100));
    let began = Instant::now();
    store.get_all(keys(2048)).await;
    assert!(began.elapsed() > 2 * store.timeout, "{:?}", began.elapsed());
    assert_eq!(count(&metrics, "absent"), 2048);
    assert_eq!(count(&metrics, "timeout"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_is_waited_for_no_longer_than_one_look_up_may_take() {
    let (store, metrics) = store(Duration::from_secs(10));
    let began = Instant::now();
    store.get_all(keys(60)).await;
    let late = began.elapsed().saturating_sub(store.timeout);
    assert!(late <= Duration::from_millis(1), "{:?}", began.elapsed());
    assert_eq!(count(&metrics, "timeout"), 60);
}

#[tokio::test(start_paused = true)]
async fn look_ups_of_all_requests_together_are_bounded_and_waiting_costs_their_time() {
    let (store, metrics) = store(Duration::from_millis(400));
    let began = Instant::now();
    let requests = (0..1024).map(|_| store.get_all(keys(1)));
    let all = futures_util::future::join_all(requests);
    let most = async {
        let mut most = 0;
        loop {
            most = most.max(CONNECTIONS - store.connections.available_permits());
            if began.elapsed() > Duration::from_millis(450) {
                return most;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (_, most) = tokio::join!(all, most);
    assert_eq!(most, CONNECTIONS);
    let budget = store.timeout + DEADLINE_PER_INPUT;
    let late = began.elapsed().saturating_sub(budget);
    assert!(late <= Duration::from_millis(2), "{:?}", began.elapsed());
    // The first hundred had their time; the second began too late to end.
    assert_eq!(count(&metrics, "absent"), CONNECTIONS as u64);
    assert_eq!(count(&metrics, "skipped"), 1024 - CONNECTIONS as u64);
    assert_eq!(count(&metrics, "timeout"), 0);
    assert_eq!(store.reads_state(), crate::telemetry::BreakerState::Closed);
}

/// How many look-ups ended like that.
fn count(metrics: &Metrics, result: &str) -> u64 {
    let labels = format!("_store_operations_total{{operation=\"get\",result=\"{result}\"}} ");
    let page = metrics.render(&Gauges::default());
    let value = page
        .lines()
        .find_map(|line| line.split_once(&labels)?.1.parse().ok());
    value.unwrap_or(0)
}
