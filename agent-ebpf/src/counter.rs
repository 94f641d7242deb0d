//! Numbered counters, one slot per CPU and reason.

use autospan_abi::Counter;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;

#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::ALL.len() as u32, 0);

#[inline(always)]
pub(crate) fn bump(counter: Counter) {
    add(counter, 1);
}

#[inline(always)]
pub(crate) fn add(counter: Counter, by: u64) {
    if let Some(slot) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: this CPU's own slot. An interrupt between load and store can lose a count, never the memory.
        unsafe { *slot += by };
    }
}
