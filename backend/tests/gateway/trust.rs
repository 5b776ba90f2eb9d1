//! An upstream whose certificate a private authority signed.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::gateway::Gateway;

/// The authority in PEM, and what a server for `127.0.0.1` needs.
fn authority() -> (String, ServerConfig) {
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

/// Answers one and the same vector to everybody who trusts it.
async fn serve(config: ServerConfig) -> (String, JoinSet<()>) {
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

#[tokio::test]
async fn a_private_authority_is_trusted_if_a_file_names_it_and_only_then() {
    let (pem, config) = authority();
    let (url, _serving) = serve(config).await;
    let request = json!({"model": "m", "input": "a"});

    let wary = Gateway::start_at(&url, &[]).await;
    let refused = wary.embed(request.clone()).await;
    assert_eq!(refused.error_code(), "upstream_unreachable");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, pem).unwrap();
    let variables = [("UPSTREAM_CA_FILE", file.to_str().unwrap())];
    let trusting = Gateway::start_at(&url, &variables).await;
    assert_eq!(trusting.embed(request).await.vectors(), [[1.5]]);
}
