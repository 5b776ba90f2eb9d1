//! Replays the kept inputs of every target, and edits of them.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../../../tests/fuzz/replay.rs"]
mod replay;

use embedding_gateway_fuzz as fuzz;

#[test]
fn every_kept_input_keeps_the_promises() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
    replay::replay(
        root,
        &[
            ("answer", fuzz::answer::check),
            ("codings", fuzz::codings::check),
            ("credentials", fuzz::credentials::check),
            ("directives", fuzz::directives::check),
            ("entry", fuzz::entry::check),
            ("request", fuzz::request::check),
            ("tags", fuzz::tags::check),
        ],
    );
}
