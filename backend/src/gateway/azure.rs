//! Azure's URLs: `/openai/v1/…` is `/v1/…`, and `/openai/deployments/{deployment}/embeddings` is
//! `/v1/embeddings` of the model that the URL names.

use std::sync::Arc;

use http::Request;
use http::uri::{PathAndQuery, Uri};

use crate::embeddings::request::MAX_MODEL_BYTES;
use crate::http::paths::{EMBEDDINGS, percent_decoded};

/// What both kinds of URL begin with.
const OPENAI: &str = "/openai/";

const API: &str = "v1/";

const DEPLOYMENTS: &str = "deployments/";

const OF_EMBEDDINGS: &str = "/embeddings";

/// Says how Azure's own envelope of a deployment is written; what goes upstream has OpenAI's.
const API_VERSION: &str = "api-version";

/// The deployment that a URL named, in a request's extensions. At Azure it decides which model
/// answers, whatever the body says.
#[derive(Clone, Debug)]
pub(crate) struct Deployment(pub(crate) Arc<str>);

/// Gives a request at one of Azure's URLs the path that OpenAI has for it.
pub(crate) fn translate<B>(request: &mut Request<B>) {
    // Fast path: no other request is looked at.
    let Some(rest) = request.uri().path().strip_prefix(OPENAI) else {
        return;
    };
    if rest.starts_with(API) {
        let path = format!("/{rest}");
        let query = request.uri().query().map(str::to_owned);
        set(request, &path, query);
    } else if let Some(deployment) = deployment(rest) {
        let query = request.uri().query().and_then(without_version);
        request.extensions_mut().insert(Deployment(deployment));
        set(request, EMBEDDINGS, query);
    }
}

/// The deployment of `deployments/{deployment}/embeddings`, if it can be a model's name.
fn deployment(rest: &str) -> Option<Arc<str>> {
    let named = rest.strip_prefix(DEPLOYMENTS)?;
    let named = named.strip_suffix(OF_EMBEDDINGS)?;
    if named.contains('/') {
        return None;
    }
    let name = String::from_utf8(percent_decoded(named.as_bytes())).ok()?;
    let is_name = !name.is_empty() && name.len() <= MAX_MODEL_BYTES;
    // A segment that a proxy could resolve is no name.
    let is_plain = !name.contains(['/', '\\']) && name != "." && name != "..";
    (is_name && is_plain).then(|| name.into())
}

fn without_version(query: &str) -> Option<String> {
    let members = query.split('&').filter(|member| {
        let name = member.split('=').next().unwrap_or_default();
        !name.eq_ignore_ascii_case(API_VERSION)
    });
    let rest: Vec<&str> = members.collect();
    (!rest.is_empty()).then(|| rest.join("&"))
}

fn set<B>(request: &mut Request<B>, path: &str, query: Option<String>) {
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    // Parts of a URL that was read are read once more.
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(target: &'static str) -> (String, Option<String>) {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_static(target);
        translate(&mut request);
        let deployment = request.extensions().get::<Deployment>();
        let deployment = deployment.map(|deployment| deployment.0.to_string());
        (request.uri().to_string(), deployment)
    }

    #[test]
    fn azures_urls_are_openais() {
        for (target, path, deployment) in [
            (
                "/openai/deployments/small/embeddings?api-version=2024-02-01",
                "/v1/embeddings",
                Some("small"),
            ),
            (
                "/openai/deployments/a%20b/embeddings?x=1&API-Version=2024-02-01&y=2",
                "/v1/embeddings?x=1&y=2",
                Some("a b"),
            ),
            (
                "http://gateway/openai/deployments/small/embeddings",
                "http://gateway/v1/embeddings",
                Some("small"),
            ),
            ("/openai/v1/embeddings", "/v1/embeddings", None),
            (
                "/openai/v1/models?api-version=preview",
                "/v1/models?api-version=preview",
                None,
            ),
        ] {
            let expected = (path.to_owned(), deployment.map(str::to_owned));
            assert_eq!(translated(target), expected, "{target}");
        }
    }

    #[test]
    fn other_urls_stay_as_they_are() {
        for target in [
            "/v1/embeddings",
            "/openai",
            "/openai/v1",
            "/openai/deployments/small/chat/completions",
            "/openai/deployments//embeddings",
            "/openai/deployments/a/b/embeddings",
            "/openai/deployments/a%2fb/embeddings",
            "/openai/deployments/%2e%2e/embeddings",
            "/openai/deployments/%ff/embeddings",
            "/openai/deployments/small/embeddings/",
            "/Openai/v1/embeddings",
        ] {
            assert_eq!(translated(target), (target.to_owned(), None), "{target}");
        }
    }
}
