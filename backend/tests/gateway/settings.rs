//! Settings at their ends: refused by name, or a gateway that serves.

use embedding_gateway::broadcaster;
use embedding_gateway::config::{Config, Problem, VARIABLES};
use http::StatusCode;
use serde_json::json;

use crate::support::Setup;
use crate::support::upstream::Upstream;

/// The least and the most of every kind of value: numbers, sizes and times.
const ENDS: [&str; 16] = [
    "0",
    "1",
    "1000000",
    "2305843009213693951",
    "2305843009213693952",
    "18446744073709551615",
    "18446744073709551616",
    "1KiB",
    "1024GiB",
    "17179869183GiB",
    "0ms",
    "1ms",
    "100ms",
    "36500d",
    "213503982334d",
    "18446744073709551615ms",
];

/// Times that the upstream has, and would need more of.
const OF_UPSTREAM: [&str; 3] = [
    "UPSTREAM_CONNECT_TIMEOUT",
    "UPSTREAM_TIMEOUT",
    "UPSTREAM_IDLE_TIMEOUT",
];

fn named(problems: &[Problem], name: &str) -> bool {
    problems.iter().all(|problem| problem.variable == name)
}

#[tokio::test]
async fn every_setting_of_the_gateway_is_refused_by_name_or_serves() {
    let upstream = Upstream::start().await;
    for name in VARIABLES.iter().map(|variable| variable.name) {
        for value in ENDS {
            let setup = Setup::new().with("STORE", "memory:");
            let variables = [(name.to_owned(), value.to_owned())];
            match Config::from_variables(variables) {
                Err(problems) => assert!(named(&problems, name), "{name}={value}: {problems:?}"),
                // Files, servers and addresses that are not there.
                Ok(_) if !is_of_size(name) => {}
                Ok(_) => {
                    let gateway = setup.with(name, value).before(&upstream).await;
                    let text = if name == "MAX_INPUT_BYTES" {
                        "a"
                    } else {
                        value
                    };
                    let answer = gateway.embed(json!({"model": "m", "input": [text]})).await;
                    let served = answer.status == StatusCode::OK || OF_UPSTREAM.contains(&name);
                    let too_long = answer.status == StatusCode::PAYLOAD_TOO_LARGE;
                    assert!(served || too_long, "{name}={value}: {answer:?}");
                }
            }
        }
    }
}

/// Variables whose default is a number, a size or a time, or that are one.
fn is_of_size(name: &str) -> bool {
    let variable = VARIABLES.iter().find(|variable| variable.name == name);
    let begins = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    let default = variable.map_or("", |variable| variable.default);
    matches!(name, "ENTRY_MAX_AGE" | "REQUEST_MEMORY_BYTES")
        || begins(default) && !matches!(name, "LISTEN")
}

#[test]
fn every_setting_of_the_broadcaster_is_refused_by_name_or_taken() {
    let given = [
        ("VARNISH_SERVICE", "varnish:6081"),
        ("BACKEND_SERVICE", "backend:8080"),
        ("ALLOW_ANONYMOUS_PURGE", "true"),
    ];
    for name in broadcaster::config::VARIABLES
        .iter()
        .map(|variable| variable.name)
    {
        for value in ENDS {
            let others = given.into_iter().filter(|(other, _)| *other != name);
            let variables = others.chain([(name, value)]);
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            match broadcaster::config::BroadcasterConfig::from_variables(variables) {
                Ok(config) => drop(broadcaster::Broadcaster::new(config).unwrap()),
                // The grace must be longer than other times, and a token is a choice.
                Err(problems) => assert!(
                    [name, "SHUTDOWN_GRACE", "ALLOW_ANONYMOUS_PURGE"]
                        .iter()
                        .any(|name| named(&problems, name)),
                    "{name}={value}: {problems:?}"
                ),
            }
        }
    }
}

#[test]
fn what_would_serve_no_request_is_refused_by_name() {
    for (name, value) in [
        ("MAX_CONCURRENT_REQUESTS", "2305843009213693952"),
        ("STORE_QUEUE", "18446744073709551615"),
        ("HEADER_TIMEOUT", "0s"),
        ("HEADER_TIMEOUT", "1ms"),
        ("BODY_TIMEOUT", "0s"),
        ("UPSTREAM_TIMEOUT", "0s"),
        ("BATCH_WINDOW", "1001ms"),
        ("UPSTREAM_IDLE_TIMEOUT", "0s"),
        ("CREDENTIAL_TTL", "0s"),
        ("MAX_CONNECTIONS", "0"),
        ("MAX_BODY_BYTES", "1"),
        ("MAX_INPUT_BYTES", "1"),
        ("REQUEST_MEMORY_BYTES", "1"),
        ("SHUTDOWN_GRACE", "18446744073709551615ms"),
    ] {
        let variables = [(name.to_owned(), value.to_owned())];
        let problems = Config::from_variables(variables).unwrap_err();
        assert!(
            problems.len() == 1 && named(&problems, name),
            "{problems:?}"
        );
    }
}
