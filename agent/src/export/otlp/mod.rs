//! OTLP over gRPC or HTTP: one request per resource, retried while that can help.

mod attempt;
mod backoff;
mod config;
mod rejected;
mod span_data;
mod transport;

pub use config::{Headers, OtlpConfig, Protocol, TlsFiles};
pub use span_data::{scope, span_data};

use super::counter::{Counter, Counters};
use super::{ExportError, ExportSpan};
use attempt::{Failure, Retry};
use backoff::Backoff;
use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SpanExporter as _;
use rejected::Rejected;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;
use transport::LastFailure;

#[derive(Debug)]
pub(crate) struct Otlp {
    exporter: SpanExporter,
    scope: InstrumentationScope,
    protocol: Protocol,
    timeout: Duration,
    retry_for: Duration,
    last_http_failure: LastFailure,
    collector: Collector,
    rejected: Rejected,
    log: Dispatch,
    counters: Arc<Counters>,
}

/// Whether the receiver takes spans, so that a change is one line in the log, and a failure as such is none.
#[derive(Debug)]
struct Collector {
    endpoint: String,
    reachable: bool,
    rejecting: bool,
}

// === impl Otlp ===

impl Otlp {
    pub(crate) fn new(config: &OtlpConfig, counters: Arc<Counters>) -> Result<Self, ExportError> {
        let last_http_failure = LastFailure::default();
        let rejected = Rejected::default();
        Ok(Self {
            exporter: transport::exporter(config, last_http_failure.clone(), Arc::clone(&counters))?,
            scope: span_data::scope(),
            protocol: config.protocol,
            timeout: config.timeout,
            retry_for: config.retry_for,
            last_http_failure,
            collector: Collector { endpoint: config.endpoint.clone(), reachable: true, rejecting: false },
            log: rejected.dispatch(),
            rejected,
            counters,
        })
    }

    /// Sends the batch, one request per resource. What fails for good is counted as dropped.
    pub(crate) async fn export(&mut self, batch: &mut [ExportSpan]) {
        let give_up = Instant::now() + self.retry_for;
        batch.sort_by_key(|span| Arc::as_ptr(&span.resource));
        for group in batch.chunk_by(|a, b| Arc::ptr_eq(&a.resource, &b.resource)) {
            self.exporter.set_resource(&span_data::sdk_resource(&group[0].resource));
            let spans = group.len() as u64;
            match self.deliver(group, give_up).await {
                Ok(()) => self.count_taken(spans),
                Err(_) => self.counters.add(Counter::DroppedExportFailed, spans),
            }
        }
    }

    fn count_taken(&mut self, spans: u64) {
        let rejected = self.rejected.take().min(spans);
        self.counters.add(Counter::Exported, spans - rejected);
        self.counters.add(Counter::DroppedExportRejected, rejected);
        self.collector.rejects(rejected);
    }

    /// Tries until it works, cannot work, or `give_up`.
    async fn deliver(&mut self, group: &[ExportSpan], give_up: Instant) -> Result<(), Failure> {
        let mut backoff = Backoff::new();
        loop {
            let failure = match self.attempt(group).await {
                Ok(()) => {
                    self.collector.answers();
                    return Ok(());
                }
                Err(failure) => failure,
            };
            self.collector.fails(&failure);
            let delay = match failure.retry {
                Retry::Never => return Err(failure),
                Retry::Backoff => backoff.next(None),
                Retry::After(at_least) => backoff.next(Some(at_least)),
            };
            if Instant::now() + delay > give_up {
                return Err(failure);
            }
            self.counters.add(Counter::Retries, 1);
            sleep(delay).await;
        }
    }

    async fn attempt(&self, group: &[ExportSpan]) -> Result<(), Failure> {
        let spans = group.iter().map(|span| span_data::span_data(&span.span, &self.scope)).collect();
        let export = self.exporter.export(spans).with_subscriber(self.log.clone());
        match (timeout(self.timeout, export).await, self.protocol) {
            (Ok(Ok(())), _) => Ok(()),
            (Err(_elapsed), _) => Err(Failure::timeout(self.timeout)),
            (Ok(Err(error)), Protocol::Grpc) => Err(Failure::of_grpc(&error)),
            (Ok(Err(error)), Protocol::HttpProtobuf) => {
                // None: the request was not sent at all, such as one that is too large.
                let unsent = || Failure { retry: Retry::Never, reason: error.to_string() };
                Err(self.last_http_failure.take().unwrap_or_else(unsent))
            }
        }
    }
}

// === impl Collector ===

impl Collector {
    fn answers(&mut self) {
        if !std::mem::replace(&mut self.reachable, true) {
            tracing::info!(endpoint = %self.endpoint, "the OTLP receiver takes spans again");
        }
    }

    /// Said once: the counter tells the rest.
    fn rejects(&mut self, spans: u64) {
        if spans > 0 && !std::mem::replace(&mut self.rejecting, true) {
            tracing::warn!(endpoint = %self.endpoint, spans, "the OTLP receiver rejects some spans; they are counted");
        }
    }

    fn fails(&mut self, failure: &Failure) {
        if !std::mem::replace(&mut self.reachable, false) {
            return;
        }
        let (endpoint, reason) = (&self.endpoint, &failure.reason);
        if failure.retry == Retry::Never {
            tracing::warn!(%endpoint, %reason, "the OTLP receiver refuses spans; they are dropped and counted");
        } else {
            tracing::warn!(%endpoint, %reason, "the OTLP receiver does not take spans; they wait and are tried again");
        }
    }
}

#[cfg(test)]
mod tests;
