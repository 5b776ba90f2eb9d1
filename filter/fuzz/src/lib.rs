//! What the filter's pure parsers promise, whatever bytes they get: each module has a `check` that
//! panics where a promise is broken.
//!
//! `tests/replay.rs` replays the kept inputs with every `cargo test`; `scripts/fuzz.sh` looks for
//! new ones, led by coverage.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken promise is told by panicking"
)]

pub mod configuration;
pub mod policy;
