//! Both programs' answers to a command line, and to an invalid environment.

use std::fs::File;
use std::process::Stdio;

use embedding_gateway::config::Variable;
use embedding_gateway::{broadcaster, config};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::{GATEWAY, PATIENCE, command, run};

const BROADCASTER: &str = env!("CARGO_BIN_EXE_endpoint-broadcaster");
const PROGRAMS: [(&str, &str, &[Variable]); 2] = [
    (GATEWAY, "embedding-gateway", config::VARIABLES),
    (
        BROADCASTER,
        "endpoint-broadcaster",
        broadcaster::config::VARIABLES,
    ),
];

async fn told(program: &str, argument: &str) -> String {
    let mut command = command(program, &[]);
    command.arg(argument);
    String::from_utf8(run(command).await.stdout).unwrap()
}

#[tokio::test]
async fn help_names_every_variable_with_its_default() {
    for (program, name, variables) in PROGRAMS {
        let help = told(program, "--help").await;
        for variable in variables {
            let line = format!("\n  {}={}\n", variable.name, variable.default);
            assert!(help.contains(&line), "{name}: {}", variable.name);
        }
    }
}

#[tokio::test]
async fn each_names_its_version() {
    for (program, name, _) in PROGRAMS {
        let version = format!("{name} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(told(program, "--version").await, version);
    }
}

#[tokio::test]
async fn an_unknown_argument_is_refused() {
    for (program, name, _) in PROGRAMS {
        let mut command = command(program, &[]);
        command.arg("--port=8000");
        assert_eq!(run(command).await.status.code(), Some(64), "{name}");
    }
}

/// The variables that the program refuses, in its order, and its whole standard error.
async fn problems(program: &str, variables: &[(&str, &str)]) -> (Vec<String>, String) {
    let output = run(command(program, variables)).await;
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr).unwrap();
    let names = text
        .lines()
        .map(|line| line.split(':').next().unwrap().to_owned());
    (names.collect(), text)
}

#[tokio::test]
async fn all_errors_of_the_gateways_configuration_are_reported_at_once() {
    let (names, text) = problems(
        GATEWAY,
        &[
            ("LISTEN", "nowhere"),
            ("OPENAI_BASE_URL", "ftp://x"),
            ("OPENAI_API_KEY", "sk-secret with-blank"),
            ("MAX_BODY_BYTES", "0"),
            ("STORE", "somewhere"),
            ("CREDENTIAL_TTL", "1"),
            ("RUST_LOG", "=="),
        ],
    )
    .await;
    let expected = [
        "LISTEN",
        "OPENAI_BASE_URL",
        "OPENAI_API_KEY",
        "CREDENTIAL_TTL",
        "STORE",
        "MAX_BODY_BYTES",
        "RUST_LOG",
    ];
    assert_eq!(names, expected, "{text}");
    assert!(!text.contains("sk-secret"));
}

#[tokio::test]
async fn all_errors_of_the_broadcasters_configuration_are_reported_at_once() {
    let (names, text) = problems(
        BROADCASTER,
        &[
            ("LISTEN", "nowhere"),
            ("VARNISH_SERVICE", "http://varnish"),
            ("BACKEND_ADMIN_TOKEN", "secret with-blank"),
            ("ADMIN_TOKEN", "token"),
            ("ALLOW_ANONYMOUS_PURGE", "true"),
            ("DNS_SERVERS", "dns"),
            ("MAX_CONCURRENT_PURGES", "0"),
            ("SHUTDOWN_GRACE", "5s"),
        ],
    )
    .await;
    let expected = [
        "LISTEN",
        "VARNISH_SERVICE",
        "BACKEND_SERVICE",
        "BACKEND_ADMIN_TOKEN",
        "ALLOW_ANONYMOUS_PURGE",
        "DNS_SERVERS",
        "MAX_CONCURRENT_PURGES",
        "SHUTDOWN_GRACE",
    ];
    assert_eq!(names, expected, "{text}");
    assert!(!text.contains("secret"));
}

#[tokio::test]
async fn a_gateways_key_without_a_rule_who_may_use_it_does_not_start() {
    let (_, text) = problems(GATEWAY, &[("OPENAI_API_KEY", "sk-x")]).await;
    assert!(text.contains("CLIENT_KEYS_FILE"), "{text}");
}

#[tokio::test]
async fn a_broadcaster_that_no_client_may_use_does_not_start() {
    let services = [("VARNISH_SERVICE", "a:1"), ("BACKEND_SERVICE", "b:1")];
    assert_eq!(problems(BROADCASTER, &services).await.0, ["ADMIN_TOKEN"]);
}

/// Outputs that take nothing: a full disk, and a pipe whose reader is gone.
fn deaf() -> [Stdio; 2] {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    [full.into(), writer.into()]
}

/// The exit of the program, and its standard error if the test reads it.
async fn end(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let read = timeout(PATIENCE, stderr.read_to_string(&mut said));
        read.await.unwrap().unwrap();
    }
    let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    (status.code(), said)
}

#[tokio::test]
async fn the_exit_status_holds_although_standard_error_is_closed() {
    for (program, name, _) in PROGRAMS {
        for stderr in deaf() {
            let mut command = command(program, &[("LISTEN", "nowhere")]);
            command.stderr(stderr);
            assert_eq!(end(command).await.0, Some(64), "{name}");
        }
        for stdout in deaf() {
            let mut command = command(program, &[]);
            command.arg("--help").stdout(stdout);
            let (status, said) = end(command).await;
            assert_eq!(status, Some(1), "{name}");
            assert!(said.starts_with("standard output: "), "{name}: {said}");
        }
    }
}

#[tokio::test]
async fn a_filter_that_would_silence_the_program_by_mistake_is_refused() {
    let services = [("VARNISH_SERVICE", "a:1"), ("BACKEND_SERVICE", "b:1")];
    let more = [
        services[0],
        services[1],
        ("ADMIN_TOKEN", "t"),
        ("LISTEN", "nowhere"),
    ];
    for (program, name, _) in PROGRAMS {
        for filter in [
            "inof",
            "verbose,embedding_gateway::request=off",
            "hyper=debug",
        ] {
            let mut variables = more.to_vec();
            variables.push(("RUST_LOG", filter));
            let (names, text) = problems(program, &variables).await;
            assert!(names.contains(&"RUST_LOG".to_owned()), "{name}: {text}");
        }
        for filter in [
            "off",
            "WARN",
            "info,embedding_gateway::request=off",
            "embedding_gateway=debug,hyper=warn",
            "embedding_gateway::request",
        ] {
            let mut variables = more.to_vec();
            variables.push(("RUST_LOG", filter));
            assert_eq!(problems(program, &variables).await.0, ["LISTEN"], "{name}");
        }
    }
}
