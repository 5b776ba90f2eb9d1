//! Replays the kept inputs of every target, and edits of them.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../../../tests/fuzz/replay.rs"]
mod replay;

use body_hash_filter_fuzz as fuzz;

#[test]
fn every_kept_input_keeps_the_promises() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
    replay::replay(
        root,
        &[
            ("configuration", fuzz::configuration::check),
            ("policy", fuzz::policy::check),
        ],
    );
}
