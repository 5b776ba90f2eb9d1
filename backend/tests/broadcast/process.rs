//! The program as a process: its start, its log, its end.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::broadcaster::variables;
use crate::peer::Peer;
use crate::zone::Zone;

const PATIENCE: Duration = Duration::from_secs(30);

/// Starts the program and reads its address from its first log line.
async fn start(variables: &[(String, String)]) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_endpoint-broadcaster"));
    command.env_clear().envs(variables.iter().cloned());
    command.stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
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
    let (backend, barrier) = Peer::waiting().await;
    let varnish = Peer::good().await;
    let zone = Zone::with(&["127.0.0.1"]).await;
    let more = [
        ("LISTEN", "127.0.0.1:0"),
        ("LOG_FORMAT", "json"),
        ("RUST_LOG", "trace"),
        ("ALLOW_ANONYMOUS_PURGE", "false"),
        ("ADMIN_TOKEN", "secret-of-operators"),
        ("BACKEND_ADMIN_TOKEN", "secret-of-the-backend"),
    ];
    let mut all = variables(&zone, &backend, varnish.address.port());
    all.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let (child, address) = start(&all).await;

    let mut caller = TcpStream::connect(&address).await.unwrap();
    let request = "PURGE /v1/embeddings?key=secret HTTP/1.1\r\nhost: x\r\n\
                   authorization: Bearer secret-of-operators\r\nsurrogate-key: model:a\r\n\r\n";
    caller.write_all(request.as_bytes()).await.unwrap();
    backend.asked().await;
    let pid = child.id().unwrap().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-s", "TERM", &pid])
        .status();
    assert!(killed.unwrap().success());
    // A refused connection shows that the signal arrived.
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
