//! The standard variables of `OpenTelemetry`, as far as traces go.
//!
//! We read them ourselves, because its libraries take what they do not understand for absent.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;

use super::reader::Reader;
use super::value;
use super::variables::{self as var, Variable};
use crate::percent;

/// What `OpenTelemetry` adds to an endpoint that is not for traces alone.
const TRACES_PATH: &str = "/v1/traces";

/// The name of us among the attributes.
const SERVICE_NAME: &str = "service.name";

/// Where traces go, and which.
#[derive(Debug)]
pub struct Tracing {
    /// Who takes them.
    pub endpoint: Url,
    /// How.
    pub protocol: OtlpProtocol,
    /// What goes along with each export. Keys among it, marked as sensitive.
    pub headers: HeaderMap,
    /// For one export.
    pub timeout: Duration,
    /// What traces say of us.
    pub attributes: Vec<(String, String)>,
    /// Which requests are traced.
    pub sampling: Sampling,
    /// How spans are exported together.
    pub batching: Batching,
    /// Whether the upstream learns of our traces.
    pub tells_upstream: bool,
}

/// The two ways of OTLP.
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
    /// Of those that do not belong to a trace yet, or of all.
    pub root: RootSampler,
    /// Whether those that do are traced as their caller is.
    pub by_parent: bool,
}

/// Which of all requests are traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RootSampler {
    /// All.
    All,
    /// None.
    None,
    /// This part of them.
    Ratio(f64),
}

/// How spans are exported together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Spans that may wait.
    pub queue: usize,
    /// Spans of one export.
    pub export: usize,
    /// Between two exports.
    pub delay: Duration,
}

impl Tracing {
    /// The outer `None` stands for a problem that was noted, the inner one for no traces.
    #[expect(clippy::option_option, reason = "as all parts are read")]
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Option<Self>> {
        let protocol = own_or_general(
            reader,
            &var::OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
            &var::OTEL_EXPORTER_OTLP_PROTOCOL,
            protocol,
        );
        let headers = own_or_general(
            reader,
            &var::OTEL_EXPORTER_OTLP_TRACES_HEADERS,
            &var::OTEL_EXPORTER_OTLP_HEADERS,
            headers,
        );
        let timeout = own_or_general(
            reader,
            &var::OTEL_EXPORTER_OTLP_TRACES_TIMEOUT,
            &var::OTEL_EXPORTER_OTLP_TIMEOUT,
            milliseconds,
        );
        let endpoint = endpoint(reader, protocol);
        let attributes = attributes(reader);
        let sampling = sampling(reader);
        let batching = Batching::read(reader);
        let exporter = reader.read(&var::OTEL_TRACES_EXPORTER, exports);
        let disabled = reader.read(&var::OTEL_SDK_DISABLED, value::boolean);
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
            attributes: attributes?,
            sampling: sampling?,
            batching: batching?,
            tells_upstream: tells_upstream?,
        }))
    }
}

impl Batching {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let queue = reader.read(&var::OTEL_BSP_MAX_QUEUE_SIZE, value::size);
        let export = reader.read(&var::OTEL_BSP_MAX_EXPORT_BATCH_SIZE, value::size);
        let delay = reader.read(&var::OTEL_BSP_SCHEDULE_DELAY, milliseconds);
        Some(Self {
            queue: queue?,
            export: export?,
            delay: delay?,
        })
    }
}

/// The variable for traces alone, else the one for everything, with its default.
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

fn attributes(reader: &mut Reader<'_>) -> Option<Vec<(String, String)>> {
    let given = reader.optional(&var::OTEL_RESOURCE_ATTRIBUTES, pairs);
    let mut attributes = given.unwrap_or_default();
    let named = attributes.iter().any(|(name, _)| name == SERVICE_NAME);
    let name = match named {
        true => reader.optional(&var::OTEL_SERVICE_NAME, value::text),
        false => reader.read(&var::OTEL_SERVICE_NAME, value::text),
    };
    // The variable of its own counts more.
    if let Some(name) = name {
        attributes.retain(|(other, _)| other != SERVICE_NAME);
        attributes.push((SERVICE_NAME.into(), name));
    }
    Some(attributes)
}

fn sampling(reader: &mut Reader<'_>) -> Option<Sampling> {
    let ratio = reader.read(&var::OTEL_TRACES_SAMPLER_ARG, ratio);
    let name = reader.read(&var::OTEL_TRACES_SAMPLER, value::text)?;
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

fn protocol(value: &str) -> Result<OtlpProtocol, String> {
    match value {
        "http/protobuf" => Ok(OtlpProtocol::Http),
        "grpc" => Ok(OtlpProtocol::Grpc),
        _ => Err("must be http/protobuf or grpc".into()),
    }
}

fn exports(value: &str) -> Result<bool, String> {
    match value {
        "otlp" => Ok(true),
        "none" => Ok(false),
        _ => Err("must be otlp or none".into()),
    }
}

fn milliseconds(value: &str) -> Result<Duration, String> {
    let number = value
        .parse()
        .map_err(|_| "must be a number of milliseconds");
    Ok(Duration::from_millis(number?))
}

fn ratio(value: &str) -> Result<f64, String> {
    let ratio = value.parse().ok();
    ratio
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| "must be a number from 0 to 1".into())
}

/// `name=value,…`, values percent-encoded (W3C Baggage).
fn pairs(value: &str) -> Result<Vec<(String, String)>, String> {
    let members = value.split(',').filter(|member| !member.trim().is_empty());
    let pair = |member: &str| {
        let (name, value) = member.split_once('=')?;
        let value = String::from_utf8(percent::decoded(value.trim().as_bytes())).ok()?;
        Some((name.trim().to_owned(), value)).filter(|(name, _)| !name.is_empty())
    };
    let pairs: Option<_> = members.map(pair).collect();
    pairs.ok_or_else(|| "must be of the form name=value,name=value".into())
}

fn headers(value: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(value)? {
        let name: Option<HeaderName> = name.parse().ok();
        let value = HeaderValue::try_from(value).ok();
        let (name, mut value) = name.zip(value).ok_or("holds what no header may hold")?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}
