//! Debug lines of the programs, into the agent's log.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

/// The lines that the programs wrote since the last look.
pub(super) struct DebugLog(EbpfLogger<Tracing>);

impl DebugLog {
    /// `None`, and a line saying why, where the object cannot write any.
    pub(super) fn of(ebpf: &mut Ebpf) -> Option<Self> {
        match EbpfLogger::init_with_logger(ebpf, Tracing) {
            Ok(logger) => Some(Self(logger)),
            Err(error) => {
                tracing::warn!(%error, "no debug lines from the kernel programs");
                None
            }
        }
    }

    pub(super) fn flush(&mut self) {
        self.0.flush();
    }
}

/// From the `log` crate, which aya-log speaks, to `tracing`.
struct Tracing;

impl Log for Tracing {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        tracing::debug!(target: "autospan::ebpf", "{}", record.args());
    }

    fn flush(&self) {}
}
