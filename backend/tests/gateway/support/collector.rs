//! A collector of traces that speaks both transports of OTLP, and records exports.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::transport::server::TcpIncoming;

/// The two transports.
pub const PROTOCOLS: [&str; 2] = ["http/protobuf", "grpc"];

pub struct Collector {
    pub url: String,
    protocol: &'static str,
    told: Arc<Told>,
    _server: JoinSet<()>,
}

/// The exports so far, and how many more it answers.
struct Told {
    exports: Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>,
    answers: Semaphore,
}

impl Collector {
    pub async fn start(protocol: &'static str) -> Self {
        let collector = Self::start_silent(protocol).await;
        collector.speak();
        collector
    }

    /// A collector that takes exports and does not answer them.
    pub async fn start_silent(protocol: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let told = Arc::new(Told {
            exports: Mutex::default(),
            answers: Semaphore::new(0),
        });
        let mut server = JoinSet::new();
        let teller = Arc::clone(&told);
        match protocol {
            "grpc" => server.spawn(async move {
                let service = TraceServiceServer::new(Grpc(teller));
                let server = tonic::transport::Server::builder().add_service(service);
                let incoming = TcpIncoming::from(listener);
                server.serve_with_incoming(incoming).await.unwrap();
            }),
            _ => server.spawn(async move {
                let router = Router::new().fallback(take).with_state(teller);
                axum::serve(listener, router).await.unwrap();
            }),
        };
        Self {
            url,
            protocol,
            told,
            _server: server,
        }
    }

    /// From now on it answers.
    pub fn speak(&self) {
        self.told.answers.add_permits(100_000);
    }

    /// The gateway's variables for this collector.
    pub fn variables(&self) -> Vec<(&str, &str)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &self.url),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", self.protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=a%20key"),
            ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=pod-1"),
        ]
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let exports = self.told.exports.lock().unwrap();
        let resources = exports
            .iter()
            .flat_map(|(_, export)| &export.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The one span of that name.
    #[track_caller]
    pub fn span(&self, name: &str) -> Span {
        let named = |span: &Span| span.name == name;
        let found: Vec<Span> = self.spans().into_iter().filter(named).collect();
        assert_eq!(found.len(), 1, "{name}: {:?}", self.names());
        found[0].clone()
    }

    /// The names of all spans, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.spans().into_iter().map(|span| span.name).collect();
        names.sort();
        names
    }

    /// The headers and the resource of the first export.
    pub fn first_export(&self) -> (HeaderMap, Vec<KeyValue>) {
        let exports = self.told.exports.lock().unwrap();
        let (headers, export) = &exports[0];
        let resource = export.resource_spans[0].resource.clone().unwrap();
        (headers.clone(), resource.attributes)
    }

    /// All exports as one text, for searches.
    pub fn everything(&self) -> String {
        format!("{:?}", self.told.exports.lock().unwrap())
    }
}

/// An attribute, written out; empty if there is none.
pub fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    found.map_or_else(String::new, |found| written(found.value.as_ref()))
}

fn written(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::ArrayValue(values)) => {
            let values = values.values.iter();
            let values: Vec<_> = values.map(|value| written(Some(value))).collect();
            values.join(",")
        }
        other => format!("{other:?}"),
    }
}

async fn take(State(told): State<Arc<Told>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    assert_eq!(parts.uri.path(), "/v1/traces");
    assert_eq!(parts.headers[CONTENT_TYPE], "application/x-protobuf");
    let body = body.collect().await.unwrap().to_bytes();
    let export = ExportTraceServiceRequest::decode(body).unwrap();
    told.exports.lock().unwrap().push((parts.headers, export));
    told.answers.acquire().await.unwrap().forget();
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    (
        StatusCode::OK,
        [(CONTENT_TYPE, "application/x-protobuf")],
        answer,
    )
        .into_response()
}

struct Grpc(Arc<Told>);

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let headers = request.metadata().clone().into_headers();
        let export = (headers, request.into_inner());
        self.0.exports.lock().unwrap().push(export);
        self.0.answers.acquire().await.unwrap().forget();
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}
