//! Trace context headers: W3C `traceparent` and `tracestate`, B3 single and multi header.
//! <https://www.w3.org/TR/trace-context/>, <https://github.com/openzipkin/b3-propagation>

use crate::span::{SpanId, TraceId};
use alloc::string::String;

/// A valid incoming trace context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: TraceId,
    pub parent_span_id: SpanId,
    pub trace_state: String,
}
