//! Literal spans for the tests of the sinks.

use super::{BatchConfig, ExportConfig, ExportSpan, Exporter, SinkConfig};
use crate::process::{Resource, ResourceValue};
use autospan_core::span::{Attribute, Parent, Span, SpanKind, Status};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// 2026-01-02T03:04:05Z
const START_UNIX_NS: u64 = 1_767_323_045_000_000_000;

pub(crate) fn resource(service: &str) -> Arc<Resource> {
    let text = |key: &str, value: &str| (key.to_owned(), ResourceValue::String(value.to_owned()));
    let pid = ("process.pid".to_owned(), ResourceValue::Int(4242));
    Arc::new(Resource { service_name: service.to_owned(), attributes: vec![pid, text("service.name", service)] })
}

/// A server span of 3 ms in trace 1, with a span id of its own.
pub(crate) fn server_span(resource: &Arc<Resource>, id: u8, path: &str) -> ExportSpan {
    let attributes = vec![
        Attribute::new("http.request.method", "GET"),
        Attribute::new("url.path", path.to_owned()),
        Attribute::new("http.response.status_code", 200_u16),
    ];
    let span = Span {
        trace_id: [1; 16],
        span_id: [id; 8],
        parent: None,
        trace_state: String::new(),
        name: "GET".into(),
        kind: SpanKind::Server,
        start_unix_ns: START_UNIX_NS,
        end_unix_ns: START_UNIX_NS + 3_000_000,
        attributes,
        status: Status::Unset,
        tgid: 4242,
        tid: 4243,
    };
    ExportSpan { span, resource: Arc::clone(resource) }
}

/// Changes to a span, for tables of literals.
pub(crate) trait With: Sized {
    fn parent(self, id: u8) -> Self;
    fn client(self) -> Self;
    /// Milliseconds after the start of the table, and for how long.
    fn at(self, start_ms: u64, duration_us: u64) -> Self;
    fn error(self, status: u16) -> Self;
}

impl With for ExportSpan {
    fn parent(mut self, id: u8) -> Self {
        self.span.parent = Some(Parent { span_id: [id; 8], remote: false });
        self
    }

    fn client(mut self) -> Self {
        self.span.kind = SpanKind::Client;
        let path = self.span.attributes.remove(1);
        let autospan_core::span::Value::String(path) = path.value else { panic!("url.path is a string") };
        self.span.attributes.insert(1, Attribute::new("url.full", format!("http://backend:8080{path}")));
        self
    }

    fn at(mut self, start_ms: u64, duration_us: u64) -> Self {
        self.span.start_unix_ns = START_UNIX_NS + start_ms * 1_000_000;
        self.span.end_unix_ns = self.span.start_unix_ns + duration_us * 1_000;
        self
    }

    fn error(mut self, status: u16) -> Self {
        self.span.attributes.retain(|attribute| attribute.key != "http.response.status_code");
        self.span.attributes.push(Attribute::new("http.response.status_code", status));
        self.span.attributes.push(Attribute::new("error.type", status.to_string()));
        self.span.status = Status::Error("".into());
        self
    }
}

/// An exporter with a batch delay that no test waits for.
pub(crate) fn exporter(sink: SinkConfig, queue_spans_max: usize) -> Exporter {
    let batch = BatchConfig { queue_spans_max, batch_spans_max: 4, delay: Duration::from_millis(1) };
    super::start(ExportConfig { sink, batch }).expect("the test's configuration is valid")
}
