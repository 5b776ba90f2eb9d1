//! The standard variables of `OpenTelemetry`, as far as traces go.
//!
//! Read here, because the libraries treat a value that they do not understand as absent.

mod span_batches;

use std::path::PathBuf;
use std::time::Duration;

use http::header::HeaderMap;
use reqwest::Url;

pub use self::span_batches::SpanBatches;
use self::span_batches::milliseconds;
use super::reader::Reader;
use super::value;
use super::variables::{self as var, Variable};

/// The path that `OpenTelemetry` adds to an endpoint for all signals.
const TRACES_PATH: &str = "/v1/traces";

/// The resource attribute that names the service.
const SERVICE_NAME: &str = "service.name";

/// Which traces go where.
#[derive(Debug)]
pub struct Tracing {
    /// The collector.
    pub endpoint: Url,
    /// The form of an export.
    pub protocol: OtlpProtocol,
    /// Headers of each export, marked as sensitive: some hold keys.
    pub headers: HeaderMap,
    /// How long one export may take.
    pub timeout: Duration,
    /// Authorities that may certify the collector, besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// Resource attributes: how traces describe the gateway.
    pub attributes: Vec<(String, String)>,
    /// Which requests are traced.
    pub sampling: Sampling,
    /// How spans are exported together.
    pub span_batches: SpanBatches,
    /// Whether calls tell the upstream their trace.
    pub tells_upstream: bool,
}

/// The two transports of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// Protobuf in the body of a POST.
    Http,
    /// gRPC.
    Grpc,
}

/// Which requests are traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// For requests without a trace of their own; for all, unless `by_parent`.
    pub root: RootSampler,
    /// Whether the client's `traceparent` decides, if there is one.
    pub by_parent: bool,
}

/// Which requests are traced, whatever their `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RootSampler {
    /// All.
    All,
    /// None.
    None,
    /// This part of them.
    Ratio(f64),
}

impl Tracing {
    /// `None` after a problem; `Some(None)` if the operator turned traces off.
    #[expect(clippy::option_option, reason = "as all parts are read")]
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Option<Self>> {
        let protocol = protocol(reader);
        let headers = headers(reader);
        let timeout = timeout(reader);
        let endpoint = endpoint(reader, protocol);
        let ca_file = ca_file(reader);
        let attributes = attributes(reader);
        let sampling = sampling(reader);
        let span_batches = SpanBatches::read(reader);
        let exporter = reader.read(&var::OTEL_TRACES_EXPORTER, exports);
        let disabled = reader.read(&var::OTEL_SDK_DISABLED, any_case_boolean);
        let tells_upstream = reader.read(&var::TRACE_UPSTREAM, value::boolean);
        let Some(endpoint) = endpoint.filter(|_| exporter == Some(true) && disabled == Some(false))
        else {
            return Some(None);
        };
        Some(Some(Self {
            endpoint,
            protocol: protocol?,
            headers: headers?,
            timeout: timeout?,
            ca_file,
            attributes: attributes?,
            sampling: sampling?,
            span_batches: span_batches?,
            tells_upstream: tells_upstream?,
        }))
    }
}

/// The variable for traces alone, else the one for all signals, with its default.
fn own_or_general<T>(
    reader: &mut Reader<'_>,
    own: &Variable,
    general: &Variable,
    parse: impl Fn(&str) -> Result<T, String> + Copy,
) -> Option<T> {
    match reader.given.contains_key(own.name) {
        true => reader.optional(own, parse),
        false => reader.read(general, parse),
    }
}

fn protocol(reader: &mut Reader<'_>) -> Option<OtlpProtocol> {
    let own = &var::OTEL_EXPORTER_OTLP_TRACES_PROTOCOL;
    own_or_general(reader, own, &var::OTEL_EXPORTER_OTLP_PROTOCOL, transport)
}

fn headers(reader: &mut Reader<'_>) -> Option<HeaderMap> {
    let own = &var::OTEL_EXPORTER_OTLP_TRACES_HEADERS;
    own_or_general(
        reader,
        own,
        &var::OTEL_EXPORTER_OTLP_HEADERS,
        value::headers,
    )
}

fn timeout(reader: &mut Reader<'_>) -> Option<Duration> {
    let own = &var::OTEL_EXPORTER_OTLP_TRACES_TIMEOUT;
    own_or_general(reader, own, &var::OTEL_EXPORTER_OTLP_TIMEOUT, milliseconds)
}

fn endpoint(reader: &mut Reader<'_>, protocol: Option<OtlpProtocol>) -> Option<Url> {
    let general = reader.optional(&var::OTEL_EXPORTER_OTLP_ENDPOINT, value::base_url);
    let own = reader.optional(&var::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, value::base_url);
    let general = general.map(|mut url| {
        // gRPC names its own path.
        if protocol == Some(OtlpProtocol::Http) {
            let path = format!("{}{TRACES_PATH}", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        url
    });
    own.or(general)
}

fn ca_file(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let general = reader.optional(&var::OTEL_EXPORTER_OTLP_CERTIFICATE, value::path);
    let own = reader.optional(&var::OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE, value::path);
    own.or(general)
}

fn attributes(reader: &mut Reader<'_>) -> Option<Vec<(String, String)>> {
    let given = reader.optional(&var::OTEL_RESOURCE_ATTRIBUTES, value::pairs);
    let mut attributes = given.unwrap_or_default();
    let named = attributes.iter().any(|(name, _)| name == SERVICE_NAME);
    let name = match named {
        true => reader.optional(&var::OTEL_SERVICE_NAME, value::text),
        false => reader.read(&var::OTEL_SERVICE_NAME, value::text),
    };
    // `OTEL_SERVICE_NAME` wins over the attribute.
    if let Some(name) = name {
        attributes.retain(|(other, _)| other != SERVICE_NAME);
        attributes.push((SERVICE_NAME.into(), name));
    }
    Some(attributes)
}

fn sampling(reader: &mut Reader<'_>) -> Option<Sampling> {
    let ratio = reader.read(&var::OTEL_TRACES_SAMPLER_ARG, value::ratio);
    let name = reader.read(&var::OTEL_TRACES_SAMPLER, value::text)?;
    let name = name.to_ascii_lowercase();
    let parent = name.strip_prefix("parentbased_");
    let root = match parent.unwrap_or(&name) {
        "always_on" => RootSampler::All,
        "always_off" => RootSampler::None,
        "traceidratio" => RootSampler::Ratio(ratio?),
        _ => {
            let reason = "must be always_on, always_off or traceidratio, or one of these \
                          with parentbased_ in front";
            reader.refuse(&var::OTEL_TRACES_SAMPLER, reason);
            return None;
        }
    };
    Some(Sampling {
        root,
        by_parent: parent.is_some(),
    })
}

fn transport(value: &str) -> Result<OtlpProtocol, String> {
    match &*value.to_ascii_lowercase() {
        "http/protobuf" => Ok(OtlpProtocol::Http),
        "grpc" => Ok(OtlpProtocol::Grpc),
        _ => Err("must be http/protobuf or grpc".into()),
    }
}

fn any_case_boolean(value: &str) -> Result<bool, String> {
    value::boolean(&value.to_ascii_lowercase())
}

fn exports(value: &str) -> Result<bool, String> {
    match &*value.to_ascii_lowercase() {
        "otlp" => Ok(true),
        "none" => Ok(false),
        _ => Err("must be otlp or none".into()),
    }
}

#[cfg(test)]
mod tests;
