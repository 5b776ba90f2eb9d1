use std::sync::Mutex;

use http::header::AUTHORIZATION;
use tokio::task::JoinSet;

use super::*;
use crate::http::credentials::Credential;

const WORKERS: usize = 8;

fn caller(name: &'static str) -> CredentialId {
    let name = http::HeaderValue::from_static(name);
    Credential::take(&mut HeaderMap::from_iter([(AUTHORIZATION, name)]), &[]).id
}

/// Waits for one turn of a call that takes no time.
async fn have_turn(paces: &Paces, name: &'static str, is_single: bool) {
    let turn = Turn {
        payer: caller("gateway"),
        caller: caller(name),
        model: &"m".into(),
        is_single,
        tokens: 1,
        deadline: Instant::now() + paces.limits.wait,
    };
    paces.turn(&turn).await.unwrap();
}

/// One caller's bulk takes every turn that it can, for as long as another's single inputs come.
#[tokio::test(start_paused = true)]
async fn a_bulk_job_without_end_starves_no_single_input_and_goes_on() {
    let limits = RateLimits {
        requests: Some(600),
        tokens: None,
        wait: Duration::from_secs(10),
    };
    let paces = Arc::new(Paces::new(limits));
    for _ in 0..600 {
        have_turn(&paces, "bulk", false).await;
    }
    let had = Arc::new(Mutex::new(0_usize));
    let mut bulk = JoinSet::new();
    for _ in 0..WORKERS {
        let (paces, had) = (Arc::clone(&paces), Arc::clone(&had));
        bulk.spawn(async move {
            loop {
                have_turn(&paces, "bulk", false).await;
                *had.lock().unwrap() += 1;
            }
        });
    }
    let turns_of_bulk = || *had.lock().unwrap();
    while turns_of_bulk() < WORKERS {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..30 {
        let before = turns_of_bulk();
        have_turn(&paces, "single", true).await;
        // The one that was next, and the one that goes along with eight single inputs.
        let passed = turns_of_bulk() - before;
        assert!(passed <= 2, "{passed} turns passed a single input");
    }
    assert!(turns_of_bulk() > WORKERS + 30 / 8 - 1);
}
