//! The program as a process: its start, its errors, its log, its end.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::Barrier;
use tokio::time::timeout;

use crate::broadcaster::variables;
use crate::peer::{Manner, Peer};
use crate::zone::Zone;

const PATIENCE: Duration = Duration::from_secs(30);

fn program(variables: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_endpoint-broadcaster"));
    command.env_clear().envs(variables.iter().cloned());
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(mut command: Command) -> Output {
    timeout(PATIENCE, command.output()).await.unwrap().unwrap()
}

fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|&(name, value)| (name.into(), value.into()))
        .collect()
}

async fn problems(pairs: &[(&str, &str)]) -> (Vec<String>, String) {
    let output = run(program(&given(pairs))).await;
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr).unwrap();
    let names = text
        .lines()
        .map(|line| line.split(':').next().unwrap().to_owned());
    (names.collect(), text)
}

#[tokio::test]
async fn all_configuration_errors_are_reported_at_once() {
    let (names, text) = problems(&[
        ("LISTEN", "nowhere"),
        ("VARNISH_SERVICE", "http://varnish"),
        ("BACKEND_ADMIN_TOKEN", "secret with-blank"),
        ("ADMIN_TOKEN", "token"),
        ("ALLOW_ANONYMOUS_PURGE", "true"),
        ("DNS_SERVERS", "dns"),
        ("MAX_CONCURRENT_PURGES", "0"),
        ("SHUTDOWN_GRACE", "5s"),
    ])
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
async fn nobody_who_may_purge_is_a_mistake() {
    let services = [("VARNISH_SERVICE", "a:1"), ("BACKEND_SERVICE", "b:1")];
    assert_eq!(problems(&services).await.0, ["ADMIN_TOKEN"]);
}

#[tokio::test]
async fn help_names_every_variable_with_its_default() {
    let mut command = program(&[]);
    command.arg("--help");
    let text = String::from_utf8(run(command).await.stdout).unwrap();
    for variable in embedding_gateway::broadcast::config::VARIABLES {
        let line = format!("\n  {}={}\n", variable.name, variable.default);
        assert!(text.contains(&line), "{}", variable.name);
    }
}

#[tokio::test]
async fn it_names_its_version() {
    let mut command = program(&[]);
    command.arg("--version");
    let text = String::from_utf8(run(command).await.stdout).unwrap();
    assert_eq!(
        text,
        format!("endpoint-broadcaster {}\n", env!("CARGO_PKG_VERSION"))
    );
}

/// Starts the program and reads its address from its first log line.
async fn start(variables: &[(String, String)]) -> (Child, String) {
    let mut child = program(variables).spawn().unwrap();
    let mut line = String::new();
    let mut lines = BufReader::with_capacity(1, child.stderr.as_mut().unwrap());
    timeout(PATIENCE, lines.read_line(&mut line))
        .await
        .unwrap()
        .unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["message"], "ready", "{line}");
    (child, ready["address"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_running_purge_is_finished_and_told_in_one_line_without_a_secret() {
    let barrier = Arc::new(Barrier::new(2));
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let backend = Peer::start(any, Manner::Waits(Arc::clone(&barrier))).await;
    let varnish = Peer::good().await;
    let zone = Zone::with(&["127.0.0.1"]).await;
    let more = given(&[
        ("LISTEN", "127.0.0.1:0"),
        ("LOG_FORMAT", "json"),
        ("RUST_LOG", "trace"),
        ("ALLOW_ANONYMOUS_PURGE", "false"),
        ("ADMIN_TOKEN", "secret-of-ours"),
        ("BACKEND_ADMIN_TOKEN", "secret-of-the-backend"),
    ]);
    let all = [variables(&zone, &backend, varnish.address.port()), more].concat();
    let (child, address) = start(&all).await;

    let mut caller = TcpStream::connect(&address).await.unwrap();
    let request = "PURGE /v1/embeddings?key=secret HTTP/1.1\r\nhost: x\r\n\
                   authorization: Bearer secret-of-ours\r\nsurrogate-key: model:a\r\n\r\n";
    caller.write_all(request.as_bytes()).await.unwrap();
    while backend.received().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pid = child.id().unwrap().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-s", "TERM", &pid])
        .status();
    assert!(killed.unwrap().success());
    // Refusing new connections is how we know that the signal arrived.
    while TcpStream::connect(&address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    barrier.wait().await;

    let mut answer = String::new();
    timeout(PATIENCE, caller.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(varnish.received().len(), 1);
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!log.contains("secret"), "{log}");
    let told: Vec<_> = log
        .lines()
        .filter(|line| line.contains("\"outcome\""))
        .collect();
    assert_eq!(told.len(), 1, "{log}");
    for part in ["\"all\"", "/v1/embeddings", "model:a", "duration_ms"] {
        assert!(told[0].contains(part), "{}", told[0]);
    }
}
