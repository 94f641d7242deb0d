//! Traces from files: evlog recordings and packet captures. No root, no kernel: the same bytes give the same spans.

pub mod evlog;
pub mod pcap;

use crate::export::{self, ExportConfig, ExportError, ExportSpan, Exporter};
use crate::process::Resource;
use crate::stats::{self, Figure};
use crate::tracer::with_thread;
use autospan_core::engine::{Engine, EngineConfig, Output};
use autospan_core::evlog::Entry;
use autospan_core::fact::Fact;
use autospan_core::limits::PROCESSES_MAX;
use autospan_core::span::Span;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long the sink may take for what is queued when the input ends.
const FLUSH_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is neither an evlog (autospan record) nor a packet capture (pcap, pcapng)", path.display())]
    Foreign { path: PathBuf },
    #[error("{}: {reason}", path.display())]
    Unusable { path: PathBuf, reason: String },
    #[error("{} is damaged after {bytes} bytes ({reason}); what comes before was replayed", path.display())]
    Damaged { path: PathBuf, bytes: u64, reason: String },
    #[error("{} is damaged after {packets} packets ({reason}); what comes before was replayed", path.display())]
    DamagedCapture { path: PathBuf, packets: u64, reason: String },
    #[error(transparent)]
    Export(#[from] ExportError),
}

/// What a replay came to.
#[derive(Debug)]
pub struct Replayed {
    pub figures: Vec<Figure>,
    pub spans: u64,
    /// Where the input was not readable to its end.
    pub damage: Option<ReplayError>,
}

/// Kind of an input file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Evlog,
    Capture,
}

impl Format {
    /// Tells by the first bytes.
    pub fn of(start: &[u8]) -> Option<Self> {
        const EVLOG: &[u8] = b"autospan";
        const CAPTURES: [&[u8]; 5] =
            [b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1", b"\x0a\x0d\x0d\x0a"];
        if start.starts_with(EVLOG) {
            return Some(Self::Evlog);
        }
        CAPTURES.iter().any(|magic| start.starts_with(magic)).then_some(Self::Capture)
    }
}

/// Replays a file into a sink and waits until that has taken everything. Must not be called from async code: it reads as
/// fast as the sink writes.
///
/// # Errors
/// Where nothing of the file can be used; damage further on is part of the result.
pub fn replay(
    path: &Path,
    engine: EngineConfig,
    export: ExportConfig,
    runtime: &tokio::runtime::Runtime,
) -> Result<Replayed, ReplayError> {
    let format = format_of(path)?;
    let guard = runtime.enter();
    let exporter = export::start(export)?;
    drop(guard);
    let mut replayer = Replayer::new(engine, exporter);
    // A capture knows addresses; its processes are only numbers.
    replayer.processes_are_real = format == Format::Evlog;
    let read = match format {
        Format::Evlog => evlog::read(path, |entry| replayer.entry(entry)),
        Format::Capture => capture(path, &mut replayer),
    };
    let damage = match read {
        Err(error @ (ReplayError::Damaged { .. } | ReplayError::DamagedCapture { .. })) => Some(error),
        other => other.map(|()| None)?,
    };
    replayer.settle();
    Ok(replayer.finish(runtime, damage))
}

fn capture(path: &Path, replayer: &mut Replayer) -> Result<(), ReplayError> {
    let summary = pcap::read(path, &mut |entry| replayer.entry(entry))
        .map_err(|error| ReplayError::Unusable { path: path.to_owned(), reason: error.to_string() })?;
    tracing::info!(
        packets = summary.packets,
        skipped = summary.skipped,
        connections = summary.connections,
        lost_bytes = summary.lost_bytes,
        "packet capture read"
    );
    if summary.cut_bytes > 0 {
        tracing::warn!(
            bytes = summary.cut_bytes,
            "packets are cut off, so messages whose heads are missing give no span; capture whole packets (-s 0)"
        );
    }
    match summary.damage {
        None => Ok(()),
        Some(reason) => Err(ReplayError::DamagedCapture { path: path.to_owned(), packets: summary.packets, reason }),
    }
}

fn format_of(path: &Path) -> Result<Format, ReplayError> {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(8).read_to_end(&mut start));
    read.map_err(|source| ReplayError::Read { path: path.to_owned(), source })?;
    Format::of(&start).ok_or_else(|| ReplayError::Foreign { path: path.to_owned() })
}

/// Engine and sink of a replay.
#[derive(Debug)]
struct Replayer {
    engine: Engine,
    exporter: Exporter,
    services: HashMap<u32, Arc<Resource>>,
    resources: HashMap<String, Arc<Resource>>,
    nameless: Arc<Resource>,
    processes_are_real: bool,
    spans: u64,
}

// === impl Replayer ===

impl Replayer {
    fn new(config: EngineConfig, exporter: Exporter) -> Self {
        Self {
            engine: Engine::new(config),
            exporter,
            services: HashMap::new(),
            resources: HashMap::new(),
            nameless: Arc::new(Resource::named("unknown_service")),
            processes_are_real: true,
            spans: 0,
        }
    }

    fn entry(&mut self, entry: Entry<'_>) {
        match entry {
            Entry::Record(record) => self.engine.feed(record),
            Entry::Fact(Fact::Service { tgid, name }) => self.name(tgid, &name),
            Entry::Fact(fact) => self.engine.fact(fact),
            Entry::Tick(now) => self.engine.tick(now),
        }
        self.collect();
    }

    /// Processes of one name share a resource, as they would live.
    fn name(&mut self, tgid: u32, name: &str) {
        let room = self.services.len() < PROCESSES_MAX && self.resources.len() < PROCESSES_MAX;
        if !room {
            return;
        }
        let new = || Arc::new(Resource::named(name));
        let resource = self.resources.entry(name.to_owned()).or_insert_with(new);
        self.services.insert(tgid, Arc::clone(resource));
    }

    fn settle(&mut self) {
        while let Some(deadline) = self.engine.next_deadline() {
            self.engine.tick(deadline);
            self.collect();
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.engine.poll() {
            // A file has no kernel side that could be told a policy.
            let Output::Span(span) = output else { continue };
            let resource = Arc::clone(self.services.get(&span.tgid).unwrap_or(&self.nameless));
            let span = if self.processes_are_real { with_thread(*span, resource) } else { anonymous(*span, resource) };
            self.spans += 1;
            self.exporter.push_blocking(span);
        }
    }

    fn finish(self, runtime: &tokio::runtime::Runtime, damage: Option<ReplayError>) -> Replayed {
        let exported = runtime.block_on(self.exporter.shutdown(FLUSH_MAX));
        let figures = [stats::engine_figures(&self.engine), stats::export_figures(&exported)].concat();
        Replayed { figures, spans: self.spans, damage }
    }
}

fn anonymous(mut span: Span, resource: Arc<Resource>) -> ExportSpan {
    (span.tgid, span.tid) = (0, 0);
    ExportSpan { span, resource }
}
