//! Event loops that run many requests on one thread: where what a thread does stops belonging to what it read last.
//!
//! - Node: callbacks of reads run in libuv's poll phase; `uv__run_check` begins what comes for other reasons (immediates,
//!   then timers). Work that libuv gives to its threads comes back in a later turn: linked by its pointer.
//! - nginx: timers run after the events of a turn.

use super::entry_offset;
use crate::elf::{Elf, Machine, Source};
use crate::probe::plan::{Probe, ProbeProgram, Recognised};
use ProbeProgram::{TurnEnded, WorkDone, WorkSubmitted};

/// `node::Environment::CheckImmediate(uv_check_t *)`: nothing but a Node has it.
const NODE: &str = "_ZN4node11Environment14CheckImmediateEP10uv_check_s";
const LIBUV: [(&str, ProbeProgram); 6] = [
    ("uv__run_check", TurnEnded),
    ("uv__work_submit", WorkSubmitted),
    ("uv__fs_done", WorkDone),
    ("uv__getaddrinfo_done", WorkDone),
    ("uv__getnameinfo_done", WorkDone),
    ("uv__queue_done", WorkDone),
];
const NGINX: [(&str, ProbeProgram); 1] = [("ngx_event_expire_timers", TurnEnded)];

/// Adds what an executable has of them.
pub(super) fn recognise<S: Source + ?Sized>(elf: &Elf<'_, S>, recognised: &mut Recognised) {
    if elf.machine == Machine::Other {
        return;
    }
    if !elf.functions(&[NODE]).is_empty() {
        recognised.probes.extend(probes(elf, &LIBUV));
    } else {
        recognised.probes.extend(probes(elf, &NGINX));
    }
}

/// All of them, or none where the end of a turn would not be seen.
fn probes<S: Source + ?Sized>(elf: &Elf<'_, S>, wanted: &[(&str, ProbeProgram)]) -> Vec<Probe> {
    let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    let functions = elf.functions(&names);
    let probe = |function| Some(Probe { offset: entry_offset(elf, function)?, program: wanted[function.name].1 });
    let probes: Vec<Probe> = functions.iter().filter_map(probe).collect();
    if probes.iter().any(|probe| probe.program == TurnEnded) { probes } else { Vec::new() }
}
