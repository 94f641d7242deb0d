//! Partial success: the receiver took the request but not all of its spans. The library only logs that, so its log is
//! read here, for the time of one export call.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// Of `TonicTracesClient.PartialSuccess` and `HttpTraceClient.PartialSuccess`.
const REJECTED_FIELD: &str = "rejected_spans";
const TARGET: &str = "opentelemetry-otlp";

/// Spans rejected since they were last taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Rejected(Arc<AtomicU64>);

// === impl Rejected ===

impl Rejected {
    pub(super) fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }

    /// What an export call is to log to.
    pub(super) fn dispatch(&self) -> Dispatch {
        Dispatch::new(self.clone())
    }
}

impl Subscriber for Rejected {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET && *metadata.level() == Level::WARN && metadata.is_event()
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Count(&self.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Count<'a>(&'a AtomicU64);

impl Visit for Count<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == REJECTED_FIELD {
            self.0.fetch_add(u64::try_from(value).unwrap_or(0), Ordering::Relaxed);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
