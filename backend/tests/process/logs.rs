//! What the program logs: one line a request, with what happened and nothing private.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{PATIENCE, program, signal};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SECRETS: [&str; 3] = ["private text", "sk-secret-of-a-caller", "0.62538"];

/// One request on a connection of its own; its answer is read to the end.
async fn send(address: &str, request_line: &str, headers: &str, body: &str) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{request_line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    client
        .write_all(format!("{head}{body}").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, client.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    answer
}

/// Answers everything with one vector.
async fn upstream() -> (String, JoinSet<()>) {
    const ANSWER: &str =
        r#"{"data":[{"index":0,"embedding":[0.62538]}],"usage":{"prompt_tokens":7}}"#;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let router = Router::new().fallback(|| async { ANSWER });
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, server)
}

/// An address that probably no program listens on. On 127.0.0.1 a client could have taken the port
/// by now, even the gateway's own, which would connect to itself.
async fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// All that the program logs while `clients` use it, and while it stops.
async fn log_while(variables: &[(&str, &str)], used: impl AsyncFnOnce(&str)) -> String {
    let ((url, _server), address) = (upstream().await, free_address().await);
    let own = [
        ("LISTEN", &*address),
        ("OPENAI_BASE_URL", &*url),
        ("LOG_FORMAT", "json"),
    ];
    let all: Vec<_> = own.iter().chain(variables).copied().collect();
    let mut child = program(&all).spawn().unwrap();
    let listening = async {
        while TcpStream::connect(&address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, listening).await.unwrap();
    used(&address).await;
    signal(&child, "TERM");
    let mut log = String::new();
    let mut stderr = child.stderr.take().unwrap();
    timeout(PATIENCE, stderr.read_to_string(&mut log))
        .await
        .unwrap()
        .unwrap();
    log
}

/// The log of a miss, a hit, an unknown path, and a probe.
async fn log_of(variables: &[(&str, &str)]) -> String {
    log_while(variables, async |address| {
        let headers = format!(
            "authorization: Bearer sk-secret-of-a-caller\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n"
        );
        let body = r#"{"model":"m","input":["private text","private text"]}"#;
        for _ in 0..2 {
            let answer = send(address, "POST /v1/embeddings", &headers, body).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        let elsewhere = "HEAD /elsewhere?key=sk-secret-of-a-caller";
        send(address, elsewhere, "", "").await;
        send(address, "GET /healthz", "", "").await;
    })
    .await
}

fn requests(log: &str) -> Vec<BTreeMap<String, Value>> {
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let of_request =
        |line: &BTreeMap<String, Value>| line["target"] == "embedding_gateway::request";
    lines.filter(of_request).collect()
}

#[tokio::test]
async fn each_request_has_one_line() {
    let log = log_of(&[]).await;
    let [miss, hit, elsewhere] = requests(&log).try_into().unwrap();
    for line in [&miss, &hit] {
        assert_eq!(line["method"], "POST");
        assert_eq!(line["path"], "/v1/embeddings");
        assert_eq!(line["status"], 200);
        assert_eq!(line["trace_id"], TRACE);
        assert_eq!(line["repeat"], 1);
        assert_eq!(line["nominal_tokens"], 14);
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
        assert!(line["bytes"].as_u64().unwrap() > 100);
        assert!(!line.contains_key("cut_off"), "{line:?}");
    }
    let counts = |line: &BTreeMap<String, Value>| [line["memory"].clone(), line["miss"].clone()];
    assert_eq!(counts(&miss), [0, 1]);
    assert_eq!(miss["billed_tokens"], 7);
    assert_eq!(counts(&hit), [1, 0]);
    assert_eq!(hit["billed_tokens"], 0);

    assert_eq!(elsewhere["method"], "HEAD");
    assert_eq!(elsewhere["path"], "/elsewhere");
    assert_eq!(elsewhere["status"], 404);
    for absent in ["trace_id", "memory", "billed_tokens", "cut_off"] {
        assert!(!elsewhere.contains_key(absent), "{absent}");
    }
}

#[tokio::test]
async fn nothing_private_is_logged() {
    for format in ["json", "text"] {
        let log = log_of(&[("LOG_FORMAT", format), ("RUST_LOG", "trace")]).await;
        assert!(log.contains("/v1/embeddings"), "{log}");
        for secret in SECRETS {
            assert!(!log.contains(secret), "{log}");
        }
    }
}

#[tokio::test]
async fn the_level_is_chosen() {
    for filter in ["warn", "info,embedding_gateway::request=off"] {
        let log = log_of(&[("RUST_LOG", filter)]).await;
        assert!(!log.contains("/v1/embeddings"), "{log}");
    }
}

/// Request lines of hostile clients, which must not break a line of the log.
const STRANGE: [(&str, &str, &str); 5] = [
    ("GET", "/v1/a\"b\\c", "GET"),
    ("M-SEARCH", "/{\"level\":\"é☃\"}", "_OTHER"),
    ("BREW", "/v1/%0a%00%22", "_OTHER"),
    ("DELETE", "/\u{202e}\u{2028}x", "DELETE"),
    ("GET", "/\u{9b}31m", "GET"),
];

#[tokio::test]
async fn lines_counters_and_clients_agree_however_many_ask_at_once() {
    const CLIENTS: usize = 60;
    let mut metrics = String::new();
    let log = log_while(&[], async |address| {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let address = address.to_owned();
            clients.spawn(async move {
                let body = format!(r#"{{"model":"m","input":["{}"]}}"#, number % 7);
                for _ in 0..2 {
                    let answer = send(&address, "POST /v1/embeddings", "", &body).await;
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                }
                for (method, path, _) in STRANGE {
                    send(&address, &format!("{method} {path}"), "", "").await;
                }
                let long = format!("GET /{}", "x".repeat(8000));
                send(&address, &long, "", "").await;
            });
        }
        clients.join_all().await;
        metrics = send(address, "GET /metrics", "", "").await;
    })
    .await;

    // No control characters, which a terminal would obey.
    let obeyed = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}');
    assert!(!log.replace('\n', "").contains(obeyed), "{log:?}");
    // Parses each line, those of libraries too.
    let lines = requests(&log);
    assert_eq!(lines.len(), CLIENTS * (2 + STRANGE.len() + 1));
    let with = |name: &str, value: &str| lines.iter().filter(|line| line[name] == value).count();
    for (_, path, method) in STRANGE {
        assert_eq!(with("path", path), CLIENTS, "{path}");
        let line = lines.iter().find(|line| line["path"] == path);
        assert_eq!(line.unwrap()["method"], method);
    }
    assert_eq!(with("path", &format!("/{}", "x".repeat(255))), CLIENTS);

    let sum = |name: &str| {
        let values = lines.iter().filter_map(|line| line.get(name));
        values.map(|value| value.as_u64().unwrap()).sum::<u64>()
    };
    let counted = |series: &str| {
        let series = format!("embedding_gateway_{series} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
        value.unwrap().trim().parse::<u64>().unwrap()
    };
    let outcomes = ["memory", "store", "miss", "collapsed", "repeat"];
    for outcome in outcomes {
        let series = format!("inputs_total{{outcome=\"{outcome}\"}}");
        assert_eq!(sum(outcome), counted(&series), "{outcome}");
    }
    assert_eq!(outcomes.map(sum).iter().sum::<u64>(), 2 * CLIENTS as u64);
    for kind in ["nominal", "billed"] {
        let series = format!("{kind}_tokens_total{{model=\"m\"}}");
        assert_eq!(sum(&format!("{kind}_tokens")), counted(&series), "{kind}");
    }
    let answered = "requests_total{route=\"embeddings\",status=\"200\"}";
    assert_eq!(counted(answered), 2 * CLIENTS as u64);
}
