//! Attributes of spans by `OpenTelemetry`'s semantic conventions for HTTP and for generative AI.
//! Attributes without a convention begin with `embedding_gateway`.

use std::sync::Arc;

use http::{Method, Request, Uri, Version};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use reqwest::Url;

use super::Route;
use super::request_record::EmbeddingOutcome;
use crate::embeddings::request::EmbeddingRequest;
use crate::http::paths::EMBEDDINGS;

/// Longer paths are cut off.
const MAX_PATH_BYTES: usize = 256;

/// Longer names of upstreams are cut off.
const MAX_NAME_BYTES: usize = 128;

/// Longer URLs are cut off, because spans wait in memory.
const MAX_URL_BYTES: usize = 512;

/// Stands for an unknown method.
const OTHER_METHOD: &str = "_OTHER";

/// A name and a value, if the value is known.
pub type Attribute = Option<KeyValue>;

/// An attribute.
pub fn attribute(name: &'static str, value: impl Into<Value>) -> Attribute {
    Some(KeyValue::new(name, value))
}

fn optional(name: &'static str, value: Option<impl Into<Value>>) -> Attribute {
    value.map(|value| KeyValue::new(name, value))
}

/// A count, as OTLP encodes it.
pub fn count(name: &'static str, count: usize) -> Attribute {
    attribute(name, i64::try_from(count).unwrap_or(i64::MAX))
}

/// A known method's name: clients may invent methods of any length.
pub fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PURGE" => "PURGE",
        _ => OTHER_METHOD,
    }
}

/// The method in a span's name: the conventions name unknown methods `HTTP`.
pub fn span_name(method: &Method) -> &'static str {
    match method_name(method) {
        OTHER_METHOD => "HTTP",
        known => known,
    }
}

/// The path without the query, which may hold a key.
pub fn path(uri: &Uri) -> &str {
    beginning(uri.path(), MAX_PATH_BYTES)
}

fn beginning(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// The route's template, which has few different values.
pub fn route_template(route: Route) -> Option<&'static str> {
    match route {
        Route::Embeddings => Some(EMBEDDINGS),
        Route::Passthrough => Some("/v1/{path}"),
        Route::Purge | Route::Other => None,
    }
}

/// The attributes of a request when it begins.
pub fn request<B>(route: Route, request: &Request<B>) -> [Attribute; 5] {
    let version = match request.version() {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    [
        attribute("http.request.method", method_name(request.method())),
        optional("http.route", route_template(route)),
        attribute("url.path", path(request.uri()).to_owned()),
        attribute("url.scheme", "http"),
        attribute("network.protocol.version", version),
    ]
}

/// The attributes of an embeddings request.
pub fn embeddings(request: &EmbeddingRequest) -> [Attribute; 5] {
    let format: StringValue = request.encoding.unwrap_or_default().name().into();
    let formats = Value::Array(Array::String(vec![format]));
    [
        attribute("gen_ai.operation.name", "embeddings"),
        attribute("gen_ai.provider.name", "openai"),
        attribute("gen_ai.request.model", Arc::clone(&request.model)),
        attribute("gen_ai.request.encoding_formats", formats),
        optional(
            "gen_ai.embeddings.dimension.count",
            request.dimensions.map(i64::from),
        ),
    ]
}

/// The attributes of its outcome.
pub fn outcome(outcome: &EmbeddingOutcome) -> [Attribute; 7] {
    let tokens = |name, tokens| attribute(name, i64::try_from(tokens).unwrap_or(i64::MAX));
    [
        tokens("gen_ai.usage.input_tokens", outcome.nominal_tokens),
        tokens("embedding_gateway.billed_tokens", outcome.billed_tokens),
        count("embedding_gateway.inputs.memory", outcome.tally.memory),
        count("embedding_gateway.inputs.store", outcome.tally.store),
        count("embedding_gateway.inputs.miss", outcome.tally.miss),
        count(
            "embedding_gateway.inputs.collapsed",
            outcome.tally.collapsed,
        ),
        count("embedding_gateway.inputs.repeat", outcome.repeats),
    ]
}

/// The tokens that the upstream charged for a call.
pub fn charged(tokens: u64) -> [Attribute; 1] {
    let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
    [attribute("gen_ai.usage.input_tokens", tokens)]
}

/// The attributes of a call to the upstream when it begins.
pub fn call(method: &Method, url: &Url) -> [Attribute; 4] {
    let mut bare = url.clone();
    bare.set_query(None);
    let port = url.port_or_known_default().map(i64::from);
    [
        attribute("http.request.method", method_name(method)),
        optional("server.address", url.host_str().map(str::to_owned)),
        optional("server.port", port),
        attribute(
            "url.full",
            beginning(bare.as_str(), MAX_URL_BYTES).to_owned(),
        ),
    ]
}

/// The operator's name for the upstream that a call went to.
pub fn upstream(name: &str) -> Attribute {
    attribute(
        "embedding_gateway.upstream",
        beginning(name, MAX_NAME_BYTES).to_owned(),
    )
}

/// The names of those that were asked before it, in order.
pub fn failed_upstreams<'a>(names: impl Iterator<Item = &'a str>) -> Attribute {
    let names = names.map(|name| beginning(name, MAX_NAME_BYTES).to_owned().into());
    let names = Value::Array(Array::String(names.collect()));
    attribute("embedding_gateway.upstreams.failed", names)
}

/// A status.
pub fn status(status: u16) -> Attribute {
    attribute("http.response.status_code", i64::from(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_between_characters() {
        let long: Uri = format!("/{}", "é".repeat(200)).parse().unwrap();
        assert_eq!(path(&long).len(), MAX_PATH_BYTES - 1);
        assert_eq!(path(&Uri::from_static("/v1/x?key=secret")), "/v1/x");
    }

    #[test]
    fn unknown_methods_have_no_name() {
        assert_eq!(method_name(&Method::POST), "POST");
        assert_eq!(span_name(&Method::POST), "POST");
        let unknown = Method::from_bytes(b"secret").unwrap();
        assert_eq!(method_name(&unknown), "_OTHER");
        assert_eq!(span_name(&unknown), "HTTP");
    }

    #[test]
    fn a_call_is_told_without_its_query() {
        let url = "https://api.openai.com/v1/models?key=secret"
            .parse()
            .unwrap();
        let said = format!("{:?}", call(&Method::GET, &url));
        assert!(said.contains("https://api.openai.com/v1/models"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }

    #[test]
    fn a_call_to_a_long_address_is_told_in_short() {
        let url: Url = format!("http://x/{}", "é".repeat(30_000)).parse().unwrap();
        let told = call(&Method::GET, &url).into_iter().flatten();
        let lengths = told.map(|attribute| attribute.value.as_str().len());
        assert_eq!(lengths.max(), Some(MAX_URL_BYTES));
    }
}
