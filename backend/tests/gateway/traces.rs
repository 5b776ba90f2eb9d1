//! Traces, as a collector gets them; neither clients nor the upstream notice.

use std::time::{Duration, Instant as StdInstant};

use axum::body::Body;
use futures_util::future::join;
use http::{Request, StatusCode};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::failover::{self, both, refuses};
use crate::support::Setup;
use crate::support::bucket::Bucket;
use crate::support::clock::StoppedClock;
use crate::support::collector::{Collector, PROTOCOLS, attribute};
use crate::support::gateway::{Gateway, post, with};
use crate::support::upstream::{Upstream, embeddings, json_answer};
use crate::support::waiting::until;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const PATIENCE: Duration = Duration::from_secs(20);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn said(span: &Span, name: &str) -> String {
    attribute(&span.attributes, name)
}

async fn finish(gateway: &Gateway) {
    gateway.app.finish().await;
    gateway.app.finish_traces(Instant::now() + PATIENCE).await;
}

/// A gateway with `variables` that tells `collector`.
async fn start(upstream: &Upstream, collector: &Collector, variables: &[(&str, &str)]) -> Gateway {
    let mut all = collector.variables();
    all.extend(variables);
    Setup::new().with_all(&all).before(upstream).await
}

fn traced(flags: &str) -> Request<Body> {
    let request = post(&json!({"model": "m", "input": ["a", "b", "a"], "dimensions": 8}));
    with(
        request,
        "traceparent",
        &format!("00-{TRACE}-{PARENT}-{flags}"),
    )
}

#[tokio::test]
async fn a_request_is_one_trace_in_both_protocols() {
    for protocol in PROTOCOLS {
        let (upstream, bucket) = (Upstream::start().await, Bucket::start().await);
        let collector = Collector::start(protocol).await;
        // With a store, hits must be allowed, or the gateway does not look there.
        let mut variables = bucket.variables();
        variables.extend([("OPENAI_API_KEY", "sk-own"), ("ALLOW_ANONYMOUS", "true")]);
        let gateway = start(&upstream, &collector, &variables).await;
        assert_eq!(gateway.send(traced("01")).await.status, StatusCode::OK);
        finish(&gateway).await;

        let expected = [
            "POST /v1/embeddings",
            "embeddings m",
            "store look-up",
            "store write",
        ];
        assert_eq!(collector.names(), expected, "{protocol}");
        let server = collector.span("POST /v1/embeddings");
        assert_eq!(hex(&server.parent_span_id), PARENT);
        for span in collector.spans() {
            assert_eq!(hex(&span.trace_id), TRACE);
            let child = span.parent_span_id == server.span_id;
            assert!(child || span.span_id == server.span_id, "{}", span.name);
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        }
        check_server_span(&server);
        check_client_span(&collector.span("embeddings m"), &upstream);

        let (headers, resource) = collector.first_export();
        assert_eq!(headers["x-collector-key"], "a key");
        assert_eq!(attribute(&resource, "service.name"), "embedding-gateway");
        assert_eq!(attribute(&resource, "k8s.pod.name"), "pod-1");
    }
}

fn check_server_span(span: &Span) {
    assert_eq!(span.kind(), SpanKind::Server);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/embeddings"),
        ("url.path", "/v1/embeddings"),
        ("http.response.status_code", "200"),
        ("gen_ai.operation.name", "embeddings"),
        ("gen_ai.request.model", "m"),
        ("gen_ai.request.encoding_formats", "float"),
        ("gen_ai.embeddings.dimension.count", "8"),
        ("gen_ai.usage.input_tokens", "3"),
        ("embedding_gateway.billed_tokens", "2"),
        ("embedding_gateway.inputs.miss", "2"),
        ("embedding_gateway.inputs.repeat", "1"),
    ] {
        assert_eq!(said(span, name), value, "{name}");
    }
}

fn check_client_span(span: &Span, upstream: &Upstream) {
    assert_eq!(span.kind(), SpanKind::Client);
    let url = format!("{}/embeddings", upstream.url);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("server.address", "127.0.0.1"),
        ("url.full", &url),
        ("gen_ai.request.model", "m"),
        ("gen_ai.usage.input_tokens", "2"),
    ] {
        assert_eq!(said(span, name), value, "{name}");
    }
}

#[tokio::test]
async fn a_wait_for_another_requests_call_has_a_span() {
    let upstream = Upstream::start().await;
    upstream.answers(|call| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        embeddings(&call)
    });
    let collector = Collector::start(PROTOCOLS[0]).await;
    let gateway = start(&upstream, &collector, &[]).await;
    tokio::join!(gateway.send(traced("01")), gateway.send(traced("01")));
    finish(&gateway).await;
    assert_eq!(upstream.call_count(), 1);
    let wait = collector.span("coalesced wait");
    assert_eq!(said(&wait, "embedding_gateway.inputs"), "2");
}

#[tokio::test]
async fn a_call_that_requests_share_is_a_span_of_each_of_them() {
    let upstream = Upstream::start().await;
    let collector = Collector::start(PROTOCOLS[0]).await;
    let gateway = start(&upstream, &collector, &[("BATCH_WINDOW", "100ms")]).await;
    let ask = |input: &str| gateway.embed(json!({"model": "m", "input": input}));
    // Both are there before the window closes.
    let clock = StoppedClock::by(Duration::from_millis(1));
    clock.passes_until(join(ask("a"), ask("b"))).await;
    drop(clock);
    finish(&gateway).await;
    let (call, member) = (
        collector.span("embeddings m"),
        collector.span("shared call"),
    );
    assert_eq!(said(&call, "embedding_gateway.inputs"), "2");
    assert_eq!(said(&call, "embedding_gateway.requests"), "2");
    assert_eq!(said(&member, "embedding_gateway.inputs"), "1");
    assert_ne!(call.trace_id, member.trace_id);
}

#[tokio::test]
async fn what_goes_wrong_is_marked() {
    let upstream = Upstream::start().await;
    upstream
        .answers(|_| std::future::ready(json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({}))));
    let collector = Collector::start(PROTOCOLS[0]).await;
    let gateway = start(&upstream, &collector, &[]).await;
    gateway.send(traced("01")).await;
    finish(&gateway).await;
    for name in ["POST /v1/embeddings", "embeddings m"] {
        let span = collector.span(name);
        assert_eq!(said(&span, "error.type"), "503", "{name}");
        assert_eq!(said(&span, "http.response.status_code"), "503", "{name}");
        assert_eq!(span.status.unwrap().code(), SpanStatus::Error, "{name}");
    }
}

#[tokio::test]
async fn the_sampler_decides() {
    let cases = [
        (&[][..], "01", true),
        (&[], "00", false),
        (&[("OTEL_TRACES_SAMPLER", "always_on")], "00", true),
        (&[("OTEL_TRACES_SAMPLER", "always_off")], "01", false),
        (
            &[
                ("OTEL_TRACES_SAMPLER", "traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "0"),
            ],
            "01",
            false,
        ),
        (&[("OTEL_TRACES_EXPORTER", "none")], "01", false),
        (&[("OTEL_SDK_DISABLED", "true")], "01", false),
    ];
    for (variables, flags, expected) in cases {
        let upstream = Upstream::start().await;
        let collector = Collector::start(PROTOCOLS[0]).await;
        let gateway = start(&upstream, &collector, variables).await;
        gateway.send(traced(flags)).await;
        finish(&gateway).await;
        assert_eq!(
            !collector.spans().is_empty(),
            expected,
            "{variables:?} {flags}"
        );
    }
}

#[tokio::test]
async fn nothing_is_traced_without_an_endpoint() {
    let (upstream, gateway) = Setup::new().with("TRACE_UPSTREAM", "true").start().await;
    assert!(gateway.app.tracer.is_none());
    gateway.send(traced("01")).await;
    assert!(!upstream.calls()[0].headers.contains_key("traceparent"));
}

#[tokio::test]
async fn the_upstream_learns_of_traces_only_if_it_is_to() {
    for (tell, flags) in [("false", "01"), ("true", "01"), ("true", "00")] {
        let upstream = Upstream::start().await;
        let collector = Collector::start(PROTOCOLS[0]).await;
        let gateway = start(&upstream, &collector, &[("TRACE_UPSTREAM", tell)]).await;
        gateway.send(traced(flags)).await;
        let other = traced(flags).map(|_| Body::empty());
        let (mut head, body) = other.into_parts();
        head.uri = "/v1/models".parse().unwrap();
        upstream.answers_json(StatusCode::OK, json!({}));
        gateway.send(Request::from_parts(head, body)).await;
        finish(&gateway).await;

        let told = upstream.calls();
        let told = told.iter().map(|call| call.headers.get("traceparent"));
        let told: Vec<_> = told
            .flatten()
            .map(|value| value.to_str().unwrap())
            .collect();
        if tell == "false" {
            assert!(told.is_empty(), "{told:?}");
            continue;
        }
        assert_eq!(told.len(), 2);
        for value in &told {
            assert!(value.starts_with(&format!("00-{TRACE}-")), "{value}");
            assert!(value.ends_with(flags) && !value.contains(PARENT), "{value}");
        }
        if flags == "01" {
            let calls = [collector.span("embeddings m"), collector.span("POST")];
            for (value, span) in told.iter().zip(calls) {
                assert!(value.contains(&hex(&span.span_id)), "{value}");
            }
        }
    }
}

#[tokio::test]
async fn a_method_of_somebodys_own_names_no_span() {
    let upstream = Upstream::start().await;
    let collector = Collector::start(PROTOCOLS[0]).await;
    let gateway = start(&upstream, &collector, &[]).await;
    upstream.answers_json(StatusCode::OK, json!({}));
    let request = Request::builder().method("SECRET").uri("/v1/things");
    gateway.send(request.body(Body::empty()).unwrap()).await;
    finish(&gateway).await;
    assert_eq!(collector.names(), ["HTTP", "HTTP /v1/{path}"]);
    for span in collector.spans() {
        assert_eq!(said(&span, "http.request.method"), "_OTHER");
    }
}

#[tokio::test]
async fn a_traceparent_that_is_not_sound_begins_a_trace_of_its_own() {
    let upstream = Upstream::start().await;
    let collector = Collector::start(PROTOCOLS[0]).await;
    let gateway = start(&upstream, &collector, &[]).await;
    let sound = format!("00-{TRACE}-{PARENT}-01");
    for bad in [
        format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
        format!("{sound}-"),
        format!("00-{TRACE}-{PARENT}-+1"),
        format!("{sound}{}", "0".repeat(8000)),
    ] {
        let mut request = traced("01");
        let value = bad.parse().unwrap();
        request.headers_mut().insert("traceparent", value);
        gateway.send(request).await;
    }
    let twice = with(traced("01"), "traceparent", &sound);
    gateway.send(twice).await;
    finish(&gateway).await;

    let spans = collector.spans();
    let servers = spans.iter().filter(|span| span.kind() == SpanKind::Server);
    assert_eq!(servers.clone().count(), 5);
    for span in servers {
        assert!(span.parent_span_id.is_empty());
    }
    assert!(spans.iter().all(|span| hex(&span.trace_id) != TRACE));
}

#[tokio::test]
async fn a_callers_tracestate_goes_on_as_one_list_within_bounds() {
    let upstream = Upstream::start().await;
    let collector = Collector::start(PROTOCOLS[0]).await;
    let gateway = start(&upstream, &collector, &[("TRACE_UPSTREAM", "true")]).await;
    let long: Vec<_> = (0..2000).map(|n| format!("k{n}=v")).collect();
    let request = with(traced("01"), "tracestate", "a=1");
    let request = with(request, "tracestate", "b=2");
    gateway
        .send(with(request, "tracestate", &long.join(",")))
        .await;
    let call = &upstream.calls()[0];
    let told = call.headers["tracestate"].to_str().unwrap();
    assert!(told.starts_with("a=1,b=2,k0=v,"), "{told}");
    // As many as the standard has room for.
    assert_eq!(told.split(',').count(), 32);
}

#[tokio::test]
async fn no_key_and_no_input_is_told() {
    let upstream = Upstream::start().await;
    let collector = Collector::start(PROTOCOLS[0]).await;
    let gateway = start(&upstream, &collector, &[("TRACE_UPSTREAM", "true")]).await;
    let body = json!({"model": "m", "input": "a private text", "user": "end user"});
    for _ in 0..2 {
        let request = with(post(&body), "api-key", "sk-second-secret");
        assert_eq!(gateway.send(request).await.status, StatusCode::OK);
    }
    upstream.answers_json(StatusCode::OK, json!({}));
    let request = Request::get("/v1/models?key=sk-third-secret")
        .header("authorization", "Bearer sk-fourth-secret")
        .body(Body::empty());
    gateway.send(request.unwrap()).await;
    finish(&gateway).await;
    assert!(collector.spans().len() >= 4);
    let everything = collector.everything();
    for private in ["sk-", "private", "end user"] {
        assert!(!everything.contains(private), "{private}: {everything}");
    }
}

#[tokio::test]
async fn a_collector_that_is_dead_costs_no_request_anything() {
    for protocol in PROTOCOLS {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", gone.local_addr().unwrap());
        drop(gone);
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_BSP_SCHEDULE_DELAY", "1"),
        ];
        let (_upstream, gateway) = Setup::new().with_all(&variables).start().await;
        for _ in 0..20 {
            assert_eq!(gateway.send(traced("01")).await.status, StatusCode::OK);
        }
        let began = StdInstant::now();
        gateway.app.finish().await;
        let patience = Duration::from_secs(2);
        gateway.app.finish_traces(Instant::now() + patience).await;
        assert!(
            began.elapsed() < PATIENCE,
            "{protocol}: {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn a_collector_that_does_not_answer_costs_spans_only() {
    const QUEUE: usize = 16;
    for protocol in PROTOCOLS {
        let upstream = Upstream::start().await;
        let collector = Collector::start_silent(protocol).await;
        let variables = [
            ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16"),
            ("OTEL_BSP_SCHEDULE_DELAY", "1"),
        ];
        let gateway = start(&upstream, &collector, &variables).await;
        gateway.send(traced("01")).await;
        until(|| !collector.spans().is_empty()).await;
        let taken = collector.spans().len();
        for _ in 0..100 {
            assert_eq!(gateway.send(traced("01")).await.status, StatusCode::OK);
        }
        collector.speak();
        finish(&gateway).await;
        let told = collector.spans().len();
        assert!(
            told > taken && told <= taken + QUEUE,
            "{protocol}: {taken}, then {told}"
        );
    }
}

#[tokio::test]
async fn calls_name_the_upstream_that_was_asked_last_and_those_that_failed_before() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    a.answers(refuses(500, &[]));
    let collector = Collector::start(PROTOCOLS[0]).await;
    let setup = Setup::new().with_all(&collector.variables());
    let gateway = failover::start(setup, &both(&a.url, &b.url, "")).await;
    for body in [
        json!({"model": "m", "input": "own 1"}),
        json!({"model": "m", "input": "own 2", "odd": 1}),
    ] {
        assert_eq!(gateway.embed(body).await.status, StatusCode::OK);
    }
    finish(&gateway).await;
    let call = collector.span("embeddings m");
    let named = |span: &Span| said(span, "embedding_gateway.upstream");
    assert_eq!(named(&call), "b");
    assert_eq!(said(&call, "embedding_gateway.upstreams.failed"), "a");
    let url = format!("{}/embeddings", b.url);
    assert_eq!(said(&call, "url.full"), url);
    // What is passed on has a span for each upstream.
    let spans = collector.spans();
    let passed = spans.iter().filter(|span| span.name == "POST");
    assert_eq!(passed.map(named).collect::<Vec<_>>(), ["a", "b"]);
}
