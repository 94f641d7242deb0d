//! The one ring buffer, and what starts every record in it.

use autospan_abi::limits::{RING_BYTES, RING_KEPT_BYTES, RING_WAKE_BYTES};
use autospan_abi::{Counter, RecordHeader, RecordKind};
use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
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

/// The same for payload, which leaves room for records that matter more.
#[inline(always)]
pub(crate) fn reserve_payload<T: 'static>() -> Option<RingBufEntry<T>> {
    if RECORDS.query(u64::from(BPF_RB_AVAIL_DATA)) > u64::from(RING_BYTES - RING_KEPT_BYTES) {
        counter::bump(Counter::LostRingFull);
        return None;
    }
    reserve()
}

/// Hands a record over, to be read with the next batch.
#[inline(always)]
pub(crate) fn submit<T>(entry: RingBufEntry<T>) {
    let unread = RECORDS.query(u64::from(BPF_RB_AVAIL_DATA));
    let before = unread.saturating_sub(size_of::<T>() as u64);
    let crossed = unread / u64::from(RING_WAKE_BYTES) != before / u64::from(RING_WAKE_BYTES);
    entry.submit(u64::from(if crossed { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }));
}

/// Gives back room that nothing was written to.
#[inline(always)]
pub(crate) fn discard<T>(entry: RingBufEntry<T>) {
    entry.discard(u64::from(BPF_RB_NO_WAKEUP));
}

/// Writes one small record. `false`: the ring is full (counted).
#[inline(always)]
pub(crate) fn emit<T: 'static>(record: T) -> bool {
    let Some(mut entry) = reserve::<T>() else { return false };
    entry.write(record);
    submit(entry);
    true
}

/// The same for what the agent should act on before the process goes on.
#[inline(always)]
pub(crate) fn emit_now<T: 'static>(record: T) {
    if let Some(mut entry) = reserve::<T>() {
        entry.write(record);
        entry.submit(u64::from(BPF_RB_FORCE_WAKEUP));
    }
}
