//! Requests that the gateway does not understand, where several upstreams give the same vectors: they
//! go where the others go, and no caller's credential goes along.

use http::StatusCode;
use serde_json::json;

use crate::failover::{asked, both, failovers, nowhere, refuses, start};
use crate::support::Setup;
use crate::support::gateway::{Answer, Gateway};
use crate::support::upstream::Upstream;

const BYPASS: &str = "embedding-gateway; fwd=bypass";

/// A request with a field that the gateway does not know.
async fn embed(gateway: &Gateway, input: &str) -> Answer {
    gateway
        .embed(json!({"model": "m", "input": input, "odd": 1}))
        .await
}

#[tokio::test]
async fn a_failure_of_one_upstream_is_no_clients_and_said_where_it_may_have_been_charged() {
    for (reason, status, says) in [
        ("server_error", 503, true),
        ("key_refused", 401, false),
        ("rate_limited", 429, false),
    ] {
        let (a, b) = (Upstream::start().await, Upstream::start().await);
        a.answers(refuses(status, &[("retry-after", "9")]));
        let gateway = start(Setup::new(), &both(&a.url, &b.url, "")).await;
        let answer = embed(&gateway, "own 1").await;
        assert_eq!(answer.status, StatusCode::OK, "{reason}");
        assert_eq!((asked(&a), asked(&b)), (1, 1), "{reason}");
        assert_eq!(failovers(&gateway, reason), 1);
        let told = match says {
            true => format!("{BYPASS}; detail=\"repeated=1\""),
            false => BYPASS.to_owned(),
        };
        assert_eq!(answer.header("cache-status"), told, "{reason}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_asked_no_more() {
    let b = Upstream::start().await;
    let gateway = start(Setup::new(), &both(&nowhere().await, &b.url, "")).await;
    for number in 0..6 {
        let answer = embed(&gateway, &format!("own {number}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("cache-status"), BYPASS);
    }
    assert_eq!(failovers(&gateway, "unreachable"), 3);
    // Neither are calls that the gateway understands made there.
    let understood = json!({"model": "m", "input": "own 6"});
    assert_eq!(gateway.embed(understood).await.status, StatusCode::OK);
    assert_eq!(failovers(&gateway, "unreachable"), 3);
}

#[tokio::test]
async fn a_refusal_of_the_request_and_the_last_failure_are_the_clients() {
    for (first, second, shown) in [(422, 200, 422), (500, 503, 503), (429, 429, 429)] {
        let (a, b) = (Upstream::start().await, Upstream::start().await);
        a.answers(refuses(first, &[]));
        b.answers(refuses(second, &[]));
        let gateway = start(Setup::new(), &both(&a.url, &b.url, "")).await;
        let answer = embed(&gateway, "own 1").await;
        assert_eq!(answer.status.as_u16(), shown);
        assert_eq!((asked(&a), asked(&b)), (1, usize::from(first != 422)));
    }
}

#[tokio::test]
async fn each_upstream_gets_its_own_name_for_the_model_and_no_callers_credential() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    a.answers(refuses(500, &[]));
    let more = "models = { m = 'deployed' }\nheaders = { x-team = 't' }";
    let gateway = start(Setup::new(), &both(&a.url, &b.url, more)).await;
    let answer = embed(&gateway, "own 1").await;
    assert_eq!(answer.status, StatusCode::OK);
    for upstream in [&a, &b] {
        let call = upstream.calls().pop().unwrap();
        assert_eq!(call.json()["model"], "deployed");
        assert_eq!(call.headers["x-team"], "t");
        for header in ["authorization", "api-key", "x-api-key", "cookie"] {
            assert!(!call.headers.contains_key(header), "{header}");
        }
    }
}
