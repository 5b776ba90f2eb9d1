use std::sync::Arc;

use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;

const WINDOW: Duration = Duration::from_millis(5);
const LIMIT: usize = 8;

/// What arrives: after a pause in milliseconds, with a key and so many inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Arrival {
    at: u64,
    key: u8,
    inputs: usize,
}

type Shared = Arc<Batches<u8, (Arrival, Instant)>>;

fn size(inputs: usize) -> Size {
    (0..inputs).map(|_| Size::LEAST).sum()
}

fn fits(size: Size) -> bool {
    size.inputs() <= LIMIT
}

/// Arrives, and returns the whole batch if it leads one.
async fn arrive(batches: Shared, arrival: Arrival) -> Option<Vec<(Arrival, Instant)>> {
    sleep(Duration::from_millis(arrival.at)).await;
    let own = (arrival, Instant::now());
    let lead = batches.enter(&arrival.key, size(arrival.inputs), fits, || own)?;
    let mut members = lead.members().await;
    members.push(own);
    Some(members)
}

fn batches_of(arrivals: &[Arrival]) -> (Vec<Vec<(Arrival, Instant)>>, Shared) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let batches = Shared::new(Batches::new(WINDOW));
        let mut running = JoinSet::new();
        for &arrival in arrivals {
            running.spawn(arrive(Arc::clone(&batches), arrival));
        }
        let ended = running.join_all().await;
        (ended.into_iter().flatten().collect(), batches)
    })
}

fn arrival() -> impl Strategy<Value = Arrival> {
    (0..30_u64, 0..3_u8, 1..=LIMIT).prop_map(|(at, key, inputs)| Arrival { at, key, inputs })
}

proptest! {
    #[test]
    fn each_arrival_is_in_one_batch_that_is_within_the_limits_and_of_one_key(
        arrivals in proptest::collection::vec(arrival(), 1..60)
    ) {
        let (batches, left) = batches_of(&arrivals);
        prop_assert!(left.open().is_empty());
        prop_assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), arrivals.len());
        for arrival in &arrivals {
            let of = |all: &[Arrival]| all.iter().filter(|other| *other == arrival).count();
            let batched: Vec<_> = batches.iter().flatten().map(|(arrival, _)| *arrival).collect();
            prop_assert_eq!(of(&arrivals), of(&batched));
        }
        for batch in &batches {
            let inputs: usize = batch.iter().map(|(arrival, _)| arrival.inputs).sum();
            prop_assert!(inputs <= LIMIT);
            prop_assert!(batch.iter().all(|(arrival, _)| arrival.key == batch[0].0.key));
            let times = || batch.iter().map(|(_, at)| *at);
            let first_to_last = times().max().unwrap() - times().min().unwrap();
            prop_assert!(first_to_last <= WINDOW);
        }
    }
}

fn at_once(inputs: &[usize]) -> Vec<Arrival> {
    let arrival = |&inputs: &usize| Arrival {
        at: 0,
        key: 0,
        inputs,
    };
    inputs.iter().map(arrival).collect()
}

#[test]
fn what_arrives_in_the_window_is_one_batch() {
    assert_eq!(batches_of(&at_once(&[1; 8])).0.len(), 1);
    assert_eq!(batches_of(&at_once(&[3, 5])).0.len(), 1);
    assert_eq!(batches_of(&at_once(&[3, 6, 2])).0.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_waits_for_nothing() {
    let batches = Shared::new(Batches::new(WINDOW));
    let began = Instant::now();
    let member = |_: usize| (at_once(&[4])[0], began);
    let lead = batches.enter(&0, size(4), fits, || member(0)).unwrap();
    assert!(batches.enter(&0, size(4), fits, || member(1)).is_none());
    assert_eq!(lead.members().await.len(), 1);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_lead_that_is_dropped_ends_its_members_and_no_other_batch() {
    let batches: Batches<u8, oneshot::Sender<()>> = Batches::new(WINDOW);
    let (member, outcome) = oneshot::channel();
    let unused = || oneshot::channel().0;
    let lead = batches.enter(&0, size(1), fits, unused).unwrap();
    assert!(batches.enter(&0, size(1), fits, || member).is_none());
    drop(lead);
    assert!(outcome.await.is_err());
    let next = batches.enter(&0, size(1), fits, unused).unwrap();
    assert!(next.members().await.is_empty());
}
