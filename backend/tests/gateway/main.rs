//! The whole service in process: the real router, a hand-written upstream behind it.
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

mod acceptance;
mod azure;
mod batching;
mod bodies;
mod bypass_failover;
mod caching;
mod call_limits;
mod coalescing;
mod comparison;
mod connections;
mod cors;
mod credentials;
mod crowd;
mod derived;
mod derived_doubts;
mod derived_together;
mod derived_upstreams;
mod documents;
mod encodings;
mod failover;
mod families;
mod fields;
mod forwarded;
mod half_close;
mod large_answers;
mod limits;
mod memory;
mod metrics;
mod pace;
mod page;
mod passthrough;
mod protocol;
mod proxy;
mod purge;
mod recordings;
mod rounds;
mod second_lock;
mod settings;
mod sharing;
mod slow_bodies;
mod slow_readers;
mod sockets;
mod store;
mod support;
mod tool;
mod traces;
mod trust;
mod upstream_answers;
mod upstream_connections;
mod upstreams_file;
mod varnish;
