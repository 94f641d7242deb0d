//! The kernel side as the agent sees it: load, attach, read, steer.

mod attach;
mod bpf;
mod btf;
mod capability;
mod debug_log;
mod load;
mod maps;
mod object;
mod offsets;
mod probes;
mod process_table;
mod program;
mod stats;
mod tracefs;
mod verify;
mod wakeups;

use std::io;
use std::path::{Path, PathBuf};

use autospan_abi::process::TRAIT_PYTHON;
use autospan_abi::{Counter, ListenerKey, Policy, PythonRuntime, RecordHeader};
use aya::Ebpf;
use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use thiserror::Error;

use crate::probe::{FileId, Probe, ProbeFamily};
pub use capability::{Capability, Loss};
use debug_log::DebugLog;
use probes::Probes;
use process_table::ProcessTable;
use program::GREENLETS;
pub use stats::ProgramStats;
use wakeups::Wakeups;

/// How to load the kernel programs.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Processes that listen or accept become targets at once.
    pub auto: bool,
    /// Children of targets become targets at once.
    pub follow_forks: bool,
    /// An object file in place of the embedded one.
    pub object: Option<PathBuf>,
    /// Debug lines of the programs themselves, into the log.
    pub debug_log: bool,
    /// A link for each probe on user code, as on kernels before 6.6: for tests.
    pub single_probes: bool,
}

/// Nothing can work. Each says what, why, and what to do.
#[derive(Debug, Error)]
pub enum KernelError {
    #[error(
        "autospan needs root to load its kernel programs, and runs as uid {uid}: start it with sudo, or with the capabilities CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
    )]
    NotRoot { uid: u32 },
    #[error("cannot read the BPF object {}: {source}: name an object built by `cargo xtask build-ebpf`", path.display())]
    ObjectFile { path: PathBuf, source: io::Error },
    #[error("the BPF object cannot be used: {0}: build agent and object from one source")]
    Object(String),
    #[error(
        "the kernel does not accept BPF maps or programs: {0}: Linux 5.10 or newer with CONFIG_BPF_SYSCALL is needed, and a container must be privileged"
    )]
    Refused(String),
    #[error("no system call that moves bytes can be hooked: {why}: {remedy}")]
    NoSystemCalls { why: String, remedy: String },
}

/// The loaded programs. Dropping it detaches and unloads all of them.
pub struct Kernel {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    /// Registered with the reactor on first use, since loading may happen outside of one.
    wakeups: Option<Wakeups>,
    /// The ring may hold more than the last `drain` took; it gives no second notice of it.
    undrained: bool,
    processes: ProcessTable,
    policies: HashMap<MapData, u64, Policy>,
    listeners: HashMap<MapData, ListenerKey, u32>,
    pythons: HashMap<MapData, u32, PythonRuntime>,
    counters: PerCpuArray<MapData, u64>,
    map_ids: Vec<u32>,
    probes: Probes,
    capabilities: Vec<Capability>,
    debug_log: Option<DebugLog>,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("capabilities", &self.capabilities).finish_non_exhaustive()
    }
}

/// What this kernel allows, found by loading everything and unloading it again.
pub fn probe() -> Vec<Capability> {
    match Kernel::load(&LoadOptions::default()) {
        Ok(kernel) => kernel.capabilities,
        Err(error) => vec![capability::nothing_works(&error)],
    }
}

// === impl Kernel ===

impl Kernel {
    /// Loads and attaches the kernel programs. Records flow from here on, for targets.
    ///
    /// # Errors
    /// Only where nothing can work. What a kernel lacks otherwise shows in [`Kernel::capabilities`].
    pub fn load(options: &LoadOptions) -> Result<Self, KernelError> {
        load::load(options)
    }

    pub fn capabilities(&self) -> &[Capability] {
        &self.capabilities
    }

    /// Waits until it is worth looking into the ring buffer: a batch is there, or its time has come. May be dropped and
    /// called anew at any time.
    ///
    /// # Errors
    /// The reactor cannot watch the ring buffer.
    pub async fn readable(&mut self) -> io::Result<()> {
        if self.undrained {
            return Ok(());
        }
        if self.wakeups.is_none() {
            self.wakeups = Some(Wakeups::of(&self.ring)?);
        }
        if let Some(wakeups) = &mut self.wakeups {
            wakeups.next().await?;
        }
        Ok(())
    }

    /// Hands the bytes of up to `max_records` records to `f`, in the order the kernel reserved them. Returns how many.
    pub fn drain(&mut self, max_records: usize, mut f: impl FnMut(&[u8])) -> usize {
        if let Some(debug_log) = &mut self.debug_log {
            debug_log.flush();
        }
        for taken in 0..max_records {
            let Some(slot) = self.ring.next() else {
                self.undrained = false;
                return taken;
            };
            if let Some(record) = record_in(&slot) {
                f(record);
            }
        }
        self.undrained = true;
        max_records
    }

    /// Sets how much of a connection is captured from its next call on.
    pub fn set_policy(&mut self, connection: u64, policy: Policy) {
        if let Err(error) = self.policies.insert(connection, policy, 0) {
            tracing::debug!(connection, %error, "policy not set: the connection keeps the one it has");
        }
    }

    /// Traces the process, unless it is excluded.
    pub fn add_target(&mut self, tgid: u32) {
        self.processes.add(tgid);
    }

    /// Stops tracing the process. With `auto` it is traced again as soon as it listens or accepts: see
    /// [`Kernel::exclude`].
    pub fn remove_target(&mut self, tgid: u32) {
        self.processes.remove(tgid);
    }

    pub fn is_target(&self, tgid: u32) -> bool {
        self.processes.is_target(tgid)
    }

    /// Has the kernel taken all programs of the family? Its probes are not attached otherwise.
    pub fn has_probes(&self, family: ProbeFamily) -> bool {
        self.probes.has(family)
    }

    /// Attaches probes to a file: they fire in every process that has it mapped, and act in targets.
    ///
    /// # Errors
    /// What is lost, and then none of them is attached.
    pub fn attach_probes(&mut self, file: FileId, path: &Path, probes: &[Probe]) -> Result<(), Loss> {
        self.probes.attach(&mut self.ebpf, file, path, probes)
    }

    pub fn detach_probes(&mut self, file: FileId) {
        self.probes.detach(file);
    }

    /// Attaches probes of a file to one process that maps it. Once: others are for [`Kernel::detach_probes_of`] first.
    ///
    /// # Errors
    /// What is lost, and then none of them is attached.
    pub fn attach_probes_to(&mut self, pid: u32, path: &Path, probes: &[Probe]) -> Result<(), Loss> {
        self.probes.attach_to(&mut self.ebpf, pid, path, probes)
    }

    pub fn detach_probes_of(&mut self, pid: u32) {
        self.probes.detach_from(pid);
    }

    /// Tells the programs of what a target is made; see [`autospan_abi::process`]. Until it executes another program.
    pub fn add_traits(&mut self, tgid: u32, traits: u8) {
        self.processes.add_traits(tgid, traits);
    }

    pub fn remove_traits(&mut self, tgid: u32, traits: u8) {
        self.processes.remove_traits(tgid, traits);
    }

    /// Where the CPython of a process keeps what its threads run. False: the map does not take it, and the threads are all
    /// that is seen.
    pub fn set_python(&mut self, tgid: u32, mut runtime: PythonRuntime) -> bool {
        if self.capabilities.iter().any(|capability| GREENLETS.contains(&capability.name) && !capability.works()) {
            runtime.datastack = 0;
        }
        let set = self.pythons.insert(tgid, runtime, 0);
        match &set {
            Ok(()) => self.processes.add_traits(tgid, TRAIT_PYTHON),
            Err(error) => tracing::debug!(tgid, %error, "CPython's contexts are not seen"),
        }
        set.is_ok()
    }

    /// Never traces the process, until it ends.
    pub fn exclude(&mut self, tgid: u32) {
        self.processes.exclude(tgid);
    }

    /// Tells the programs of a port that was listened on before they were loaded. Once per listening socket.
    pub fn add_listener(&mut self, netns: u32, port: u16) {
        let key = ListenerKey { netns, port: u32::from(port) };
        let sockets = self.listeners.get(&key, 0).unwrap_or(0);
        if let Err(error) = self.listeners.insert(key, sockets.saturating_add(1), 0) {
            tracing::debug!(netns, port, %error, "listener not added: roles on this port may be guessed wrong");
        }
    }

    /// All counters of the programs, summed over the CPUs.
    pub fn counters(&self) -> Vec<(Counter, u64)> {
        Counter::ALL.iter().map(|&counter| (counter, self.counter(counter))).collect()
    }

    fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(&(counter as u32), 0).map_or(0, |cpus| cpus.iter().sum())
    }

    /// Kernel memory of the maps and the ring buffer.
    pub fn map_bytes(&self) -> u64 {
        stats::map_bytes(&self.map_ids)
    }

    /// Run counts and times of the programs, where the kernel keeps them (`kernel.bpf_stats_enabled`).
    pub fn program_stats(&self) -> Vec<ProgramStats> {
        stats::of_programs(&self.ebpf, self.probes.loaded())
    }
}

/// The record in a slot of the ring: the slot may be larger. `None`: it says something else.
fn record_in(slot: &[u8]) -> Option<&[u8]> {
    let len = u32::from_ne_bytes(slot.get(..4)?.try_into().ok()?) as usize;
    if len < size_of::<RecordHeader>() { None } else { slot.get(..len) }
}
