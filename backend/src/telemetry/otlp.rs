//! Exports traces to a collector: OTLP over HTTP or gRPC.

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use tokio::runtime::Handle;

use crate::config::{OtlpProtocol, Tracing};
use crate::http::authorities::{self, CaFileError};
use crate::http::client::http_client;

/// Bound on a collector's answer, which says how many spans it rejected, and why.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Traces cannot be exported as the configuration says.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ExporterError {
    #[error("traces: {0}")]
    Exporter(#[from] ExporterBuildError),
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE: {0}")]
    Authorities(#[from] CaFileError),
    #[error("the HTTP client for traces cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

/// The exporter as configured. Needs the runtime's context.
pub(super) fn exporter(config: &Tracing) -> Result<SpanExporter, ExporterError> {
    let (endpoint, timeout) = (config.endpoint.as_str(), config.timeout);
    Ok(match config.protocol {
        OtlpProtocol::Grpc => SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(timeout)
            .with_metadata(MetadataMap::from_headers(config.headers.clone()))
            .with_tls_config(tls(config)?)
            .build()?,
        OtlpProtocol::Http => SpanExporter::builder()
            .with_http()
            .with_http_client(Poster::new(config)?)
            .with_endpoint(endpoint)
            .with_timeout(timeout)
            .build()?,
    })
}

/// The authorities for gRPC over TLS: tonic trusts none by default.
fn tls(config: &Tracing) -> Result<ClientTlsConfig, CaFileError> {
    let own = config
        .ca_file
        .as_deref()
        .map(authorities::pem_in)
        .transpose()?;
    let own = own.map(Certificate::from_pem);
    Ok(ClientTlsConfig::new()
        .with_enabled_roots()
        .ca_certificates(own))
}

/// The gateway's HTTP client for the exporter, whose thread is outside the runtime.
#[derive(Debug)]
struct Poster {
    client: reqwest::Client,
    runtime: Handle,
}

impl Poster {
    fn new(config: &Tracing) -> Result<Self, ExporterError> {
        let own = config.ca_file.as_deref().map(authorities::authorities_in);
        let client = http_client()
            .tls_certs_merge(own.transpose()?.unwrap_or_default())
            .timeout(config.timeout)
            .default_headers(config.headers.clone())
            .build()?;
        let runtime = Handle::current();
        Ok(Self { client, runtime })
    }
}

#[async_trait]
impl HttpClient for Poster {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = self.runtime.spawn(async move {
            let answer: Response<reqwest::Body> = client.execute(request.try_into()?).await?.into();
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        });
        sending.await?
    }
}
