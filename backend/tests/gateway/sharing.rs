//! `CACHE_SCOPE` while the gateway's key goes upstream: what one client can learn of another.

use std::io::Write as _;

use axum::body::Body;
use embedding_gateway::config::Config;
use http::{Request, StatusCode};
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::support::Setup;
use crate::support::gateway::post_raw;

const GATEWAY: (&str, &str) = ("OPENAI_API_KEY", "sk-gateway");
const ANONYMOUS: (&str, &str) = ("ALLOW_ANONYMOUS", "true");

fn request(key: &str, directive: &str) -> Request<Body> {
    let mut request = post_raw(json!({"model": "m", "input": "a"}).to_string());
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {key}").parse().unwrap());
    headers.insert("cache-control", directive.parse().unwrap());
    request
}

fn client_keys() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    for key in ["tenant-a", "tenant-b"] {
        let digest = Sha256::digest(key);
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(file, "{digits} {key}").unwrap();
    }
    file
}

/// Whether a second client can tell what a first one asked, and what both cost.
async fn is_shared(variables: &[(&str, &str)]) -> bool {
    let gateways = Setup::new().with_all(&[GATEWAY]).with_all(variables);
    let (upstream, gateway) = gateways.start().await;
    gateway.send(request("tenant-a", "max-age=0")).await;
    let own = gateway.send(request("tenant-a", "only-if-cached")).await;
    assert_eq!(own.status, StatusCode::OK);
    let asked = gateway.send(request("tenant-b", "only-if-cached")).await;
    let found = asked.status == StatusCode::OK;
    assert!(found || asked.status == StatusCode::GATEWAY_TIMEOUT);
    gateway.send(request("tenant-b", "max-age=0")).await;
    assert_eq!(upstream.call_count(), if found { 1 } else { 2 });
    found
}

#[tokio::test]
async fn clients_with_keys_of_their_own_learn_nothing_of_each_other() {
    let file = client_keys();
    let keys = ("CLIENT_KEYS_FILE", file.path().to_str().unwrap());
    assert!(!is_shared(&[keys]).await);
    assert!(!is_shared(&[keys, ("CACHE_SCOPE", "caller")]).await);
    assert!(is_shared(&[keys, ("CACHE_SCOPE", "shared")]).await);
}

#[tokio::test]
async fn clients_that_present_anything_share_unless_the_operator_parts_them() {
    assert!(is_shared(&[ANONYMOUS]).await);
    assert!(is_shared(&[ANONYMOUS, ("CACHE_SCOPE", "shared")]).await);
    assert!(!is_shared(&[ANONYMOUS, ("CACHE_SCOPE", "caller")]).await);
}

#[tokio::test]
async fn a_client_alone_is_purged_by_its_own_tag() {
    let variables = [GATEWAY, ANONYMOUS, ("CACHE_SCOPE", "caller")];
    let (_upstream, gateway) = Setup::new().with_all(&variables).start().await;
    let tags = |key: &'static str| gateway.send(request(key, "max-age=0"));
    let (first, second) = (tags("tenant-a").await, tags("tenant-b").await);
    assert_ne!(
        first.header("surrogate-key"),
        second.header("surrogate-key")
    );
    assert!(!first.header("surrogate-key").contains("scope:shared"));
}

#[test]
fn a_scope_of_the_other_mode_is_refused_by_name() {
    let refused = |scope: &str, mode: &[(&str, &str)]| {
        let given = [mode, &[("CACHE_SCOPE", scope)]].concat();
        let given = given
            .iter()
            .map(|&(name, value)| (name.into(), value.into()));
        let problems = Config::from_variables(given).err().unwrap_or_default();
        assert!(
            problems
                .iter()
                .all(|problem| problem.variable == "CACHE_SCOPE")
        );
        !problems.is_empty()
    };
    for (scope, passed_through, gateways) in [
        ("credential", false, true),
        ("organization", false, true),
        ("caller", true, false),
        ("shared", false, false),
        ("Caller", true, true),
    ] {
        assert_eq!(refused(scope, &[]), passed_through, "{scope}");
        assert_eq!(refused(scope, &[GATEWAY, ANONYMOUS]), gateways, "{scope}");
    }
}
