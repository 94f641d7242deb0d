//! Carriers on their way from one context to another, by what links the two.

use autospan_abi::Counter;
use autospan_abi::limits::{HANDOVERS_MAX, STEPS_MAX};
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;

use crate::carrier::Carrier;
use crate::counter;
use crate::process::Thread;

/// By thread: what it read outside of any context, for the context that it enters next; or frames, for the library that is
/// given them next.
#[map]
static LOOP_READS: LruHashMap<u32, Carrier> = LruHashMap::with_max_entries(STEPS_MAX, 0);

/// By the address of a work item or request object.
#[map]
static WORK: LruHashMap<WorkKey, Carrier> = LruHashMap::with_max_entries(HANDOVERS_MAX, 0);

/// By thread: an argument of the function that it is in.
#[map]
static CALLED: LruHashMap<u32, u64> = LruHashMap::with_max_entries(STEPS_MAX, 0);

#[repr(C)]
#[derive(Clone, Copy)]
struct WorkKey {
    item: u64,
    tgid: u32,
    pad: u32,
}

impl WorkKey {
    #[inline(always)]
    fn new(tgid: u32, item: u64) -> Self {
        Self { item, tgid, pad: 0 }
    }
}

#[inline(always)]
pub(crate) fn set(thread: Thread, carrier: Carrier) {
    if LOOP_READS.insert(thread.tid, carrier, 0).is_err() {
        counter::bump(Counter::LostCarriersFull);
    }
}

#[inline(always)]
pub(crate) fn take(thread: Thread) -> Option<Carrier> {
    // SAFETY: only this thread writes its entry; copied before it is removed.
    let carrier = unsafe { LOOP_READS.get(thread.tid) }.copied()?;
    let _ = LOOP_READS.remove(thread.tid);
    Some(carrier)
}

/// `item` is handed to whoever takes it. What carries nothing leaves nothing of an older item at the same address.
#[inline(always)]
pub(crate) fn put_work(tgid: u32, item: u64, carrier: Carrier) {
    let key = WorkKey::new(tgid, item);
    if !carrier.cause.is_some() {
        let _ = WORK.remove(key);
    } else if WORK.insert(key, carrier, 0).is_err() {
        counter::bump(Counter::LostCarriersFull);
    }
}

#[inline(always)]
pub(crate) fn take_work(tgid: u32, item: u64) -> Carrier {
    let key = WorkKey::new(tgid, item);
    // SAFETY: copied before it is removed.
    let Some(carrier) = (unsafe { WORK.get(key) }).copied() else { return Carrier::NONE };
    let _ = WORK.remove(key);
    carrier
}

/// What work at this key carries, which goes on.
#[inline(always)]
pub(crate) fn work(tgid: u32, item: u64) -> Option<Carrier> {
    // SAFETY: copied at once.
    unsafe { WORK.get(WorkKey::new(tgid, item)) }.copied()
}

#[inline(always)]
pub(crate) fn enter(thread: Thread, argument: u64) {
    let _ = CALLED.insert(thread.tid, argument, 0);
}

/// The function returns: what it was called with.
#[inline(always)]
pub(crate) fn leave(thread: Thread) -> Option<u64> {
    // SAFETY: only this thread writes its entry; copied before it is removed.
    let argument = unsafe { CALLED.get(thread.tid) }.copied()?;
    let _ = CALLED.remove(thread.tid);
    Some(argument)
}
