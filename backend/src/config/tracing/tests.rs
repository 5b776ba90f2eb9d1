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
