//! The one ring buffer, and what starts every record in it.

use autospan_abi::limits::RING_BYTES;
use autospan_abi::{Counter, RecordHeader, RecordKind};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::RingBuf;
use aya_ebpf::maps::ring_buf::RingBufEntry;

use crate::counter;
use crate::process::Thread;

#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

#[inline(always)]
pub(crate) fn header(kind: RecordKind, len: u32, thread: Thread) -> RecordHeader {
    RecordHeader {
        len,
        kind: kind as u16,
        // SAFETY: the helpers have no preconditions.
        cpu: unsafe { bpf_get_smp_processor_id() } as u16,
        // SAFETY: as above.
        at: unsafe { bpf_ktime_get_ns() },
        tgid: thread.tgid,
        tid: thread.tid,
    }
}

/// Room for a record, or a counted loss.
#[inline(always)]
pub(crate) fn reserve<T: 'static>() -> Option<RingBufEntry<T>> {
    let entry = RECORDS.reserve(0);
    if entry.is_none() {
        counter::bump(Counter::LostRingFull);
    }
    entry
}

/// Writes one small record. `false`: the ring is full (counted).
#[inline(always)]
pub(crate) fn emit<T: 'static>(record: T) -> bool {
    let Some(mut entry) = reserve::<T>() else { return false };
    entry.write(record);
    entry.submit(0);
    true
}
