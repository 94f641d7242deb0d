//! The agent at work: kernel records into the tracer, its answers back to the kernel side, until it is told to stop.

mod greeting;
mod probing;

use crate::clock;
use crate::export::{self, ExportConfig, ExportError};
use crate::kernel::{Kernel, KernelError, LoadOptions};
use crate::memory;
use crate::privilege::{self, Unprivileged};
use crate::process::discovery::Change;
use crate::process::resource::Host;
use crate::process::{Discovery, Processes, Selector};
use crate::record::{RecordError, Recording};
use crate::stats::{self, Figure};
use crate::tracer::{Lifecycle, Tracer};
use autospan_core::counter::Counter;
use autospan_core::engine::{Engine, EngineConfig};
use autospan_core::fact::Fact;
use probing::Probing;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

/// Records taken before the kernel side hears of new policies and targets.
const BATCH_RECORDS: usize = 1_024;
/// Batches before signals and timers are looked at.
const ROUND_BATCHES: usize = 64;
/// After a round the ring is left alone for so long: the kernel side wakes the agent for the first record only, and a
/// busy machine is not woken for each.
const PAUSE: Duration = Duration::from_millis(4);
const TICK_NS: u64 = 1_000_000_000;
const CLOCK_NS: u64 = 10_000_000_000;
/// Between two looks at all processes, where the kernel does not tell of new ones.
const RESCAN_NS: u64 = 5_000_000_000;
/// How long the sinks may take for what is queued at the end.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// How long the rest of the ring may take at the end.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Shell convention for an end by SIGINT.
const INTERRUPTED: i32 = 130;

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Unprivileged(#[from] Unprivileged),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("there is no process {pid} (--pid)")]
    NoProcess { pid: u32 },
    #[error("cannot read /dev/urandom: {0}")]
    Random(io::Error),
    #[error("cannot listen for signals: {0}")]
    Signal(io::Error),
    #[error("cannot wait for the kernel side: {0}")]
    Wait(io::Error),
}

/// What to do.
#[derive(Debug)]
pub struct RunConfig {
    pub selector: Selector,
    pub engine: EngineConfig,
    pub bpf_object: Option<PathBuf>,
    pub debug_kernel_log: bool,
    /// Where spans go; a recording needs none.
    pub export: Option<ExportConfig>,
    /// The recording's file and its limit, bytes.
    pub record: Option<(PathBuf, u64)>,
    /// Print all counters at the end.
    pub stats: bool,
    pub stats_interval: Option<Duration>,
}

/// Traces until SIGTERM or SIGINT, or until the reader of standard output is gone; then flushes. A second signal ends the
/// process at once.
///
/// # Errors
/// Where tracing cannot work at all.
pub async fn run(config: RunConfig) -> Result<(), RunError> {
    let (stats, interval) = (config.stats, config.stats_interval);
    let export = config.export.clone();
    // Until everything is loaded there is nothing to flush: a signal just ends the process.
    let mut agent = Agent::start(config)?;
    let mut stop = Stop::new()?;
    agent.look_around(export.as_ref());
    memory::give_back();
    agent.trace(&mut stop, interval).await?;
    tokio::select! {
        result = agent.finish(stats) => result,
        () = stop.asked() => std::process::exit(INTERRUPTED),
    }
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

// === impl Stop ===

impl Stop {
    fn new() -> Result<Self, RunError> {
        let listen = |kind| signal(kind).map_err(RunError::Signal);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

struct Agent {
    kernel: Kernel,
    tracer: Tracer,
    discovery: Discovery,
    probing: Probing,
    /// The kernel side does not tell of every new process: look for them.
    rescans: bool,
    next_tick: u64,
    next_clock: u64,
    next_scan: u64,
}

// === impl Agent ===

impl Agent {
    /// Attaches. To look around is for afterwards, so that no process falls between the two.
    fn start(config: RunConfig) -> Result<Self, RunError> {
        check_pids(&config.selector)?;
        privilege::check()?;
        let exporter = config.export.as_ref().map(|export| export::start(export.clone())).transpose()?;
        let recording = config.record.as_ref().map(|(path, max)| Recording::create(path, *max)).transpose()?;
        let kernel = Kernel::load(&LoadOptions {
            auto: config.selector.is_auto(),
            follow_forks: true,
            object: config.bpf_object,
            debug_log: config.debug_kernel_log,
            single_probes: false,
        })?;
        report_losses(&kernel);
        let mut tracer = Tracer::new(Engine::new(config.engine), Processes::new(Host::read()), exporter, recording);
        tracer.fact(Fact::Session { secret: secret()? });
        tracer.fact(clock::fact());
        let rescans = kernel.capabilities().iter().any(|c| !c.works() && PROCESS_CAPABILITIES.contains(&c.name));
        let discovery = Discovery::new(config.selector);
        let now = clock::monotonic_ns();
        let (next_tick, next_clock, next_scan) = (now, now + CLOCK_NS, now + RESCAN_NS);
        let probing = Probing::default();
        let mut agent = Self { kernel, tracer, discovery, probing, rescans, next_tick, next_clock, next_scan };
        agent.kernel.exclude(std::process::id());
        Ok(agent)
    }

    fn look_around(&mut self, export: Option<&ExportConfig>) {
        let scan = self.discovery.scan();
        for pid in scan.excluded {
            self.kernel.exclude(pid);
        }
        for (netns, port) in scan.listeners {
            self.kernel.add_listener(netns, port);
        }
        let mut watched = greeting::Watched::default();
        for (pid, listeners) in scan.targets {
            self.kernel.add_target(pid);
            self.probing.look(&mut self.kernel, pid);
            if let Some(identity) = self.tracer.attached(pid) {
                watched.add(&identity.resource.service_name, &listeners);
            }
        }
        greeting::greet(&watched, export);
    }

    async fn trace(&mut self, stop: &mut Stop, interval: Option<Duration>) -> Result<(), RunError> {
        let closed = self.tracer.exporter().map(|exporter| Box::pin(exporter.closed()));
        let mut closed = futures_util::future::OptionFuture::from(closed);
        let mut report_at = interval.map(|interval| Instant::now() + interval);
        while self.tracer.recording().and_then(Recording::failure).is_none() {
            let wake = self.next_wake().min(report_at.unwrap_or_else(|| Instant::now() + RESCAN));
            tokio::select! {
                biased;
                () = stop.asked() => break,
                Some(()) = &mut closed => break,
                ready = self.kernel.readable() => ready.map_err(RunError::Wait)?,
                () = sleep_until(wake) => {}
            }
            let idle = self.round();
            if let (Some(at), Some(interval)) = (report_at, interval)
                && at <= Instant::now()
            {
                self.report();
                report_at = Some(Instant::now() + interval);
            }
            if idle {
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    fn next_wake(&self) -> Instant {
        let now = clock::monotonic_ns();
        let due = self.tracer.engine().next_deadline().unwrap_or(u64::MAX).min(self.next_tick);
        Instant::now() + Duration::from_nanos(due.saturating_sub(now))
    }

    /// Reads what is in the ring, then tells the time. True: the ring was emptied.
    fn round(&mut self) -> bool {
        // Time before the ring is read: every record up to then is in it.
        let now = clock::monotonic_ns();
        let emptied = (0..ROUND_BATCHES).any(|_| self.batch() < BATCH_RECORDS);
        if emptied && self.is_due(now) {
            self.tracer.tick(now);
            self.next_tick = now + TICK_NS;
            self.steer();
        }
        if now >= self.next_clock {
            self.tracer.fact(clock::fact());
            self.next_clock = now + CLOCK_NS;
        }
        if self.rescans && now >= self.next_scan {
            self.rescan();
            self.next_scan = now + RESCAN_NS;
        }
        emptied
    }

    fn is_due(&self, now: u64) -> bool {
        now >= self.next_tick || self.tracer.engine().next_deadline().is_some_and(|due| due <= now)
    }

    /// Takes some records and acts on them at once. Returns how many there were.
    fn batch(&mut self) -> usize {
        let Self { kernel, tracer, .. } = self;
        let records = kernel.drain(BATCH_RECORDS, |record| tracer.record(record));
        for event in self.tracer.take_lifecycle() {
            self.judge(event);
        }
        self.steer();
        records
    }

    fn steer(&mut self) {
        for (connection, policy) in self.tracer.take_policies() {
            self.kernel.set_policy(connection, policy);
        }
        for (pid, watch) in self.tracer.take_jobs() {
            self.probing.watch_jobs(&mut self.kernel, pid, watch);
        }
    }

    fn judge(&mut self, event: Lifecycle) {
        tracing::trace!(?event, "process");
        match event {
            Lifecycle::Appeared { pid } => match self.discovery.appeared(pid) {
                Some(change) => self.apply(change),
                None => {
                    self.probing.look(&mut self.kernel, pid);
                    self.tracer.announce(pid);
                }
            },
            Lifecycle::Executed { pid } => {
                let was_target = self.kernel.is_target(pid);
                match self.discovery.executed(pid, was_target, self.tracer.processes()) {
                    None if was_target => {
                        self.probing.executed(&mut self.kernel, pid);
                        self.tracer.attached(pid);
                    }
                    change => {
                        self.probing.forget(&mut self.kernel, pid);
                        change.into_iter().for_each(|change| self.apply(change));
                    }
                }
            }
            Lifecycle::Listening { pid, port } => {
                let is_target = self.kernel.is_target(pid);
                match self.discovery.listening(pid, port, is_target, self.tracer.processes()) {
                    Some(change) => self.apply(change),
                    None if is_target => {
                        self.probing.look(&mut self.kernel, pid);
                        self.tracer.sighted(pid);
                    }
                    None => {}
                }
            }
            Lifecycle::Mapped { pid } => {
                if self.kernel.is_target(pid) {
                    self.probing.look(&mut self.kernel, pid);
                    self.tracer.has_mapped(pid);
                }
            }
            Lifecycle::Forked { parent, pid } => self.probing.forked(parent, pid),
            Lifecycle::Exited { pid } => self.probing.forget(&mut self.kernel, pid),
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Add(pid) => {
                self.kernel.add_target(pid);
                self.probing.look(&mut self.kernel, pid);
                self.tracer.sighted(pid);
            }
            Change::Remove(pid) => {
                self.kernel.remove_target(pid);
                self.tracer.detached(pid);
                self.probing.forget(&mut self.kernel, pid);
            }
            Change::Exclude(pid) => {
                self.kernel.exclude(pid);
                self.probing.forget(&mut self.kernel, pid);
            }
        }
    }

    fn rescan(&mut self) {
        for (pid, _) in self.discovery.scan().targets {
            if !self.kernel.is_target(pid) {
                self.apply(Change::Add(pid));
            }
        }
    }

    /// Empties the ring, lets go of the kernel side, runs out the engine's timers and flushes the sinks.
    async fn finish(mut self, stats: bool) -> Result<(), RunError> {
        let deadline = Instant::now() + DRAIN_MAX;
        while self.batch() > 0 && Instant::now() < deadline {}
        let mut figures = kernel_figures(&self.kernel);
        drop(self.kernel);
        self.tracer.settle();
        let spans = spans(self.tracer.engine());
        figures.extend(self.tracer.figures());
        let (exporter, recording) = self.tracer.into_sinks();
        if let Some(exporter) = exporter {
            figures.extend(stats::export_figures(&exporter.shutdown(FLUSH_MAX).await));
        }
        figures.extend(stats::own_figures());
        if stats {
            eprint!("{}", stats::table("counters of autospan", &figures));
        }
        eprintln!("autospan: {}", stats::summary(spans, &figures));
        recording.map(finish_recording).unwrap_or(Ok(()))
    }

    fn report(&self) {
        let mut figures = kernel_figures(&self.kernel);
        figures.extend(self.tracer.figures());
        figures.extend(self.tracer.exporter().map(|e| stats::export_figures(&e.counters())).unwrap_or_default());
        figures.extend(stats::own_figures());
        eprint!("{}", stats::table("counters of autospan, so far", &figures));
    }
}

/// Capabilities without which new processes are only seen by looking.
const PROCESS_CAPABILITIES: [&str; 4] = ["process start", "process exec", "listen", "accept"];
const RESCAN: Duration = Duration::from_nanos(RESCAN_NS);

fn check_pids(selector: &Selector) -> Result<(), RunError> {
    let missing = selector.pids.iter().find(|pid| !std::path::Path::new("/proc").join(pid.to_string()).exists());
    missing.map_or(Ok(()), |pid| Err(RunError::NoProcess { pid: *pid }))
}

/// Ids of one run cannot be guessed from those of another.
fn secret() -> Result<[u8; 16], RunError> {
    let mut secret = [0; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut secret)).map_err(RunError::Random)?;
    Ok(secret)
}

/// One line for each thing that this kernel does not allow.
fn report_losses(kernel: &Kernel) {
    for capability in kernel.capabilities() {
        let Some(loss) = &capability.loss else { continue };
        tracing::warn!(
            lost = capability.name,
            why = loss.why,
            remedy = loss.remedy,
            "without it: {}",
            capability.without
        );
    }
}

fn spans(engine: &Engine) -> u64 {
    engine.counters().find(|(counter, _)| *counter == Counter::Spans).map_or(0, |(_, spans)| spans)
}

fn kernel_figures(kernel: &Kernel) -> Vec<Figure> {
    let counters = kernel.counters().into_iter().map(|(counter, value)| (counter.name().to_owned(), value));
    let mut figures: Vec<Figure> = counters.collect();
    figures.push(("kernel.map_bytes".to_owned(), kernel.map_bytes()));
    for program in kernel.program_stats().into_iter().filter(|program| program.run_count > 0) {
        figures.push((format!("program.{}.runs", program.name), program.run_count));
        figures.push((format!("program.{}.run_ns", program.name), program.run_time_ns));
    }
    figures
}

fn finish_recording(recording: Recording) -> Result<(), RunError> {
    if let Some(full @ RecordError::Full { .. }) = recording.failure() {
        tracing::warn!("{full}");
    }
    let (entries, bytes) = recording.finish()?;
    eprintln!("autospan: recorded {entries} entries, {bytes} bytes");
    Ok(())
}
