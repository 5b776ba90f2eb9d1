//! The broadcaster in process: the real router and resolver, in front of a name server, a backend
//! and Varnishes that do what a test tells them.
#![allow(
    unreachable_pub,
    missing_docs,
    reason = "a test binary exports nothing"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod broadcaster;
#[path = "../gateway/support/clock.rs"]
mod clock;
mod names;
mod order;
mod peer;
mod process;
mod refusals;
mod trouble;
mod zone;
