//! Export counters: every span accepted ends in exactly one of exported or dropped.

use std::sync::atomic::{AtomicU64, Ordering};

autospan_abi::counters! {
    /// An export counter.
    enum Counter;

    /// Spans taken into the queue.
    Accepted = "export.accepted",
    /// Spans that the sink took.
    Exported = "export.spans",
    /// Batches that the sink took.
    Batches = "export.batches",
    /// Bytes sent, or written, before compression where there is one.
    Bytes = "export.bytes",
    /// Export attempts after the first of a batch.
    Retries = "export.retries",
    /// Spans dropped because the export queue was full.
    DroppedQueueFull = "dropped.export_queue_full",
    /// Spans dropped because the collector refused them, or took none within the time for retries.
    DroppedExportFailed = "dropped.export_failed",
    /// Spans that the collector accepted the batch of, but rejected (partial success).
    DroppedExportRejected = "dropped.export_rejected",
    /// Spans not exported when the agent had to end.
    DroppedShutdown = "dropped.export_shutdown",
}

/// Live counters, shared by the door and the task behind it.
#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; Counter::ALL.len()]);

impl Counters {
    pub(crate) fn add(&self, counter: Counter, n: u64) {
        self.0[counter as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// Accounts for what was accepted and then neither exported nor dropped. Only right once the task has ended.
    pub(crate) fn settle(&self) {
        let now = self.snapshot();
        let done = now.get(Counter::Exported)
            + now.get(Counter::DroppedExportFailed)
            + now.get(Counter::DroppedExportRejected);
        self.add(Counter::DroppedShutdown, now.get(Counter::Accepted).saturating_sub(done));
    }

    pub(crate) fn snapshot(&self) -> ExportCounters {
        ExportCounters(std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed)))
    }
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportCounters([u64; Counter::ALL.len()]);

impl ExportCounters {
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL.iter().map(|&counter| (counter, self.get(counter)))
    }
}
