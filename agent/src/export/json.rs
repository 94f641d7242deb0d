//! JSON lines: one object per span. Field names are stable and documented in `docs/reference/json.md`.

use super::ExportSpan;
use super::counter::{Counter, Counters};
use super::output::Output;
use super::worker::Closed;
use crate::process::ResourceValue;
use autospan_core::span::{Attribute, Span, SpanKind, Status, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct JsonLines {
    output: Output,
    counters: Arc<Counters>,
    text: Vec<u8>,
}

/// A span as one JSON object.
struct Line<'a>(&'a ExportSpan);
struct Attributes<'a>(&'a [Attribute]);
struct ResourceAttributes<'a>(&'a [(String, ResourceValue)]);

// === impl JsonLines ===

impl JsonLines {
    pub(crate) fn new(output: Output, counters: Arc<Counters>) -> Self {
        Self { output, counters, text: Vec::new() }
    }

    pub(crate) async fn export(&mut self, batch: &[ExportSpan]) -> Result<(), Closed> {
        for span in batch {
            write_line(&mut self.text, span);
        }
        let (spans, bytes) = (batch.len() as u64, self.text.len() as u64);
        self.output.write(&mut self.text).await?;
        self.counters.add(Counter::Exported, spans);
        self.counters.add(Counter::Bytes, bytes);
        Ok(())
    }
}

fn write_line(text: &mut Vec<u8>, span: &ExportSpan) {
    // Fails only where a map key is not a string, or the writer fails; a Vec does not.
    let written = serde_json::to_writer(&mut *text, &Line(span));
    debug_assert!(written.is_ok());
    text.push(b'\n');
}

// === impl Line ===

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Span { parent, status, .. } = &self.0.span;
        let span = &self.0.span;
        let (code, message) = match status {
            Status::Unset => ("unset", ""),
            Status::Error(description) => ("error", description.as_ref()),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("trace_id", &hex(&span.trace_id))?;
        map.serialize_entry("span_id", &hex(&span.span_id))?;
        map.serialize_entry("parent_span_id", &parent.map(|parent| hex(&parent.span_id)))?;
        map.serialize_entry("parent_is_remote", &parent.is_some_and(|parent| parent.remote))?;
        map.serialize_entry("trace_state", &span.trace_state)?;
        map.serialize_entry("name", &span.name)?;
        map.serialize_entry("kind", kind(span.kind))?;
        map.serialize_entry("start_time", &rfc3339(span.start_unix_ns))?;
        map.serialize_entry("end_time", &rfc3339(span.end_unix_ns))?;
        map.serialize_entry("start_unix_ns", &span.start_unix_ns)?;
        map.serialize_entry("end_unix_ns", &span.end_unix_ns)?;
        map.serialize_entry("duration_ns", &span.end_unix_ns.saturating_sub(span.start_unix_ns))?;
        map.serialize_entry("status", code)?;
        map.serialize_entry("status_message", message)?;
        map.serialize_entry("process_id", &span.tgid)?;
        map.serialize_entry("thread_id", &span.tid)?;
        map.serialize_entry("attributes", &Attributes(&span.attributes))?;
        map.serialize_entry("resource", &ResourceAttributes(&self.0.resource.attributes))?;
        map.end()
    }
}

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for Attribute { key, value } in self.0 {
            match value {
                Value::String(value) => map.serialize_entry(key, value)?,
                Value::Int(value) => map.serialize_entry(key, value)?,
                Value::Bool(value) => map.serialize_entry(key, value)?,
                Value::Strings(value) => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}

impl Serialize for ResourceAttributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            match value {
                ResourceValue::String(value) => map.serialize_entry(key, value)?,
                ResourceValue::Int(value) => map.serialize_entry(key, value)?,
                ResourceValue::Strings(value) => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}

fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Client => "client",
        SpanKind::Server => "server",
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// UTC with nanoseconds, always nine digits of them, so that lines sort as text.
fn rfc3339(unix_ns: u64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
    format!("{time:.9}")
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
