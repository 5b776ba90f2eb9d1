//! Which callers may have hits, and which key goes upstream.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::Setup;
use crate::support::gateway::{post, post_raw};
use crate::support::upstream::Upstream;
use crate::support::waiting::PATIENCE;

const HIT: &str = "embedding-gateway; hit";
const MISS: &str = "embedding-gateway; fwd=miss; stored";

fn request(body: &Value, credential: &[(&str, &str)]) -> Request<Body> {
    let mut request = post_raw(body.to_string());
    request.headers_mut().remove("authorization");
    for &(name, value) in credential {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

fn body() -> Value {
    json!({"model": "m", "input": "a"})
}

#[tokio::test]
async fn credentials_that_differ_in_one_part_share_nothing() {
    let (upstream, gateway) = Setup::new().start().await;
    let parts = [
        "authorization",
        "api-key",
        "x-api-key",
        "openai-organization",
        "openai-project",
    ];
    let mut credentials = vec![vec![]];
    let full: Vec<_> = parts.iter().map(|&name| (name, "one")).collect();
    for index in 0..parts.len() {
        let mut changed = full.clone();
        changed[index].1 = "two";
        credentials.push(changed);
        let mut without = full.clone();
        without.remove(index);
        credentials.push(without);
    }
    credentials.push(full);
    for credential in &credentials {
        let answer = gateway.send(request(&body(), credential)).await;
        assert_eq!(answer.header("cache-status"), MISS, "{credential:?}");
    }
    for credential in &credentials {
        let answer = gateway.send(request(&body(), credential)).await;
        assert_eq!(answer.header("cache-status"), HIT, "{credential:?}");
    }
    assert_eq!(upstream.call_count(), credentials.len());
}

#[tokio::test]
async fn in_a_shared_cache_every_credential_earns_its_hits_for_each_model() {
    let (_upstream, gateway) = Setup::new().with("CACHE_SCOPE", "shared").start().await;
    let (first, second) = ([("api-key", "one")], [("api-key", "two")]);
    gateway.send(request(&body(), &first)).await;
    let other = json!({"model": "m", "input": "b"});
    let foreign = gateway.send(request(&body(), &second)).await;
    assert_eq!(foreign.header("cache-status"), MISS);
    gateway.send(request(&other, &first)).await;
    assert_eq!(
        gateway
            .send(request(&other, &second))
            .await
            .header("cache-status"),
        HIT
    );

    let model = json!({"model": "n", "input": "a"});
    gateway.send(request(&model, &first)).await;
    assert_eq!(
        gateway
            .send(request(&model, &second))
            .await
            .header("cache-status"),
        MISS
    );
}

#[tokio::test]
async fn a_refused_credential_has_no_hits_any_more() {
    let (upstream, gateway) = Setup::new().start().await;
    let credential = [("api-key", "one")];
    gateway.send(request(&body(), &credential)).await;
    let hit = gateway.send(request(&body(), &credential)).await;
    assert_eq!(hit.header("cache-status"), HIT);
    upstream.answers_json(
        StatusCode::UNAUTHORIZED,
        json!({"error": {"message": "revoked"}}),
    );
    let other = json!({"model": "m", "input": "b"});
    let refused = gateway.send(request(&other, &credential)).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let tags = hit.header("surrogate-key");
    assert!(
        tags.ends_with(refused.header("surrogate-key")),
        "what was given to it can be purged"
    );
    let after = gateway.send(request(&body(), &credential)).await;
    assert_eq!(after.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn acceptance_ends_with_its_time() {
    let (upstream, gateway) = Setup::new().with("CREDENTIAL_TTL", "1h").start().await;
    let credential = [("api-key", "one")];
    gateway.send(request(&body(), &credential)).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3601)).await;
    tokio::time::resume();
    upstream.answers_json(
        StatusCode::UNAUTHORIZED,
        json!({"error": {"message": "revoked"}}),
    );
    let after = gateway.send(request(&body(), &credential)).await;
    assert_eq!(after.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn with_a_key_of_its_own_the_gateway_drops_the_callers() {
    let variables = [
        ("OPENAI_API_KEY", "sk-gateway"),
        ("ALLOW_ANONYMOUS", "true"),
    ];
    let (upstream, gateway) = Setup::new().with_all(&variables).start().await;
    let answer = gateway
        .send(request(
            &body(),
            &[("api-key", "one"), ("openai-project", "p")],
        ))
        .await;
    assert_eq!(answer.header("cache-status"), MISS);
    assert_eq!(
        gateway
            .send(request(&body(), &[]))
            .await
            .header("cache-status"),
        HIT
    );
    let chat = Request::post("/v1/chat/completions").header("authorization", "Bearer callers");
    gateway
        .send(chat.header("cookie", "a=b").body(Body::from("{}")).unwrap())
        .await;
    for call in upstream.calls() {
        assert_eq!(call.headers["authorization"], "Bearer sk-gateway");
        for name in ["api-key", "openai-project", "cookie"] {
            assert!(!call.headers.contains_key(name), "{name}");
        }
    }
}

#[tokio::test]
async fn with_a_key_of_its_own_the_gateway_serves_known_keys_on_allowed_routes_only() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let digest: String = Sha256::digest("known")
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    std::io::Write::write_all(&mut file, format!("{digest} team a\n").as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let variables = [("OPENAI_API_KEY", "sk-gateway"), ("CLIENT_KEYS_FILE", path)];
    let (upstream, gateway) = Setup::new().with_all(&variables).start().await;

    for credential in [
        &[][..],
        &[("authorization", "Bearer unknown")],
        &[("api-key", "")],
    ] {
        let answer = gateway.send(request(&body(), credential)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.error_code(), "invalid_api_key");
    }
    assert_eq!(upstream.call_count(), 0);
    for credential in [
        ("authorization", "Bearer known"),
        ("api-key", "known"),
        ("x-api-key", "known"),
    ] {
        assert_eq!(
            gateway.send(request(&body(), &[credential])).await.status,
            StatusCode::OK
        );
    }
    for (method, path) in [
        ("GET", "/v1/files"),
        ("DELETE", "/v1/models"),
        ("POST", "/v1//embeddings"),
        ("POST", "/v1/embeddings/"),
    ] {
        let refused = Request::builder()
            .method(method)
            .uri(path)
            .header("api-key", "known");
        let answer = gateway.send(refused.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(answer.error_code(), "route_not_allowed");
    }
    assert_eq!(upstream.call_count(), 1);
}

/// The upstream names the organisation "org-<first letter of the key>".
fn names_organizations(upstream: &Upstream) {
    upstream.answers(|call| {
        let mut answer = crate::support::upstream::embeddings(&call);
        let key = call.headers["api-key"].to_str().unwrap();
        let name = format!("org-{}", &key[..1]).parse().unwrap();
        answer.headers_mut().insert("openai-organization", name);
        std::future::ready(answer)
    });
}

#[tokio::test]
async fn keys_of_one_organization_share_once_the_upstream_has_named_it() {
    let upstream = Upstream::start().await;
    names_organizations(&upstream);
    let gateway = Setup::new()
        .with("CACHE_SCOPE", "organization")
        .before(&upstream)
        .await;
    let embed = |key: &'static str, input: &'static str| {
        gateway.send(request(
            &json!({"model": "m", "input": input}),
            &[("api-key", key)],
        ))
    };
    // The first call of a key caches its vectors for the organisation at once.
    let first = embed("a1", "x").await;
    assert_eq!(first.header("cache-status"), MISS);
    assert!(
        first
            .header("surrogate-key")
            .contains("scope:organization:org-a")
    );
    assert_eq!(embed("a1", "x").await.header("cache-status"), HIT);

    assert_eq!(embed("a2", "y").await.header("cache-status"), MISS);
    assert_eq!(embed("a2", "x").await.header("cache-status"), HIT);
    assert_eq!(embed("b1", "y").await.header("cache-status"), MISS);
    assert_eq!(embed("b1", "x").await.header("cache-status"), MISS);
}

#[tokio::test]
async fn a_clients_word_for_its_organization_counts_for_nothing() {
    let upstream = Upstream::start().await;
    names_organizations(&upstream);
    let gateway = Setup::new()
        .with("CACHE_SCOPE", "organization")
        .before(&upstream)
        .await;
    let embed = |credential: &'static [(&str, &str)]| gateway.send(request(&body(), credential));
    embed(&[("api-key", "a1")]).await;
    let liar: &[_] = &[("api-key", "b1"), ("openai-organization", "org-a")];
    assert_eq!(embed(liar).await.header("cache-status"), MISS);
    let tags = embed(liar).await.header("surrogate-key").to_owned();
    assert!(tags.contains("scope:organization:org-b"), "{tags}");
}

#[tokio::test]
async fn without_a_named_organization_a_credential_is_alone() {
    let upstream = Upstream::start().await;
    upstream.answers(|call| {
        let mut answer = crate::support::upstream::embeddings(&call);
        answer.headers_mut().remove("openai-organization");
        std::future::ready(answer)
    });
    let gateway = Setup::new()
        .with("CACHE_SCOPE", "organization")
        .before(&upstream)
        .await;
    for key in ["a1", "a2"] {
        let first = gateway.send(request(&body(), &[("api-key", key)])).await;
        assert_eq!(first.header("cache-status"), MISS);
        let second = gateway.send(request(&body(), &[("api-key", key)])).await;
        assert_eq!(second.header("cache-status"), HIT);
    }
}

#[tokio::test]
async fn only_allowed_models_are_asked() {
    let (upstream, gateway) = Setup::new()
        .with("ALLOWED_EMBEDDING_MODELS", "m, other")
        .start()
        .await;
    assert_eq!(gateway.embed(body()).await.status, StatusCode::OK);
    for refused in [
        r#"{"model":"n","input":"a"}"#,
        r#"{"model":"m","model":"n","input":"a"}"#,
        r#"{"model":"m","input":{"unknown":1}}"#,
    ] {
        let answer = gateway.send(post_raw(refused)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{refused}");
        assert_eq!(answer.error_code(), "model_not_allowed");
    }
    // Upstreams may treat other spellings of the path alike.
    for path in ["/v1/%65mbeddings", "/v1/embeddings/", "/v1//embeddings"] {
        let mut request = post(&json!({"model": "n", "input": "a"}));
        *request.uri_mut() = path.parse().unwrap();
        let answer = gateway.send(request).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(answer.error_code(), "model_not_allowed");
    }
    assert_eq!(upstream.call_count(), 1);
}

#[tokio::test]
async fn the_file_of_client_keys_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let write = |key: &str| {
        let digest: String = Sha256::digest(key)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        std::fs::write(&path, digest).unwrap();
    };
    write("old");
    let variables = [
        ("OPENAI_API_KEY", "sk-gateway"),
        ("CLIENT_KEYS_FILE", path.to_str().unwrap()),
    ];
    let (_upstream, gateway) = Setup::new().with_all(&variables).start().await;
    let status = async |key| {
        gateway
            .send(request(&body(), &[("api-key", key)]))
            .await
            .status
    };
    assert_eq!(status("old").await, StatusCode::OK);
    write("new");
    let seen = async {
        while status("new").await != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
    assert_eq!(status("old").await, StatusCode::UNAUTHORIZED);
    // An invalid file locks no caller out, and lets no new one in.
    std::fs::write(&path, "sk-plain-key").unwrap();
    assert_eq!(status("new").await, StatusCode::OK);
}
