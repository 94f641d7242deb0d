//! What the programs cost, as the kernel accounts for it.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use aya::Ebpf;
use aya::maps::MapInfo;
use aya::programs::Program;

/// Runs of one program since it was loaded. Zero unless `kernel.bpf_stats_enabled` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramStats {
    pub name: String,
    pub run_count: u64,
    pub run_time_ns: u64,
    /// Instructions that the verifier walked through, of the million it allows; 0 where the kernel does not say.
    pub verified_instructions: u32,
}

pub(crate) fn of_programs(ebpf: &Ebpf) -> Vec<ProgramStats> {
    let mut stats: Vec<_> = ebpf.programs().filter_map(|(name, program)| of_program(name, program)).collect();
    stats.sort_by(|a, b| a.name.cmp(&b.name));
    stats
}

fn of_program(name: &str, program: &Program) -> Option<ProgramStats> {
    let fd = program.fd().ok()?.as_fd().as_raw_fd();
    let field = |key| fd_field(fd, key).unwrap_or(0);
    Some(ProgramStats {
        name: name.to_owned(),
        run_count: field("run_cnt"),
        run_time_ns: field("run_time_ns"),
        verified_instructions: program.info().ok()?.verified_instruction_count().unwrap_or(0),
    })
}

/// Bytes of kernel memory behind the maps of the loaded programs, the ring buffer included.
pub(crate) fn map_bytes(ebpf: &Ebpf) -> u64 {
    let programs = ebpf.programs().filter_map(|(_, program)| program.info().ok());
    let ids: BTreeSet<u32> = programs.filter_map(|program| program.map_ids().ok().flatten()).flatten().collect();
    ids.into_iter().filter_map(bytes_of_map).sum()
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
