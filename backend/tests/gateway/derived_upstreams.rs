//! `DERIVE_DIMENSIONS` where several upstreams give the same vectors: what one does not answer,
//! another does, and the vectors are as right.

use http::StatusCode;
use serde_json::json;

use crate::derived::{are_right, listing, question, shortens};
use crate::failover::{asked, both, refuses, start};
use crate::support::Setup;
use crate::support::gateway::Answer;
use crate::support::upstream::Upstream;

fn is_derived(answer: &Answer) -> bool {
    answer.header("cache-status").contains("derived")
}

#[tokio::test]
async fn derived_answers_are_right_through_a_failing_upstream() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    shortens(&a);
    shortens(&b);
    let gateway = start(listing(Setup::new()), &both(&a.url, &b.url, "")).await;
    // From the self-test on.
    a.answers(refuses(503, &[]));
    for (input, dimensions) in [("own 1", 4), ("own 1", 2), ("own 2", 4)] {
        let before = asked(&b);
        let answer = gateway.embed(question(&json!(input), dimensions)).await;
        assert_eq!(answer.status, StatusCode::OK);
        are_right(&answer, &[json!(input)], dimensions);
        assert!(is_derived(&answer), "{}", answer.header("cache-status"));
        // A full vector that is there costs nothing.
        assert_eq!(asked(&b) == before, dimensions == 2);
    }
}
