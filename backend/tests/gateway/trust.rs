//! An upstream and a collector whose certificate a private authority signed.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::support::Setup;
use crate::support::collector::{Collector, PROTOCOLS};

const PATIENCE: Duration = Duration::from_secs(20);

/// The authority in PEM, and what a server for `127.0.0.1` needs.
pub fn authority() -> (String, ServerConfig) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);

    let server_key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&server_key, &issuer).unwrap();
    let secret = PrivateKeyDer::try_from(server_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], secret)
        .unwrap();
    (root.pem(), config)
}

/// Answers the same vector to every client that trusts it.
pub async fn serve(config: ServerConfig) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/v1", listener.local_addr().unwrap());
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let answer = service_fn(|_: http::Request<Incoming>| async {
                    let body = json!({"data": [{"index": 0, "embedding": [1.5]}]}).to_string();
                    Ok::<_, std::convert::Infallible>(http::Response::new(body))
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                drop(connection.await);
            });
        }
    });
    (url, serving)
}

/// The authority's file, and the folder that it is in.
pub fn file_of(pem: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, pem).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (folder, file)
}

#[tokio::test]
async fn a_private_authority_is_trusted_if_a_file_names_it_and_only_then() {
    let (pem, config) = authority();
    let (url, _serving) = serve(config).await;
    let request = json!({"model": "m", "input": "a"});

    let wary = Setup::new().at(&url).await;
    let refused = wary.embed(request.clone()).await;
    assert_eq!(refused.error_code(), "upstream_unreachable");

    let (_folder, file) = file_of(&pem);
    let variables = [("UPSTREAM_CA_FILE", &*file)];
    let trusting = Setup::new().with_all(&variables).at(&url).await;
    assert_eq!(trusting.embed(request).await.vectors(), [[1.5]]);
}

/// Speaks HTTP/2 within TLS, in front of the server at `url`.
async fn terminate(mut config: ServerConfig, url: &str) -> (String, JoinSet<()>) {
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let behind = url.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            connections.spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut behind = TcpStream::connect(behind).await.unwrap();
                drop(copy_bidirectional(&mut stream, &mut behind).await);
            });
        }
    });
    (url, serving)
}

/// How many spans `collector` gets from a gateway with `url` for all signals and `own` for traces.
async fn spans_of_a_request(collector: &Collector, url: &str, own: &[(&str, &str)]) -> usize {
    let before = collector.spans().len();
    let mut variables = collector.variables();
    variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", url));
    variables.extend(own);
    let (_upstream, gateway) = Setup::new().with_all(&variables).start().await;
    gateway.embed(json!({"model": "m", "input": "a"})).await;
    gateway.app.finish().await;
    gateway.app.finish_traces(Instant::now() + PATIENCE).await;
    collector.spans().len() - before
}

#[tokio::test]
async fn so_is_a_collectors_in_both_protocols() {
    for protocol in PROTOCOLS {
        let (pem, config) = authority();
        let (_folder, file) = file_of(&pem);
        let collector = Collector::start(protocol).await;
        let (url, _serving) = terminate(config, &collector.url).await;

        let wary = [("OTEL_EXPORTER_OTLP_TIMEOUT", "100")];
        let refused = spans_of_a_request(&collector, &url, &wary).await;
        assert_eq!(refused, 0, "{protocol}");
        for name in [
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        ] {
            let told = spans_of_a_request(&collector, &url, &[(name, &file)]).await;
            assert_eq!(told, 2, "{protocol} {name}");
        }
    }
}
