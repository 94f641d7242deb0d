//! Which processes are traced.

use autospan_abi::limits::PIDS_MAX;
use autospan_abi::process::{PIDS_PER_ENTRY, STATE_MASK, TARGET, UNKNOWN};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;

use crate::debug::debug;
use crate::kernel;

const BPF_F_MMAPABLE: u32 = 1 << 10;

/// A byte per pid. An array rather than a hash: its lookup is inlined by the JIT, and this one is paid by every hooked
/// call on the machine. The agent maps it into its memory and writes bytes, so neither side loses the other's writes.
#[map]
static PROCESSES: Array<u64> = Array::with_max_entries(PIDS_MAX / PIDS_PER_ENTRY, BPF_F_MMAPABLE);

/// Thread and process in the initial pid namespace.
#[derive(Clone, Copy)]
pub(crate) struct Thread {
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
}

impl Thread {
    #[inline(always)]
    pub(crate) fn current() -> Self {
        let id = bpf_get_current_pid_tgid();
        Self { tgid: (id >> 32) as u32, tid: id as u32 }
    }
}

/// The current thread if its process is traced.
#[inline(always)]
pub(crate) fn current_target() -> Option<Thread> {
    let thread = Thread::current();
    if is_target(thread.tgid) { Some(thread) } else { None }
}

#[inline(always)]
pub(crate) fn is_target(tgid: u32) -> bool {
    // SAFETY: `slot` points at a byte of the map.
    slot(tgid).is_some_and(|state| unsafe { *state } & STATE_MASK == TARGET)
}

/// Whether the process has a trait, such as [`autospan_abi::process::TRAIT_TLS`].
#[inline(always)]
pub(crate) fn has(tgid: u32, wanted: u8) -> bool {
    // SAFETY: `slot` points at a byte of the map.
    slot(tgid).is_some_and(|state| unsafe { *state } & wanted != 0)
}

#[inline(always)]
pub(crate) fn is_unknown(tgid: u32) -> bool {
    // SAFETY: `slot` points at a byte of the map.
    slot(tgid).is_some_and(|state| unsafe { *state } & STATE_MASK == UNKNOWN)
}

/// Whether it matters that the process listens: it is traced, or would be from then on, or the agent may choose it for
/// the port.
#[inline(always)]
pub(crate) fn may_listen(tgid: u32) -> bool {
    is_target(tgid) || is_unknown(tgid)
}

/// Traces the process from now on, unless it is excluded.
#[inline(always)]
pub(crate) fn make_target(tgid: u32) {
    let Some(state) = slot(tgid) else { return };
    if tgid == kernel::agent_tgid() {
        return;
    }
    // SAFETY: `slot` points at a byte of the map.
    unsafe {
        if *state & STATE_MASK == UNKNOWN {
            *state |= TARGET;
            debug!("process {} is traced", tgid);
        }
    }
}

/// A child of a target runs the code of its parent.
#[inline(always)]
pub(crate) fn inherit(parent: u32, child: u32) {
    // SAFETY: `slot` points at bytes of the map.
    if let (Some(from), Some(to)) = (slot(parent), slot(child)) {
        unsafe { *to |= *from & !STATE_MASK };
    }
}

/// Another program runs: it has none of the old one's traits.
#[inline(always)]
pub(crate) fn drop_traits(tgid: u32) {
    if let Some(state) = slot(tgid) {
        // SAFETY: `slot` points at a byte of the map.
        unsafe { *state &= STATE_MASK };
    }
}

#[inline(always)]
pub(crate) fn forget(tgid: u32) {
    if let Some(state) = slot(tgid) {
        // SAFETY: `slot` points at a byte of the map.
        unsafe { *state = UNKNOWN };
    }
}

#[inline(always)]
fn slot(tgid: u32) -> Option<*mut u8> {
    let entry = PROCESSES.get_ptr_mut(tgid / PIDS_PER_ENTRY)?;
    // SAFETY: stays within the 8 bytes of the entry.
    Some(unsafe { entry.cast::<u8>().add((tgid % PIDS_PER_ENTRY) as usize) })
}
