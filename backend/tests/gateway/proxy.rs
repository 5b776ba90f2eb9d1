//! Upstreams behind an HTTP proxy.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::{Setup, UpstreamsFile};
use crate::trust::{authority, file_of, serve};

/// A proxy that takes CONNECT alone, and what it was asked.
struct Proxy {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://user:secret-of-proxy@{}",
            listener.local_addr().unwrap()
        );
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let heads = Arc::clone(&asked);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut tunnels = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tunnels.spawn(tunnel(stream, Arc::clone(&heads)));
            }
        });
        Self {
            url,
            asked,
            _serving: serving,
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn tunnel(mut client: TcpStream, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let target = head
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split(' ').next());
    let target = target.unwrap().to_owned();
    heads.lock().unwrap().push(head);
    let mut server = TcpStream::connect(target).await.unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    drop(copy_bidirectional(&mut client, &mut server).await);
}

#[tokio::test]
async fn upstreams_over_tls_are_reached_through_the_proxy_unless_they_are_excepted() {
    let (pem, config) = authority();
    let (_folder, ca_file) = file_of(&pem);
    let (url, _serving) = serve(config).await;
    let proxy = Proxy::start().await;
    let request = json!({"model": "m", "input": "a"});
    let named = [
        ("UPSTREAM_CA_FILE", ca_file.as_str()),
        ("HTTPS_PROXY", proxy.url.as_str()),
    ];

    let gateway = Setup::new().with_all(&named).at(&url).await;
    assert_eq!(gateway.embed(request.clone()).await.status, StatusCode::OK);
    let heads = proxy.asked();
    assert_eq!(heads.len(), 1);
    assert!(
        heads[0].starts_with(&format!("CONNECT {} ", &url[8..url.len() - 3])),
        "{heads:?}"
    );
    assert!(
        heads[0]
            .to_lowercase()
            .contains("proxy-authorization: basic ")
    );

    let excepted = Setup::new()
        .with_all(&named)
        .with("NO_PROXY", "127.0.0.0/8");
    let gateway = excepted.at(&url).await;
    assert_eq!(gateway.embed(request.clone()).await.status, StatusCode::OK);
    assert_eq!(proxy.asked().len(), 1);

    // An upstream of a file may have a proxy of its own, or none.
    for (own, heads) in [(proxy.url.as_str(), 2), ("none", 2)] {
        let file = UpstreamsFile::new(&format!(
            "[upstreams.a]\nbase_url = '{url}'\ncredential = 'none'\nca_file = '{ca_file}'\nproxy = '{own}'\n"
        ));
        let excepted = Setup::new().with_all(&[("NO_PROXY", "*"), ("HTTPS_PROXY", &proxy.url)]);
        let gateway = excepted.with_file(&file).await;
        assert_eq!(
            gateway.embed(request.clone()).await.status,
            StatusCode::OK,
            "{own}"
        );
        assert_eq!(proxy.asked().len(), heads, "{own}");
    }
}
