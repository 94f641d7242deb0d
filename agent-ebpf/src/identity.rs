//! Unique numbers without atomics: a counter per CPU, the CPU's number above it.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;

/// Bits of the counter: 2^48 connections per CPU, 2^16 CPUs.
const COUNTER_BITS: u32 = 48;

#[repr(u32)]
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Connection,
    Token,
}
const KINDS: u32 = 2;

#[map]
static IDENTITIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(KINDS, 0);

/// A number that this run never gave out before, not 0.
///
/// Only for programs on system calls: they do not interrupt one another on a CPU.
#[inline(always)]
pub(crate) fn unique(kind: Kind) -> u64 {
    let Some(slot) = IDENTITIES.get_ptr_mut(kind as u32) else { return 0 };
    // SAFETY: this CPU's own slot, see above.
    let count = unsafe {
        *slot += 1;
        *slot
    };
    // SAFETY: the helper has no preconditions.
    (u64::from(unsafe { bpf_get_smp_processor_id() }) << COUNTER_BITS) | count
}

/// A connection id that is made in a program on user code; see [`unique_in_probe`]. No CPU has so high a number, and
/// [`crate::connection::Connection::id`] keeps the bits above.
#[inline(always)]
pub(crate) fn unique_connection_in_probe(tid: u32) -> u64 {
    const PROBE: u64 = 1 << 59;
    PROBE | (unique_in_probe(tid) & (PROBE - 1))
}

/// The same for programs on user code, which the kernel may preempt anywhere: a counter would need an atomic operation
/// that Linux 5.10 lacks. Instead the time, with as many bits of the thread's id as fit: two threads that are alike in
/// those would have to come in the same nanosecond.
#[inline(always)]
pub(crate) fn unique_in_probe(tid: u32) -> u64 {
    /// Numbers of [`unique`] never have it.
    const PROBE: u64 = 1 << 63;
    const TID_BITS: u32 = 16;
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    PROBE | (now << TID_BITS) | (u64::from(tid) & ((1 << TID_BITS) - 1))
}
