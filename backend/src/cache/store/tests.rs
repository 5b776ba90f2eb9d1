use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::check::PATIENCE;
use super::*;
use crate::cache::Freshness;
use crate::cache::clock::ToldTime;
use crate::config::StorePlace;
use crate::embeddings::clock::unix_ms;
use crate::embeddings::vector::Vector;

const NOW: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;

fn asked_for_at(created_ms: u64) -> Entry {
    Entry {
        model: "m".into(),
        tokens: 1,
        created_ms,
        vector: Vector::new(vec![1; 16]),
    }
}

fn store(clock: Option<&Arc<Clock>>) -> Store {
    let (objects, metrics) = (Box::new(InMemory::new()), Arc::new(Metrics::new()));
    let (prefix, patience) = (Path::default(), Duration::from_secs(1));
    Store {
        clock: clock.map(Arc::clone),
        ..Store::on(objects, prefix, patience, 1, metrics)
    }
}

async fn put(store: &Store, key: [u8; 32], entry: &Entry, keeps: Option<Freshness>) {
    let hurry = CancellationToken::new();
    store.put(&key.into(), entry, keeps, &hurry).await;
}

async fn get(store: &Store, key: [u8; 32]) -> Option<Entry> {
    let found = store.get_all(vec![key.into()]).await;
    found.into_iter().next().and_then(LookedUp::entry)
}

#[tokio::test(start_paused = true)]
async fn what_a_clock_that_was_ahead_has_dated_is_not_written() {
    let clock = Arc::new(Clock::starting_at(NOW + HOUR));
    let store = store(Some(&clock));
    let early = asked_for_at(clock.now_ms());
    let moment = Instant::now();
    clock.hear(ToldTime {
        sent: moment,
        received: moment,
        time_ms: NOW,
        precision: Duration::from_secs(1),
    });
    let late = asked_for_at(clock.now_ms());
    put(&store, [1; 32], &early, None).await;
    put(&store, [2; 32], &late, None).await;
    assert!(get(&store, [1; 32]).await.is_none());
    assert!(get(&store, [2; 32]).await.is_some());
    assert_eq!(store.metrics.writes_dropped.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_tells_no_time_is_asked_for_it_once() {
    let seconds = Duration::from_secs;
    // One that answers is not asked again with the next write; one that does not answer is.
    for (wait, asked) in [(seconds(1), seconds(1)), (seconds(60), 3 * PATIENCE)] {
        let clock = Arc::new(Clock::starting_at(NOW));
        let throttle = ThrottleConfig {
            wait_get_per_call: wait,
            ..ThrottleConfig::default()
        };
        let store = Store {
            objects: Box::new(ThrottledStore::new(InMemory::new(), throttle)),
            ..store(Some(&clock))
        };
        let began = Instant::now();
        for n in 1..=3 {
            put(&store, [n; 32], &asked_for_at(NOW), None).await;
        }
        assert_eq!(began.elapsed().as_secs(), asked.as_secs());
        assert!(!clock.is_compared());
        assert_eq!(store.metrics.writes_dropped.get(), 0);
    }
}

#[tokio::test]
async fn what_a_failed_look_up_may_have_missed_stays_unless_it_is_stale() {
    let now = unix_ms();
    let keeps = Some(Freshness {
        created_after_ms: now - HOUR,
        created_until_ms: now + HOUR,
    });
    let (older, newer) = (asked_for_at(now - 5000), asked_for_at(now));
    let stale = asked_for_at(now - 2 * HOUR);
    let mut of_another_model = older.clone();
    of_another_model.model = "n".into();
    let mut longer = older.clone();
    longer.vector = Vector::new(vec![1; 20]);
    for (case, there, keeps, stays) in [
        ("older", Some(&older), keeps, true),
        ("known to be absent", Some(&older), None, false),
        ("nothing there", None, keeps, false),
        ("purged or too old", Some(&stale), keeps, false),
        ("of another model", Some(&of_another_model), keeps, false),
        ("of another length", Some(&longer), keeps, false),
    ] {
        let store = store(None);
        store.check().await;
        if let Some(there) = there {
            put(&store, [1; 32], there, None).await;
        }
        put(&store, [1; 32], &newer, keeps).await;
        let expected = if stays { &older } else { &newer };
        assert_eq!(
            get(&store, [1; 32]).await.as_ref(),
            Some(expected),
            "{case}"
        );
    }
}

#[tokio::test]
async fn an_unusable_object_is_replaced_whatever_the_look_up_told() {
    let now = unix_ms();
    let keeps = Freshness {
        created_after_ms: 0,
        created_until_ms: now + HOUR,
    };
    let store = store(None);
    store.check().await;
    let path = store.path(&[1; 32].into());
    store.objects.put(&path, "no entry".into()).await.unwrap();
    let entry = asked_for_at(now);
    put(&store, [1; 32], &entry, Some(keeps)).await;
    assert_eq!(get(&store, [1; 32]).await, Some(entry));
}

#[tokio::test]
async fn an_archive_creates_only_where_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(&StorePlace::Directory(folder.path().into()), false).unwrap();
    let (key, first) = ([7; 32].into(), asked_for_at(NOW));
    assert_eq!(archive.create(&key, &first).await, Ok(true));
    let other = Entry {
        vector: Vector::new(vec![2; 16]),
        ..asked_for_at(NOW)
    };
    assert_eq!(archive.create(&key, &other).await, Ok(false));
    let StoredObject::Entry(there) = archive.entry(&key).await.unwrap() else {
        panic!("no entry is there");
    };
    assert!(there.vector == first.vector);
}
