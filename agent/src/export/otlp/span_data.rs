//! Our span as the SDK's, by reference: a batch may have to be sent again.

use crate::process::{Resource, ResourceValue};
use autospan_core::span::{Attribute, Parent, Span, SpanKind, Status, Value};
use opentelemetry::trace::{self, SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The scope that all spans are exported under.
pub fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("autospan").with_version(env!("CARGO_PKG_VERSION")).build()
}

/// The SDK's form of a span.
pub fn span_data(span: &Span, scope: &InstrumentationScope) -> SpanData {
    let (parent_span_id, parent_span_is_remote) = match span.parent {
        Some(Parent { span_id, remote }) => (SpanId::from_bytes(span_id), remote),
        None => (SpanId::INVALID, false),
    };
    SpanData {
        span_context: context(span),
        parent_span_id,
        parent_span_is_remote,
        span_kind: kind(span.kind),
        name: span.name.clone(),
        start_time: time(span.start_unix_ns),
        end_time: time(span.end_unix_ns),
        attributes: span.attributes.iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: status(&span.status),
        instrumentation_scope: scope.clone(),
    }
}

pub(super) fn sdk_resource(resource: &Resource) -> opentelemetry_sdk::Resource {
    let attributes = resource.attributes.iter().map(|(key, value)| KeyValue::new(key.clone(), resource_value(value)));
    // `builder()` would add attributes of the agent itself.
    opentelemetry_sdk::Resource::builder_empty().with_attributes(attributes).build()
}

fn context(span: &Span) -> SpanContext {
    // Verbatim from a header of the traced service; one that is no valid tracestate is left out, as W3C demands.
    let state = if span.trace_state.is_empty() { Ok(TraceState::NONE) } else { span.trace_state.parse() };
    let (trace, span) = (TraceId::from_bytes(span.trace_id), SpanId::from_bytes(span.span_id));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, state.unwrap_or(TraceState::NONE))
}

fn kind(kind: SpanKind) -> trace::SpanKind {
    match kind {
        SpanKind::Client => trace::SpanKind::Client,
        SpanKind::Server => trace::SpanKind::Server,
    }
}

fn status(status: &Status) -> trace::Status {
    match status {
        Status::Unset => trace::Status::Unset,
        Status::Error(description) => trace::Status::error(description.clone()),
    }
}

fn attribute(Attribute { key, value }: &Attribute) -> KeyValue {
    let value = match value {
        Value::String(value) => value.clone().into(),
        Value::Int(value) => (*value).into(),
        Value::Bool(value) => (*value).into(),
        Value::Strings(values) => strings(values),
    };
    KeyValue::new(key.clone(), value)
}

fn resource_value(value: &ResourceValue) -> opentelemetry::Value {
    match value {
        ResourceValue::String(value) => value.clone().into(),
        ResourceValue::Int(value) => (*value).into(),
        ResourceValue::Strings(values) => strings(values),
    }
}

fn strings(values: &[String]) -> opentelemetry::Value {
    opentelemetry::Value::Array(Array::String(values.iter().cloned().map(StringValue::from).collect()))
}

fn time(unix_ns: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(unix_ns)
}
