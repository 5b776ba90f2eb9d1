//! The module at work for the fake Envoy.

use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use super::*;
use crate::envoy::envoy_dynamic_module_on_http_filter_scheduled as scheduled;

/// The SHA-256 of "whole body".
const HASH: &str = "c68ca0f687cfdb086e181927ed0b48d5ff757692af31132ed3d3602e541c5bbf";
const PATIENCE: Duration = Duration::from_secs(20);
const CONTINUE: u32 = 0;
const HOLD: u32 = 1;

#[test]
fn a_body_in_many_slices_is_hashed() {
    let config = configure("{}");
    let (request, status) = Request::begin(config, 1000);
    assert_eq!(status, HOLD);
    assert_eq!(Request::body(request, &["wh", "", "o"], false), HOLD);
    assert_eq!(Request::body(request, &[], false), HOLD);
    let letters: Vec<&str> = "le body".split("").collect();
    assert_eq!(Request::body(request, &letters, true), CONTINUE);
    let left = Request::finish(request);
    assert_eq!(left.value(0), Some(HASH));
    assert_eq!(left.counts(), [(11, "")]);
    destroy(config);
}

#[test]
fn trailers_end_a_body_and_lose_what_the_client_forged() {
    let config = configure("{}");
    let (request, _) = Request::begin(config, 0);
    assert_eq!(Request::body(request, &["whole body"], false), HOLD);
    assert_eq!(Request::trailers(request), CONTINUE);
    let left = Request::finish(request);
    assert_eq!((left.value(0), left.value(1)), (Some(HASH), None));
    destroy(config);
}

#[test]
fn what_goes_over_the_cap_has_room_and_no_hash() {
    for (json, limit, room) in [
        (r#"{"maxBodyBytes":4}"#, 2, 9),
        (r#"{"raiseBufferLimit":false}"#, 4, 9),
        (r#"{"maxBodyBytes":4}"#, 0, 0),
        (r#"{"maxBodyBytes":4}"#, 50, 50),
    ] {
        let config = configure(json);
        let (request, _) = Request::begin(config, limit);
        assert_eq!(Request::body(request, &["1234"], false), HOLD);
        assert_eq!(Request::body(request, &["5", "6789"], false), CONTINUE);
        assert_eq!(Request::body(request, &["more"], true), CONTINUE);
        let left = Request::finish(request);
        assert_eq!((left.value(0), left.limit), (None, room), "{json}");
        assert_eq!(left.counts(), [(12, "too_large")]);
        destroy(config);
    }
}

/// A filter behind that buffers less would otherwise wait for ever.
#[test]
fn what_goes_over_the_cap_at_once_is_buffered_before_it_goes_on() {
    let config = configure(r#"{"maxBodyBytes":4}"#);
    for (next, room) in [(None, 9), (Some("more"), 13)] {
        let (request, _) = Request::begin(config, 2);
        assert_eq!(Request::body(request, &["123456789"], false), HOLD);
        match next {
            None => run_scheduled(request),
            Some(more) => assert_eq!(Request::body(request, &[more], false), CONTINUE),
        }
        let left = Request::finish(request);
        assert_eq!((left.went_on, left.limit), (next.is_none(), room));
        assert_eq!(
            (left.value(0), left.counts()),
            (None, vec![(12, "too_large")])
        );
    }
    destroy(config);
}

#[test]
fn trailers_end_what_went_over_the_cap_at_once() {
    let config = configure(r#"{"maxBodyBytes":4}"#);
    let (request, _) = Request::begin(config, 2);
    assert_eq!(Request::body(request, &["123456789"], false), HOLD);
    assert_eq!(Request::trailers(request), CONTINUE);
    assert_eq!(Request::finish(request).counts(), [(12, "too_large")]);
    destroy(config);
}

/// Envoy would pass them on with what the filter lets go, and once more when they reach it.
#[test]
fn what_has_trailers_goes_on_when_they_come() {
    for pieces in [&["123456789"][..], &["12", "3456789"], &["12"]] {
        let config = configure(r#"{"maxBodyBytes":4,"stallTimeout":20}"#);
        let (request, _) = Request::begin(config, 2);
        for (index, piece) in pieces.iter().enumerate() {
            if index + 1 == pieces.len() {
                Request::add_trailers(request);
            }
            assert_eq!(Request::body(request, &[piece], false), HOLD);
        }
        run_scheduled(request);
        assert_eq!(Request::body(request, &[""], false), HOLD);
        assert_eq!(Request::trailers(request), CONTINUE);
        let left = Request::finish(request);
        assert!(!left.went_on);
        assert_eq!(left.counts().len(), 1, "{pieces:?}");
        destroy(config);
    }
}

#[test]
fn a_client_that_hangs_up_leaves_nothing() {
    let config = configure("{}");
    let (request, _) = Request::begin(config, 0);
    assert_eq!(Request::body(request, &["half"], false), HOLD);
    let left = Request::finish(request);
    assert_eq!(
        (left.value(0), left.counts()),
        (None, vec![(12, "aborted")])
    );
    destroy(config);
}

#[test]
fn a_refused_configuration_is_null_and_may_be_destroyed() {
    let config = configure(r#"{"role":"tap"}"#);
    assert!(config.is_null());
    destroy(config);
}

#[test]
fn a_request_without_a_stream_is_refused() {
    let config = configure("{}");
    let (request, _) = Request::begin(config, 0);
    // SAFETY: as Envoy calls it.
    let status = unsafe { request_body(request.cast(), ptr::null(), true) };
    assert_eq!(status, 3);
    assert_eq!(Request::finish(request).value(0), None);
    destroy(config);
}

/// Waits for the watchdog, and acts as the worker thread does.
fn run_scheduled(request: *mut Request) {
    // SAFETY: the request is valid until `finish`.
    let wakes = unsafe { Arc::clone(&(*request).wakes) };
    let begin = Instant::now();
    while *wakes.lock().unwrap() == 0 {
        assert!(begin.elapsed() < PATIENCE);
        sleep(Duration::from_millis(1));
    }
    *wakes.lock().unwrap() = 0;
    // SAFETY: as Envoy calls it.
    unsafe {
        if !(*request).module.is_null() {
            scheduled(request.cast(), (*request).module, 0);
        }
    }
}

#[test]
fn a_stalled_request_goes_on_and_may_end_in_that_call() {
    let config = configure(r#"{"stallTimeout":20}"#);
    let (request, _) = Request::begin(config, 0);
    assert_eq!(Request::body(request, &["half"], false), HOLD);
    run_scheduled(request);
    let left = Request::finish(request);
    assert!(left.went_on);
    assert_eq!(
        (left.value(0), left.counts()),
        (None, vec![(12, "stalled")])
    );
    destroy(config);
}

#[test]
fn a_body_that_grows_between_the_wake_and_its_turn_is_still_hashed() {
    let config = configure(r#"{"stallTimeout":1000}"#);
    let (request, _) = Request::begin(config, 0);
    // SAFETY: the request is valid until `finish`.
    let wakes = unsafe { Arc::clone(&(*request).wakes) };
    while *wakes.lock().unwrap() == 0 {
        sleep(Duration::from_millis(1));
    }
    assert_eq!(Request::body(request, &["whole "], false), HOLD);
    run_scheduled(request);
    assert_eq!(Request::body(request, &["body"], true), CONTINUE);
    let left = Request::finish(request);
    assert_eq!((left.went_on, left.value(0)), (false, Some(HASH)));
    destroy(config);
}

#[test]
fn workers_that_share_a_configuration_do_not_disturb_each_other() {
    let config = configure(r#"{"stallTimeout":4}"#) as usize;
    let worker = move |seed: usize| {
        for turn in 0..200 {
            let (request, _) = Request::begin(config as *const c_void, 0);
            match (turn + seed) % 4 {
                0 => run_scheduled(request),
                1 => sleep(Duration::from_millis(2)),
                _ => assert_eq!(Request::body(request, &["whole body"], true), CONTINUE),
            }
            let left = Request::finish(request);
            assert_eq!(left.counts().len(), 1);
        }
    };
    let workers: Vec<_> = (0..4).map(|seed| spawn(move || worker(seed))).collect();
    for worker in workers {
        worker.join().unwrap();
    }
    destroy(config as *const c_void);
}
