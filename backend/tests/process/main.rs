//! Both programs as processes: their command line, and the gateway's start, log and end.
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

mod command_line;
mod logs;

use std::collections::BTreeSet;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

const GATEWAY: &str = env!("CARGO_BIN_EXE_embedding-gateway");
const PATIENCE: Duration = Duration::from_secs(20);

fn command(program: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(variables.iter().copied());
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The gateway.
fn program(variables: &[(&str, &str)]) -> Command {
    command(GATEWAY, variables)
}

async fn run(mut command: Command) -> Output {
    timeout(PATIENCE, command.output()).await.unwrap().unwrap()
}

/// Starts the program and reads its address from its first log line.
async fn start(variables: &[(&str, &str)]) -> (Child, String) {
    let all = [("LISTEN", "127.0.0.1:0"), ("LOG_FORMAT", "json")];
    let all: Vec<_> = all.iter().chain(variables).copied().collect();
    let mut child = program(&all).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["message"], "ready", "{line}");
    (child, ready["address"].as_str().unwrap().to_owned())
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap()
            .success()
    );
}

#[tokio::test]
async fn what_the_world_refuses_is_named_too() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let absent = [
        ("LISTEN", "127.0.0.1:0"),
        ("OPENAI_API_KEY", "sk-x"),
        ("CLIENT_KEYS_FILE", "/nonexistent/keys"),
    ];
    let collector = |protocol| {
        [
            ("LISTEN", "127.0.0.1:0"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:9"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/dev/null"),
        ]
    };
    for (variables, expected) in [
        (&[("LISTEN", &*address)][..], "LISTEN"),
        (
            &[("LISTEN", "127.0.0.1:0"), ("STORE", "file:///dev/null/x")],
            "STORE",
        ),
        (&absent, "CLIENT_KEYS_FILE"),
        (
            &[("LISTEN", "127.0.0.1:0"), ("UPSTREAM_CA_FILE", "/dev/null")],
            "UPSTREAM_CA_FILE",
        ),
        (
            &collector("http/protobuf"),
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
        ),
        (&collector("grpc"), "OTEL_EXPORTER_OTLP_CERTIFICATE"),
    ] {
        let output = run(program(variables)).await;
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with(expected), "{text}");
        let parts: Vec<_> = text.trim_end().split(": ").collect();
        let different: BTreeSet<_> = parts.iter().collect();
        assert_eq!(parts.len(), different.len(), "said twice: {text}");
    }
}

#[tokio::test]
async fn either_signal_ends_it_in_order() {
    for name in ["TERM", "INT"] {
        let (mut child, address) = start(&[]).await;
        // An idle connection must not hold up the end.
        let _idle = TcpStream::connect(&address).await.unwrap();
        signal(&child, name);
        let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "{name}");
    }
}

const ANSWER: &str = r#"{"data":[{"index":0,"embedding":[1.5]}]}"#;

/// Asks for one vector.
async fn ask(address: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    let body = r#"{"model":"m","input":"a"}"#;
    let length = body.len();
    let head =
        format!("POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    let sent = format!("{head}{body}");
    client.write_all(sent.as_bytes()).await.unwrap();
    client
}

/// Takes the gateway's call.
async fn called(upstream: &TcpListener) -> TcpStream {
    let (mut call, _) = timeout(PATIENCE, upstream.accept()).await.unwrap().unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"}") {
        assert_ne!(call.read_buf(&mut seen).await.unwrap(), 0);
    }
    call
}

async fn answer(call: &mut TcpStream) {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        ANSWER.len()
    );
    let text = format!("{head}{ANSWER}");
    call.write_all(text.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_store_that_hangs_does_not_keep_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("file://{}", directory.path().display());
    for hangs in [false, true] {
        if hangs {
            replace_by_pipes(directory.path());
        }
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", upstream.local_addr().unwrap());
        let variables = [
            ("OPENAI_BASE_URL", &*base),
            ("STORE", &store),
            ("SHUTDOWN_GRACE", "3s"),
        ];
        let (mut child, address) = start(&variables).await;
        let mut client = ask(&address).await;
        answer(&mut called(&upstream).await).await;
        let mut seen = [0; 12];
        let read = timeout(PATIENCE, client.read_exact(&mut seen)).await;
        read.unwrap().unwrap();
        assert_eq!(&seen, b"HTTP/1.1 200", "{hangs}");
        signal(&child, "TERM");
        let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "{hangs}");
    }
}

/// Whatever opens one of these pipes waits for a writer for ever.
fn replace_by_pipes(directory: &std::path::Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            replace_by_pipes(&path);
            continue;
        }
        std::fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
    }
}

#[tokio::test]
async fn a_running_request_is_finished_and_its_vector_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("file://{}", directory.path().display());
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", upstream.local_addr().unwrap());
    let (mut child, address) = start(&[("OPENAI_BASE_URL", &base), ("STORE", &store)]).await;

    let mut client = ask(&address).await;
    let mut call = called(&upstream).await;

    signal(&child, "TERM");
    // A refused connection shows that the signal arrived.
    while TcpStream::connect(&address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    answer(&mut call).await;

    let mut text = String::new();
    timeout(PATIENCE, client.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(text.contains("\"embedding\":[1.5]"), "{text}");
    let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(objects(directory.path()), 1);
}

/// But for a probe, by which the gateway tries what it may do: its end may come in the middle of that.
fn objects(directory: &std::path::Path) -> usize {
    let count = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("probe") => 0,
            true => objects(&path),
            false => 1,
        }
    };
    std::fs::read_dir(directory).unwrap().map(count).sum()
}
