//! Libraries are loaded: a file is mapped executable. Greenlets begin: their stacks are mapped.

use autospan_abi::limits::MAPPINGS_MAX;
use autospan_abi::{RecordHeader, RecordKind};
use aya_ebpf::macros::{map, tracepoint};
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::TracePointContext;

use super::{argument, result};
use crate::{carrier, context, process, ring};

/// Threads that are mapping a file executable.
#[map]
static MAPPINGS: LruHashMap<u32, u8> = LruHashMap::with_max_entries(MAPPINGS_MAX, 0);

const PROT_EXEC: u64 = 4;

/// `mmap(addr, length, prot, flags, fd, offset)`
#[tracepoint]
pub fn enter_mmap(ctx: TracePointContext) -> u32 {
    let is_file = argument(&ctx, 4) as i32 >= 0;
    if argument(&ctx, 2) & PROT_EXEC == 0 || !is_file {
        return 0;
    }
    if let Some(thread) = process::current_target() {
        let _ = MAPPINGS.insert(thread.tid, 0, 0);
    }
    0
}

#[tracepoint]
pub fn exit_mmap(ctx: TracePointContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    if let Some(former) = context::mapped(thread, result(&ctx) as u64) {
        carrier::forget(former);
    }
    // Addresses of user space are no errors, and errors are negative.
    if MAPPINGS.remove(thread.tid).is_ok() && result(&ctx) > 0 {
        ring::emit_now(ring::header(RecordKind::CodeMapped, size_of::<RecordHeader>() as u32, thread));
    }
    0
}
