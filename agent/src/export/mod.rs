//! Spans out: a bounded queue, then one sink (OTLP, terminal or JSON lines).

use crate::process::Resource;
use autospan_core::span::Span;
use std::sync::Arc;

/// A span with the resource it is exported under.
#[derive(Clone, Debug)]
pub struct ExportSpan {
    pub span: Span,
    pub resource: Arc<Resource>,
}
