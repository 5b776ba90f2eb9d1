//! The standard variables of `OpenTelemetry`, as far as traces go.
//!
//! Read here, because the libraries treat a value that they do not understand as absent.

mod batching;

use std::path::PathBuf;
use std::time::Duration;

use http::header::HeaderMap;
use reqwest::Url;

pub use self::batching::Batching;
use self::batching::milliseconds;
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
    pub batching: Batching,
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
            value::headers,
        );
        let timeout = own_or_general(
            reader,
            &var::OTEL_EXPORTER_OTLP_TRACES_TIMEOUT,
            &var::OTEL_EXPORTER_OTLP_TIMEOUT,
            milliseconds,
        );
        let endpoint = endpoint(reader, protocol);
        let ca_file = ca_file(reader);
        let attributes = attributes(reader);
        let sampling = sampling(reader);
        let batching = Batching::read(reader);
        let exporter = reader.read(&var::OTEL_TRACES_EXPORTER, exports);
        let disabled = reader.read(&var::OTEL_SDK_DISABLED, |value| {
            value::boolean(&value.to_ascii_lowercase())
        });
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
            batching: batching?,
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

fn protocol(value: &str) -> Result<OtlpProtocol, String> {
    match &*value.to_ascii_lowercase() {
        "http/protobuf" => Ok(OtlpProtocol::Http),
        "grpc" => Ok(OtlpProtocol::Grpc),
        _ => Err("must be http/protobuf or grpc".into()),
    }
}

fn exports(value: &str) -> Result<bool, String> {
    match &*value.to_ascii_lowercase() {
        "otlp" => Ok(true),
        "none" => Ok(false),
        _ => Err("must be otlp or none".into()),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, OtlpProtocol, RootSampler, Sampling, Tracing};

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/base/");

    fn read(variables: &[(&str, &str)]) -> Option<Tracing> {
        let variables = variables.iter().copied();
        let given = variables.map(|(name, value)| (name.into(), value.into()));
        Config::from_variables(given).unwrap().tracing
    }

    fn problems(variables: &[(&str, &str)]) -> Vec<&'static str> {
        let variables = variables.iter().copied();
        let given = variables.map(|(name, value)| (name.into(), value.into()));
        let problems = Config::from_variables(given).unwrap_err();
        problems.iter().map(|problem| problem.variable).collect()
    }

    #[test]
    fn the_standard_path_is_added_to_the_general_endpoint_only() {
        assert!(read(&[]).is_none());
        let general = read(&[ENDPOINT]).unwrap();
        assert_eq!(
            general.endpoint.as_str(),
            "http://collector:4318/base/v1/traces"
        );
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other/x");
        assert_eq!(
            read(&[ENDPOINT, own]).unwrap().endpoint.as_str(),
            "https://other/x"
        );
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        let grpc = read(&[ENDPOINT, grpc]).unwrap();
        assert_eq!(grpc.protocol, OtlpProtocol::Grpc);
        assert_eq!(grpc.endpoint.path(), "/base");
    }

    #[test]
    fn what_is_for_traces_alone_counts_more() {
        let tracing = read(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "b=2%3D,c=%20"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2"),
        ]);
        let tracing = tracing.unwrap();
        assert!(!tracing.headers.contains_key("a"));
        assert_eq!(tracing.headers["b"], "2=");
        assert_eq!(tracing.timeout.as_millis(), 2);
        assert!(!format!("{tracing:?}").contains("2="), "headers hold keys");
    }

    #[test]
    fn the_service_has_one_name() {
        let name = |variables: &[(&str, &str)]| {
            let all = [&[ENDPOINT], variables].concat();
            let attributes = read(&all).unwrap().attributes;
            let mut names = attributes
                .into_iter()
                .filter(|(name, _)| name == "service.name");
            let name = names.next().unwrap().1;
            assert!(names.next().is_none());
            name
        };
        let attribute = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,x=y");
        assert_eq!(name(&[]), "embedding-gateway");
        assert_eq!(name(&[attribute]), "a");
        assert_eq!(name(&[attribute, ("OTEL_SERVICE_NAME", "b")]), "b");
    }

    #[test]
    fn samplers_have_their_standard_names() {
        let arg = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
        for (name, root, by_parent) in [
            ("always_on", RootSampler::All, false),
            ("always_off", RootSampler::None, false),
            ("traceidratio", RootSampler::Ratio(0.25), false),
            ("parentbased_always_on", RootSampler::All, true),
            ("parentbased_always_off", RootSampler::None, true),
            ("parentbased_traceidratio", RootSampler::Ratio(0.25), true),
        ] {
            let tracing = read(&[ENDPOINT, arg, ("OTEL_TRACES_SAMPLER", name)]);
            assert_eq!(tracing.unwrap().sampling, Sampling { root, by_parent });
        }
    }

    #[test]
    fn words_of_the_standard_are_taken_in_either_case() {
        assert!(read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")]).is_none());
        let name = ("OTEL_TRACES_SAMPLER", "Always_Off");
        let tracing = read(&[ENDPOINT, name, ("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC")]);
        let tracing = tracing.unwrap();
        assert_eq!(tracing.sampling.root, RootSampler::None);
        assert_eq!(tracing.protocol, OtlpProtocol::Grpc);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "key"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_SDK_DISABLED", "yes"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=x"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100000000000"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "2KiB"),
            ("OTEL_BSP_SCHEDULE_DELAY", "0"),
            ("TRACE_UPSTREAM", "1"),
        ] {
            assert_eq!(problems(&[ENDPOINT, (name, value)]), [name], "{value}");
        }
    }
}
