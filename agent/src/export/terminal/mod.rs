//! Live traces on a terminal, one tree per trace, every line complete enough to be found by `grep`.

mod line;
mod pending;
mod text;
mod tree;

use super::ExportSpan;
use super::counter::{Counter, Counters};
use super::output::Output;
use super::worker::Closed;
use jiff::tz::TimeZone;
use line::Style;
use pending::{Pending, Trace};
use std::sync::Arc;
use terminal_size::terminal_size_of;
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Terminal {
    output: Output,
    style: Style,
    pending: Pending,
    /// The last thing shown was a tree, which stands apart by empty lines.
    after_tree: bool,
    header_due: bool,
    counters: Arc<Counters>,
}

// === impl Terminal ===

impl Terminal {
    pub(crate) fn new(color: bool, output: Output, counters: Arc<Counters>) -> Self {
        let style = Style { color, columns: None, zone: TimeZone::system() };
        Self { output, style, pending: Pending::default(), after_tree: true, header_due: true, counters }
    }

    pub(crate) async fn export(&mut self, batch: &mut Vec<ExportSpan>) -> Result<(), Closed> {
        let now = Instant::now();
        for span in batch.drain(..) {
            if self.pending.is_full() {
                let traces = self.pending.rest();
                self.show(traces).await?;
            }
            self.pending.add(span, now);
        }
        self.tick().await
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending.deadline()
    }

    pub(crate) async fn tick(&mut self) -> Result<(), Closed> {
        let traces = self.pending.complete(Instant::now());
        self.show(traces).await
    }

    pub(crate) async fn finish(&mut self) -> Result<(), Closed> {
        let traces = self.pending.rest();
        self.show(traces).await
    }

    async fn show(&mut self, traces: Vec<Trace>) -> Result<(), Closed> {
        if traces.is_empty() {
            return Ok(());
        }
        // Asked each time: the window may have been resized.
        self.style.columns = terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
        let text = self.rendered(&traces);
        let spans = traces.iter().map(|trace| trace.spans.len() as u64).sum();
        let bytes = text.len() as u64;
        self.output.write(&mut text.into_bytes()).await?;
        self.counters.add(Counter::Exported, spans);
        self.counters.add(Counter::Bytes, bytes);
        Ok(())
    }

    fn rendered(&mut self, traces: &[Trace]) -> String {
        let mut text = String::new();
        if std::mem::take(&mut self.header_due) {
            line::header(&mut text, &self.style);
        }
        traces.iter().for_each(|trace| self.write(&mut text, trace));
        text
    }

    fn write(&mut self, text: &mut String, trace: &Trace) {
        let nodes = tree::nodes(&trace.spans);
        let is_tree = nodes.len() > 1;
        if is_tree || self.after_tree {
            text.push('\n');
        }
        nodes.iter().for_each(|node| line::write(text, node, trace.late, &self.style));
        self.after_tree = is_tree;
    }
}

#[cfg(test)]
mod tests;
