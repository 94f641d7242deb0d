//! Which request a thread is working for: the token of the bytes it read last, or of the request whose response it read.

use autospan_abi::Counter;
use autospan_abi::limits::CARRIERS_MAX;
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;

use crate::counter;
use crate::identity::{self, Kind};

/// Token by thread id. No entry: the thread works for nobody we know.
#[map]
static CARRIERS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(CARRIERS_MAX, 0);

/// Token that the thread carries, or 0.
#[inline(always)]
pub(crate) fn of(tid: u32) -> u64 {
    // SAFETY: a copy of a number; an entry reused meanwhile belongs to no living thread of this id.
    unsafe { CARRIERS.get(tid) }.copied().unwrap_or(0)
}

/// The thread works for `token` from now on; for nobody if it is 0.
#[inline(always)]
pub(crate) fn set(tid: u32, token: u64) {
    if token == 0 {
        return forget(tid);
    }
    if CARRIERS.insert(tid, token, 0).is_err() {
        counter::bump(Counter::LostCarriersFull);
        // A stale token would make a wrong parent; none makes a missing one.
        forget(tid);
    }
}

#[inline(always)]
pub(crate) fn forget(tid: u32) {
    // Not there is fine.
    let _ = CARRIERS.remove(tid);
}

/// A new token, for bytes that came in.
#[inline(always)]
pub(crate) fn mint() -> u64 {
    counter::bump(Counter::Tokens);
    identity::unique(Kind::Token)
}

/// The same, in a program on user code.
#[inline(always)]
pub(crate) fn mint_in_probe(tid: u32) -> u64 {
    counter::bump(Counter::Tokens);
    identity::unique_in_probe(tid)
}
