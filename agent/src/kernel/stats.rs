//! What the programs cost, as the kernel accounts for it.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::Ebpf;
use aya::maps::MapInfo;

use super::maps;

/// Runs of one program since it was loaded. Zero unless `kernel.bpf_stats_enabled` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramStats {
    pub name: String,
    pub run_count: u64,
    pub run_time_ns: u64,
    /// Instructions that the verifier walked through, of the million it allows; 0 where the kernel does not say.
    pub verified_instructions: u32,
}

/// `others`: loaded programs that aya does not know of.
pub(crate) fn of_programs<'a>(
    ebpf: &Ebpf,
    others: impl Iterator<Item = (&'static str, BorrowedFd<'a>)>,
) -> Vec<ProgramStats> {
    let loaded = ebpf.programs().filter_map(|(name, program)| Some((name, program.fd().ok()?)));
    let mut stats: Vec<_> = loaded.map(|(name, fd)| of_program(name, fd.as_fd())).collect();
    stats.extend(others.map(|(name, fd)| of_program(name, fd)));
    stats.sort_by(|a, b| a.name.cmp(&b.name));
    stats
}

fn of_program(name: &str, fd: BorrowedFd<'_>) -> ProgramStats {
    let field = |key| fd_field(fd.as_raw_fd(), key).unwrap_or(0);
    ProgramStats {
        name: name.to_owned(),
        run_count: field("run_cnt"),
        run_time_ns: field("run_time_ns"),
        verified_instructions: field("verified_insns").try_into().unwrap_or(u32::MAX),
    }
}

/// Ids of the maps, while `ebpf` has them all.
pub(crate) fn map_ids(ebpf: &Ebpf) -> Vec<u32> {
    let maps = ebpf.maps().filter_map(|(_, map)| maps::data(map)?.info().ok());
    maps.map(|info| info.id()).collect()
}

/// Bytes of kernel memory behind the maps, the ring buffer included.
pub(crate) fn map_bytes(ids: &[u32]) -> u64 {
    ids.iter().filter_map(|id| bytes_of_map(*id)).sum()
}

fn bytes_of_map(id: u32) -> Option<u64> {
    let fd = MapInfo::from_id(id).ok()?.fd().ok()?;
    fd_field(fd.as_fd().as_raw_fd(), "memlock")
}

/// A numeric field of `/proc/self/fdinfo`, which has more to say than the info structs.
fn fd_field(fd: i32, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.trim().parse().ok())
}
