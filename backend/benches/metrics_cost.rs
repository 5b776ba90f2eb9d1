//! Measures the cost of the counters for a hit in memory, in nanoseconds. They cannot be turned
//! off, so this counts what the handlers count for one request, and does nothing else.

use std::hint::black_box;
use std::time::{Duration, Instant};

use embedding_gateway::telemetry::{HashVerdict, Metrics, Outcome, Route};

const REQUESTS: u32 = 2_000_000;

fn main() {
    let metrics = Metrics::new();
    let began = Instant::now();
    for number in 0..REQUESTS {
        count_hit(&metrics, Duration::from_nanos(u64::from(black_box(number))));
    }
    println!(
        "{:.1}",
        began.elapsed().as_nanos() as f64 / f64::from(REQUESTS)
    );
}

fn count_hit(metrics: &Metrics, duration: Duration) {
    // A duration takes two readings of the clock.
    let clock = Instant::now().elapsed();
    metrics.body_hashes.add(HashVerdict::Match, 1);
    for outcome in [
        Outcome::Memory,
        Outcome::Store,
        Outcome::Collapsed,
        Outcome::Miss,
        Outcome::Repeat,
    ] {
        metrics.inputs.add(outcome, 1);
    }
    metrics
        .models
        .count_answer(black_box("text-embedding-3-small"), 20, 0);
    metrics.count_request(Route::Embeddings, 200, duration + clock);
    metrics.added_latency.observe(duration);
}
