//! From the object's bytes to attached programs.

use autospan_abi::{KernelConfig, KernelOffsets};
use aya::maps::Map;
use aya::{Ebpf, EbpfLoader};

use super::attach::{Attacher, chain};
use super::btf::Btf;
use super::capability::{Capability, Loss};
use super::debug_log::DebugLog;
use super::probes::Probes;
use super::process_table::{self, ProcessTable};
use super::program::PLANS;
use super::{Kernel, KernelError, LoadOptions, object, offsets, stats, tracefs};

const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

pub(super) fn load(options: &LoadOptions) -> Result<Kernel, KernelError> {
    let object = object::read(options.object.as_deref())?;
    may_load()?;
    lift_memlock_limit();
    let tracefs = tracefs::ensure_mounted();
    let (offsets, lost_offsets) = kernel_offsets();
    let mut ebpf = create(&object, options, offsets)?;
    let processes = map_processes(&mut ebpf)?;
    processes.exclude(std::process::id());
    let mut capabilities = capabilities_of(offsets, lost_offsets.as_ref());
    let mut attacher = Attacher::new(&mut ebpf, lost_offsets.as_ref());
    capabilities.extend(PLANS.iter().map(|plan| attacher.run(plan, lost_offsets.as_ref())));
    let probes = Probes::load(&mut ebpf, &object, !options.single_probes);
    capabilities.extend(probes.capabilities());
    something_works(&capabilities, lost_offsets.as_ref(), tracefs.err())?;
    let map_ids = stats::map_ids(&ebpf);
    Ok(Kernel {
        ring: typed(&mut ebpf, "RECORDS")?,
        wakeups: None,
        undrained: true,
        processes,
        policies: typed(&mut ebpf, "POLICIES")?,
        listeners: typed(&mut ebpf, "LISTENERS")?,
        pythons: typed(&mut ebpf, "PYTHONS")?,
        counters: typed(&mut ebpf, "COUNTERS")?,
        map_ids,
        probes,
        capabilities,
        debug_log: if options.debug_log { DebugLog::of(&mut ebpf) } else { None },
        ebpf,
    })
}

/// Root, or what root is needed for.
fn may_load() -> Result<(), KernelError> {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    const CAP_PERFMON_AND_BPF: u64 = 1 << 38 | 1 << 39;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    match effective {
        Some(caps) if caps & CAP_SYS_ADMIN == 0 && caps & CAP_PERFMON_AND_BPF != CAP_PERFMON_AND_BPF => {
            Err(KernelError::NotRoot { uid: nix::unistd::geteuid().as_raw() })
        }
        _ => Ok(()),
    }
}

/// Kernels before 5.11 count maps against the limit of locked memory. Where it cannot be lifted, creating a map says so.
fn lift_memlock_limit() {
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the struct outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) } != 0 {
        tracing::debug!("the limit of locked memory stays as it is: matters before Linux 5.11 only");
    }
}

fn kernel_offsets() -> (KernelOffsets, Option<Loss>) {
    let lost = |why| Loss { why, remedy: "a kernel built with CONFIG_DEBUG_INFO_BTF".into() };
    let bytes = match std::fs::read(KERNEL_BTF) {
        Ok(bytes) => bytes,
        Err(error) => return (offsets::NONE, Some(lost(format!("socket lookup: no BTF at {KERNEL_BTF}: {error}")))),
    };
    match Btf::parse(bytes).and_then(|btf| offsets::find(&btf)) {
        Ok(offsets) => (offsets, None),
        Err(error) => (offsets::NONE, Some(lost(format!("socket lookup: BTF at {KERNEL_BTF}: {error}")))),
    }
}

fn create(object: &[u8], options: &LoadOptions, offsets: KernelOffsets) -> Result<Ebpf, KernelError> {
    let config = KernelConfig { offsets, agent_tgid: std::process::id(), flags: flags(options) };
    let mut loader = EbpfLoader::new();
    loader.override_global("CONFIG", &config, true).map_max_entries("PROCESSES", process_table::entries());
    loader.load(object).map_err(|error| KernelError::Refused(chain(&error)))
}

fn flags(options: &LoadOptions) -> u32 {
    let flag = |set, flag| if set { flag } else { 0 };
    flag(options.auto, KernelConfig::FLAG_AUTO)
        | flag(options.follow_forks, KernelConfig::FLAG_FOLLOW_FORKS)
        | flag(options.debug_log, KernelConfig::FLAG_DEBUG_LOG)
}

fn map_processes(ebpf: &mut Ebpf) -> Result<ProcessTable, KernelError> {
    let map = ebpf.map("PROCESSES").ok_or_else(|| no_map("PROCESSES"))?;
    let Map::Array(data) = map else { return Err(no_map("PROCESSES")) };
    ProcessTable::map(data.fd(), process_table::entries())
        .map_err(|error| KernelError::Refused(format!("mmap of the process table: {error}")))
}

fn typed<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> Result<M, KernelError> {
    ebpf.take_map(name).and_then(|map| map.try_into().ok()).ok_or_else(|| no_map(name))
}

fn no_map(name: &str) -> KernelError {
    KernelError::Object(format!("it has no map {name}"))
}

/// What depends on single offsets rather than on programs.
fn capabilities_of(offsets: KernelOffsets, lost: Option<&Loss>) -> Vec<Capability> {
    let optional = |name, without, offset: u32, option: &str| Capability {
        name,
        without,
        loss: lost.cloned().or_else(|| (offset == KernelOffsets::ABSENT).then(|| missing_member(name, option))),
    };
    vec![
        Capability { name: "socket lookup", without: "any connection", loss: lost.cloned() },
        optional("tcp sequence", "joins of both ends by position alone", offsets.tcp_write_seq, "CONFIG_INET"),
        optional("unix sockets", "which end of a unix socket is the server", offsets.unix_addr, "CONFIG_UNIX=y"),
        optional("network namespaces", "which namespace a port belongs to", offsets.net_inum, "CONFIG_NET_NS"),
    ]
}

fn missing_member(name: &str, option: &str) -> Loss {
    Loss { why: format!("{name}: the kernel's BTF lacks the members"), remedy: format!("a kernel with {option}") }
}

/// Without a single hooked system call that moves bytes nothing will be seen; without BTF something may be, later.
fn something_works(
    capabilities: &[Capability],
    lost_offsets: Option<&Loss>,
    tracefs: Option<std::io::Error>,
) -> Result<(), KernelError> {
    let names: Vec<_> = PLANS.iter().filter(|plan| plan.moves_bytes()).map(|plan| plan.capability).collect();
    let mut syscalls = capabilities.iter().filter(|capability| names.contains(&capability.name));
    let first_loss = capabilities.iter().find(|capability| names.contains(&capability.name));
    if lost_offsets.is_some() || syscalls.any(Capability::works) {
        return Ok(());
    }
    let (why, remedy) = match (tracefs, first_loss.and_then(|capability| capability.loss.clone())) {
        (Some(error), _) => (format!("tracefs: {error}"), "mount -t tracefs tracefs /sys/kernel/tracing".to_owned()),
        (None, Some(loss)) => (loss.why, loss.remedy),
        (None, None) => ("no reason known".to_owned(), "report this line".to_owned()),
    };
    Err(KernelError::NoSystemCalls { why, remedy })
}
