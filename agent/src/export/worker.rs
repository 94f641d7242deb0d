//! The export task: queue → batch → sink.

use super::counter::{Counter, Counters};
use super::json::JsonLines;
use super::otlp::Otlp;
use super::output::Output;
use super::terminal::Terminal;
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
    Terminal(Box<Terminal>),
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
        let received = tokio::select! {
            received = queue.recv_many(&mut batch, config.batch_spans_max) => received,
            () = at(sink.deadline()) => { sink.tick().await?; continue }
        };
        if received == 0 {
            return sink.finish().await;
        }
        fill(queue, &mut batch, config).await;
        counters.add(Counter::Batches, 1);
        sink.export(&mut batch).await?;
        batch.clear();
    }
}

/// Waits until the batch is full, or its first span waited for `config.delay`, or no more will come.
async fn fill(queue: &mut mpsc::Receiver<ExportSpan>, batch: &mut Vec<ExportSpan>, config: BatchConfig) {
    let deadline = Instant::now() + config.delay;
    while batch.len() < config.batch_spans_max {
        let room = config.batch_spans_max - batch.len();
        match timeout_at(deadline, queue.recv_many(batch, room)).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
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
        Ok(match config {
            SinkConfig::Otlp(config) => Self::Otlp(Box::new(Otlp::new(&config, counters)?)),
            SinkConfig::Terminal { color } => {
                Self::Terminal(Box::new(Terminal::new(color, Output::stdout(), counters)))
            }
            SinkConfig::Json => Self::Json(JsonLines::new(Output::stdout(), counters)),
        })
    }

    /// Takes the batch, or counts what it could not take.
    async fn export(&mut self, batch: &mut Vec<ExportSpan>) -> Result<(), Closed> {
        match self {
            Self::Otlp(otlp) => {
                otlp.export(batch).await;
                Ok(())
            }
            Self::Terminal(terminal) => terminal.export(batch).await,
            Self::Json(json) => json.export(batch).await,
        }
    }

    /// When [`Sink::tick`] wants to be called, spans or not.
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Terminal(terminal) => terminal.deadline(),
            Self::Otlp(_) | Self::Json(_) => None,
        }
    }

    async fn tick(&mut self) -> Result<(), Closed> {
        match self {
            Self::Terminal(terminal) => terminal.tick().await,
            Self::Otlp(_) | Self::Json(_) => Ok(()),
        }
    }

    /// No span comes any more: writes what is held back.
    async fn finish(&mut self) -> Result<(), Closed> {
        match self {
            Self::Terminal(terminal) => terminal.finish().await,
            Self::Otlp(_) | Self::Json(_) => Ok(()),
        }
    }
}
