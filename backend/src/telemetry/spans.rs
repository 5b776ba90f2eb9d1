//! Traces: where each request spent its time. Without a tracer they cost nothing.
//!
//! Spans are made by hand, not from log lines, so that a request that is not sampled costs no more
//! than a random number. They hold no input, no vector and no key.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::HeaderMap;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderInjector;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan,
};

use super::otlp::{self, ExporterError};
use super::semantics::Attribute;
use super::trace_context::TraceContext;
use super::trace_id::TraceId;
use crate::config::{RootSampler, Sampling, SpanBatches, Tracing};

/// The instrumentation scope of all spans.
const SCOPE: &str = env!("CARGO_PKG_NAME");

/// Makes spans and exports them.
#[derive(Debug)]
pub struct Tracer {
    provider: SdkTracerProvider,
    sdk: SdkTracer,
    propagator: TraceContextPropagator,
    tells_upstream: bool,
}

/// One request's span and its context; empty if neither a collector nor the upstream learns of it.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Arc<Traced>>);

#[derive(Debug)]
struct Traced {
    tracer: Arc<Tracer>,
    context: SpanContext,
    /// The request's own span; none if the request is not sampled, or has ended.
    span: Mutex<Option<SdkSpan>>,
}

/// A span of work for a request. Its drop ends it.
#[derive(Debug, Default)]
pub struct Span {
    sdk: Option<SdkSpan>,
    trace: Trace,
}

impl Tracer {
    /// Starts the exporter. Needs the runtime's context.
    pub fn start(config: &Tracing) -> Result<Arc<Self>, ExporterError> {
        let processor = BatchSpanProcessor::builder(otlp::exporter(config)?)
            .with_batch_config(batch_config(config.span_batches))
            .build();
        let attributes = config.attributes.iter();
        let attributes = attributes.map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(sampler(config.sampling))
            .with_resource(
                Resource::builder_empty()
                    .with_attributes(attributes)
                    .build(),
            )
            .build();
        Ok(Arc::new(Self {
            sdk: provider.tracer(SCOPE),
            provider,
            propagator: TraceContextPropagator::new(),
            tells_upstream: config.tells_upstream,
        }))
    }

    /// A request's trace, continued from the client's `traceparent` if there is one, and its id.
    pub fn trace(self: &Arc<Self>, name: &'static str, headers: &HeaderMap) -> (Trace, TraceId) {
        let none = Context::new();
        let parent = match TraceContext::of(headers) {
            Some(caller) => self.propagator.extract_with_context(&none, &caller),
            None => none,
        };
        let builder = self.sdk.span_builder(name).with_kind(SpanKind::Server);
        let span = self.sdk.build_with_context(builder, &parent);
        let context = span.span_context();
        let id = TraceId::from_bytes(context.trace_id().to_bytes());
        // Neither a collector nor the upstream would learn of this trace.
        if !span.is_recording() && !self.tells_upstream {
            return (Trace::default(), id);
        }
        let trace = Trace(Some(Arc::new(Traced {
            tracer: Arc::clone(self),
            context: context.clone(),
            span: Mutex::new(Some(span).filter(SdkSpan::is_recording)),
        })));
        (trace, id)
    }

    /// Exports the last spans and stops. Blocks for at most `patience`.
    pub fn finish(&self, patience: Duration) -> OTelSdkResult {
        self.provider.shutdown_with_timeout(patience)
    }
}

impl Trace {
    /// Whether the request is sampled.
    pub fn is_recorded(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|traced| traced.context.is_sampled())
    }

    /// Sets attributes of the request's span. Calls `attributes` only if it is sampled.
    pub fn describe<const N: usize>(&self, attributes: impl FnOnce() -> [Attribute; N]) {
        self.with_span(|span| span.set_attributes(attributes().into_iter().flatten()));
    }

    /// Renames the request's span.
    pub fn rename(&self, name: impl FnOnce() -> String) {
        self.with_span(|span| span.update_name(name()));
    }

    /// Marks the request's span as failed by the server. `reason` is one word.
    pub fn fail(&self, reason: &str) {
        self.with_span(|span| fail(span, reason));
    }

    /// Ends the request's span. Work that goes on has spans of its own.
    pub fn end(&self) {
        if let Some(traced) = &self.0 {
            drop(traced.span().take());
        }
    }

    /// Begins a span of work for the request. Calls `name` only if the request is sampled.
    pub fn span<Name: Into<Cow<'static, str>>>(
        &self,
        kind: SpanKind,
        name: impl FnOnce() -> Name,
    ) -> Span {
        let sdk = self
            .0
            .as_ref()
            .filter(|_| self.is_recorded())
            .map(|traced| {
                let parent = Context::new().with_remote_span_context(traced.context.clone());
                let builder = traced.tracer.sdk.span_builder(name()).with_kind(kind);
                traced.tracer.sdk.build_with_context(builder, &parent)
            });
        let trace = self.clone();
        Span { sdk, trace }
    }

    fn with_span(&self, act: impl FnOnce(&mut SdkSpan)) {
        if let Some(traced) = self.0.as_ref().filter(|_| self.is_recorded())
            && let Some(span) = &mut *traced.span()
        {
            act(span);
        }
    }
}

impl Traced {
    fn span(&self) -> MutexGuard<'_, Option<SdkSpan>> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Span {
    /// Sets attributes of the span. Calls `attributes` only if the request is sampled.
    pub fn describe<const N: usize>(&mut self, attributes: impl FnOnce() -> [Attribute; N]) {
        if let Some(span) = &mut self.sdk {
            span.set_attributes(attributes().into_iter().flatten());
        }
    }

    /// Marks the work as failed. `reason` is one word.
    pub fn fail(&mut self, reason: &str) {
        if let Some(span) = &mut self.sdk {
            fail(span, reason);
        }
    }

    /// Sets `traceparent` for the upstream, if the operator allows it.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let Some(traced) = self
            .trace
            .0
            .as_ref()
            .filter(|traced| traced.tracer.tells_upstream)
        else {
            return;
        };
        let own = self.sdk.as_ref().map(SdkSpan::span_context);
        let context = own.unwrap_or(&traced.context).clone();
        let context = Context::new().with_remote_span_context(context);
        let propagator = &traced.tracer.propagator;
        propagator.inject_context(&context, &mut HeaderInjector(headers));
    }
}

fn fail(span: &mut SdkSpan, reason: &str) {
    span.set_attribute(KeyValue::new("error.type", reason.to_owned()));
    span.set_status(Status::error(""));
}

fn sampler(sampling: Sampling) -> Sampler {
    let root = match sampling.root {
        RootSampler::All => Sampler::AlwaysOn,
        RootSampler::None => Sampler::AlwaysOff,
        RootSampler::Ratio(ratio) => Sampler::TraceIdRatioBased(ratio),
    };
    match sampling.by_parent {
        true => Sampler::ParentBased(Box::new(root)),
        false => root,
    }
}

fn batch_config(batches: SpanBatches) -> opentelemetry_sdk::trace::BatchConfig {
    BatchConfigBuilder::default()
        .with_max_queue_size(batches.queue)
        .with_max_export_batch_size(batches.export.min(batches.queue))
        .with_scheduled_delay(batches.delay)
        .build()
}
