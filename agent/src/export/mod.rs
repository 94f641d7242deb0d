//! Spans out: a bounded queue, then one sink (OTLP, terminal or JSON lines).
//!
//! [`Exporter::push`] never waits. Behind it one tokio task makes batches and hands them to the sink; what the sink
//! cannot take is retried within limits, then dropped and counted ([`Counter`]).

mod counter;
mod environment;
mod json;
mod limits;
mod otlp;
mod output;
mod terminal;
#[cfg(test)]
mod testing;
mod user_agent;
mod worker;

pub use counter::{Counter, ExportCounters};
pub use environment::InvalidVariable;
pub use otlp::{Headers, OtlpConfig, Protocol, TlsFiles, scope, span_data};
pub use user_agent::is_own_export;

use crate::process::Resource;
use autospan_core::span::Span;
use counter::Counters;
use environment::Environment;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use worker::Sink;

/// A span with the resource it is exported under.
#[derive(Clone, Debug)]
pub struct ExportSpan {
    pub span: Span,
    pub resource: Arc<Resource>,
}

#[derive(Clone, Debug)]
pub struct ExportConfig {
    pub sink: SinkConfig,
    pub batch: BatchConfig,
}

/// Where spans go.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SinkConfig {
    Otlp(OtlpConfig),
    /// Trees of spans on standard output, for people.
    Terminal {
        color: bool,
    },
    /// One JSON object per span and line on standard output.
    Json,
}

/// When a batch is handed to the sink, and how many spans may wait for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// Spans waiting at most; further ones are dropped and counted.
    pub queue_spans_max: usize,
    /// Spans of one batch at most.
    pub batch_spans_max: usize,
    /// How long the first span of a batch waits for more.
    pub delay: Duration,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            queue_spans_max: limits::QUEUE_SPANS_MAX,
            batch_spans_max: limits::BATCH_SPANS_MAX,
            delay: limits::BATCH_DELAY,
        }
    }
}

impl BatchConfig {
    /// Reads the standard `OTEL_BSP_*` variables of the process's environment.
    ///
    /// # Errors
    /// Names the first variable with a value that cannot be used.
    pub fn from_env() -> Result<Self, InvalidVariable> {
        Self::from_variables(Environment::process())
    }

    fn from_variables(variables: Environment<'_>) -> Result<Self, InvalidVariable> {
        let default = Self::default();
        let queue_spans_max = variables.count("OTEL_BSP_MAX_QUEUE_SIZE")?.unwrap_or(default.queue_spans_max);
        let batch_spans_max = variables.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE")?.unwrap_or(default.batch_spans_max);
        Ok(Self {
            queue_spans_max: queue_spans_max.min(limits::QUEUE_SPANS_CEILING),
            batch_spans_max: batch_spans_max.min(queue_spans_max).min(limits::QUEUE_SPANS_CEILING),
            delay: variables.milliseconds(&["OTEL_BSP_SCHEDULE_DELAY"])?.unwrap_or(default.delay),
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    #[error("the exporter needs a tokio runtime to run on")]
    NoRuntime,
    #[error("cannot use {}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("cannot set up the OTLP exporter: {reason}")]
    Transport { reason: String },
}

/// The door for spans. Dropping it without [`Exporter::shutdown`] lets the task finish what is queued, as long as the
/// runtime lives.
#[derive(Debug)]
pub struct Exporter {
    queue: mpsc::Sender<ExportSpan>,
    counters: Arc<Counters>,
    closed: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

/// Starts the export task on the current tokio runtime.
///
/// # Errors
/// Without a runtime, and where the sink cannot be made from its configuration.
pub fn start(config: ExportConfig) -> Result<Exporter, ExportError> {
    let runtime = Handle::try_current().map_err(|_| ExportError::NoRuntime)?;
    let counters = Arc::new(Counters::default());
    let sink = Sink::new(config.sink, Arc::clone(&counters))?;
    Ok(Exporter::spawn(&runtime, sink, config.batch, counters))
}

// === impl Exporter ===

impl Exporter {
    fn spawn(runtime: &Handle, sink: Sink, batch: BatchConfig, counters: Arc<Counters>) -> Self {
        let (queue, spans) = mpsc::channel(batch.queue_spans_max);
        let (closed, is_closed) = watch::channel(false);
        let task = runtime.spawn(worker::run(spans, sink, batch, Arc::clone(&counters), closed));
        Self { queue, counters, closed: is_closed, task }
    }

    /// Queues a span. Never waits: where the queue is full, this span is dropped and counted.
    pub fn push(&self, span: ExportSpan) {
        let counter = match self.queue.try_send(span) {
            Ok(()) => Counter::Accepted,
            Err(mpsc::error::TrySendError::Full(_)) => Counter::DroppedQueueFull,
            Err(mpsc::error::TrySendError::Closed(_)) => Counter::DroppedShutdown,
        };
        self.counters.add(counter, 1);
    }

    /// Queues a span and waits for room, for inputs that can wait, such as files.
    ///
    /// # Panics
    /// When called from async code.
    pub fn push_blocking(&self, span: ExportSpan) {
        let taken = self.queue.blocking_send(span);
        self.counters.add(if taken.is_ok() { Counter::Accepted } else { Counter::DroppedShutdown }, 1);
    }

    pub fn counters(&self) -> ExportCounters {
        self.counters.snapshot()
    }

    /// Resolves when the sink can take nothing more, ever: the reader of our standard output is gone. The agent should
    /// end then, with success.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closed = self.closed.clone();
        async move {
            // An error means that the task ended, which closes the sink as well.
            let _ = closed.wait_for(|closed| *closed).await;
        }
    }

    /// Exports what is queued, for `deadline` at most; what is left then is dropped and counted.
    pub async fn shutdown(self, deadline: Duration) -> ExportCounters {
        let Self { queue, counters, mut task, .. } = self;
        drop(queue);
        if tokio::time::timeout(deadline, &mut task).await.is_err() {
            task.abort();
            let _ = task.await;
        }
        counters.settle();
        counters.snapshot()
    }
}
