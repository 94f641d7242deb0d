//! The export task: queue → batch → sink.

use super::counter::{Counter, Counters};
use super::json::JsonLines;
use super::otlp::Otlp;
use super::output::Output;
use super::{BatchConfig, ExportError, ExportSpan, SinkConfig};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

/// The sink is gone for good; nothing after this can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

#[derive(Debug)]
pub(crate) enum Sink {
    Otlp(Box<Otlp>),
    Json(JsonLines),
}

/// Runs until the queue is closed and empty, or the sink is closed.
pub(crate) async fn run(
    mut queue: mpsc::Receiver<ExportSpan>,
    mut sink: Sink,
    config: BatchConfig,
    counters: Arc<Counters>,
    closed: watch::Sender<bool>,
) {
    let result = pump(&mut queue, &mut sink, config, &counters).await;
    if result == Err(Closed) {
        // Refuses further spans at the door, where they are counted.
        queue.close();
        let _ = closed.send(true);
    }
}

async fn pump(
    queue: &mut mpsc::Receiver<ExportSpan>,
    sink: &mut Sink,
    config: BatchConfig,
    counters: &Counters,
) -> Result<(), Closed> {
    let mut batch = Vec::with_capacity(config.batch_spans_max);
    loop {
        let more = tokio::select! {
            more = collect(queue, &mut batch, config) => more,
            () = at(sink.deadline()) => { sink.tick().await?; continue }
        };
        if !batch.is_empty() {
            counters.add(Counter::Batches, 1);
            sink.export(&mut batch).await?;
            batch.clear();
        }
        if !more {
            return sink.finish().await;
        }
    }
}

/// Waits for a span, then until the batch is full or its first span waited for `config.delay`. False: no more will
/// come. May be dropped while it waits for the first span: no span is lost then.
async fn collect(queue: &mut mpsc::Receiver<ExportSpan>, batch: &mut Vec<ExportSpan>, config: BatchConfig) -> bool {
    if queue.recv_many(batch, config.batch_spans_max).await == 0 {
        return false;
    }
    let deadline = Instant::now() + config.delay;
    while batch.len() < config.batch_spans_max {
        let room = config.batch_spans_max - batch.len();
        match timeout_at(deadline, queue.recv_many(batch, room)).await {
            Ok(0) => return false,
            Ok(_) => {}
            Err(_elapsed) => break,
        }
    }
    true
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

// === impl Sink ===

impl Sink {
    pub(crate) fn new(config: SinkConfig, counters: Arc<Counters>) -> Result<Self, ExportError> {
        match config {
            SinkConfig::Otlp(config) => Ok(Self::Otlp(Box::new(Otlp::new(&config, counters)?))),
            SinkConfig::Json => Ok(Self::Json(JsonLines::new(Output::stdout(), counters))),
        }
    }

    /// Takes the batch, or counts what it could not take.
    async fn export(&mut self, batch: &mut [ExportSpan]) -> Result<(), Closed> {
        match self {
            Self::Otlp(otlp) => {
                otlp.export(batch).await;
                Ok(())
            }
            Self::Json(json) => json.export(batch).await,
        }
    }

    /// When [`Sink::tick`] wants to be called, spans or not.
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Otlp(_) | Self::Json(_) => None,
        }
    }

    async fn tick(&mut self) -> Result<(), Closed> {
        match self {
            Self::Otlp(_) | Self::Json(_) => Ok(()),
        }
    }

    /// No span comes any more: writes what is held back.
    async fn finish(&mut self) -> Result<(), Closed> {
        match self {
            Self::Otlp(_) | Self::Json(_) => Ok(()),
        }
    }
}
