//! Work that a thread of CPython leaves in a `collections.deque` for another to take, as `queue.Queue` has it.
//!
//! Deques are also connection pools, reply queues, semaphores and buffers, which hand a thread no work. A thread takes over
//! what came with an item only
//!
//! - from its *home*: the deque from which it first took something that another thread had left there, while it worked for
//!   nobody,
//! - if the deque is no pool: nobody puts back what he took out,
//! - if it has taken nothing else since it last called somebody: it may be collecting a batch.
//!
//! What it took over ends when it waits at its home, with its next item, or where something contradicts the above. Threads that
//! read requests themselves, event loops, and those that come and go without ever waiting take nothing over.

use autospan_abi::limits::{DEQUES_MAX, JOBS_MAX, TAKERS_MAX};
use autospan_abi::process::TRAIT_JOBS;
use autospan_abi::{Counter, DequeHead};
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;

use crate::capture::read_user;
use crate::carrier::{self, Carrier};
use crate::context::Context;
use crate::counter;
use crate::process::{self, Thread};

/// By deque and item: who left it there, and on whose behalf.
#[map]
static JOBS: LruHashMap<JobKey, Job> = LruHashMap::with_max_entries(JOBS_MAX, 0);

/// Deques through which items went from one thread to another, and those of the locks that threads wait with.
#[map]
static DEQUES: LruHashMap<DequeKey, Deque> = LruHashMap::with_max_entries(DEQUES_MAX, 0);

/// By thread: how it takes.
#[map]
static TAKERS: LruHashMap<u32, Taker> = LruHashMap::with_max_entries(TAKERS_MAX, 0);

#[repr(C)]
#[derive(Clone, Copy)]
struct JobKey {
    deque: u64,
    item: u64,
    tgid: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Job {
    carrier: Carrier,
    /// [`DequeHead::next_out`] when it is the next to be taken: of an item that is there twice, the one that was left last.
    index: u64,
    /// The thread that left it, or took it.
    by: u32,
    /// 1: it was taken.
    taken: u32,
}

impl Job {
    /// Not an `Option`: the verifier of older kernels takes a copy of what an empty one leaves unset for a read of it.
    const NONE: Self = Self { carrier: Carrier::NONE, index: 0, by: 0, taken: 0 };

    #[inline(always)]
    fn is_some(&self) -> bool {
        self.by != 0
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct DequeKey {
    address: u64,
    tgid: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Deque {
    /// [`DequeHead::state`] when something was last taken: it has grown since, or this is another deque at the same address.
    state: u64,
    /// Of a deque of locks: the one whose items its threads wait for, 0: not known.
    waits_for: u64,
    /// Items that threads took which another had left.
    taken: u32,
    /// [`Deque::POOL`] and others.
    flags: u32,
}

impl Deque {
    const UNKNOWN: Self = Self { state: 0, waits_for: 0, taken: 0, flags: 0 };

    /// Somebody put back what he had taken out.
    const POOL: u32 = 1;
    /// It is known with which locks threads wait for its items.
    const HAS_WAITERS: u32 = 2;
    /// The first few are not believed: by then a pool has shown that it is one.
    const UNBELIEVED: u32 = 2;
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Taker {
    /// 0: none yet.
    home: u64,
    /// Token of the item that it took last, 0: none, or not known.
    token: u64,
    /// The deque of locks in which it waited, if it did nothing else with deques since.
    waited_in: u64,
    /// Another deque that it takes from, and how often since it last took from its home.
    other: u64,
    others: u32,
    /// How often it came to its home and found a single item there without having waited, while it was never seen to wait.
    polls: u32,
    /// 1: it was seen to wait.
    waits: u32,
    /// [`Taker::FRESH`] and others.
    flags: u32,
}

impl Taker {
    const UNKNOWN: Self = Self { home: 0, token: 0, waited_in: 0, other: 0, others: 0, polls: 0, waits: 0, flags: 0 };

    /// It has called nobody since it took its last item.
    const FRESH: u32 = 1;
    /// It reads requests itself, or runs an event loop: it takes nothing over.
    const NEVER: u32 = 2;

    /// Takes after which a thread that was never seen to wait is one that looks in from time to time and does other things
    /// meanwhile.
    const POLLS_MAX: u32 = 16;
    /// Takes from another deque, with none from the home in between, after which that is the home.
    const MOVES: u32 = 4;
    /// No request's.
    const UNCLEAR: u64 = u64::MAX;
}

/// Start of a deque. `None` where items do not only leave it by being taken.
#[inline(always)]
fn head_of(deque: u64) -> Option<DequeHead> {
    read_user::<DequeHead>(deque + DequeHead::OFFSET).filter(DequeHead::is_unlimited)
}

/// The thread leaves an item in a deque.
#[inline(always)]
pub(crate) fn left(thread: Thread, deque: u64, item: u64) {
    if process::has(thread.tgid, TRAIT_JOBS) {
        if is_lock(item) { waits(deque, thread.tgid, thread.tid) } else { put(deque, item, thread.tgid, thread.tid) }
    }
}

/// The thread takes the first item out of a deque.
#[inline(always)]
pub(crate) fn takes(thread: Thread, deque: u64) {
    if process::has(thread.tgid, TRAIT_JOBS) {
        take(deque, thread.tgid, thread.tid);
    }
}

/// The thread writes a request of its own.
#[inline(always)]
pub(crate) fn works(thread: Thread) {
    if process::has(thread.tgid, TRAIT_JOBS)
        && let Some(taker) = TAKERS.get_ptr_mut(thread.tid)
    {
        // SAFETY: points into the map; only this thread's programs write it.
        unsafe { (*taker).flags &= !Taker::FRESH };
    }
}

/// The thread reads a request.
#[inline(always)]
pub(crate) fn reads(thread: Thread) {
    if process::has(thread.tgid, TRAIT_JOBS) {
        never(thread.tid);
    }
}

#[inline(always)]
pub(crate) fn forget(thread: Thread) {
    if process::has(thread.tgid, TRAIT_JOBS) {
        let _ = TAKERS.remove(thread.tid);
    }
}

/// Whether the object is what `threading.Condition` makes for each thread that waits.
#[inline(always)]
fn is_lock(object: u64) -> bool {
    const OBJECT_TYPE: u64 = 8;
    const TYPE_NAME: u64 = 24;
    let name = read_user::<u64>(object + OBJECT_TYPE).and_then(|of| read_user::<u64>(of + TYPE_NAME));
    name.and_then(read_user::<[u8; 13]>) == Some(*b"_thread.lock\0")
}

/// The thread will wait for a lock that it leaves in a deque. Where that is done for the next item, it is done with the last.
#[inline(never)]
fn waits(deque: u64, tgid: u32, tid: u32) {
    let thread = Thread { tgid, tid };
    let Some(taker) = taker(tid) else { return };
    taker.waited_in = deque;
    if taker.home == 0 {
        return;
    }
    let waits_for = known(deque, tgid).map_or(0, |locks| locks.waits_for);
    let others_are_known = known(taker.home, tgid).is_some_and(|home| home.flags & Deque::HAS_WAITERS != 0);
    if waits_for == taker.home || !others_are_known {
        let_go(taker, thread);
    }
}

#[inline(never)]
fn put(deque: u64, item: u64, tgid: u32, tid: u32) {
    let thread = Thread { tgid, tid };
    let Some(head) = head_of(deque) else { return };
    let context = Context::current(thread);
    if context.is_task() {
        never(tid);
    }
    let _ = waited_in(tid);
    let key = JobKey { deque, item, tgid, pad: 0 };
    // SAFETY: copied at once.
    let before = unsafe { JOBS.get(key) }.copied();
    if before.is_some_and(|before| before.taken != 0 && before.by == tid) {
        change(deque, tgid, Deque { state: head.state, flags: Deque::POOL, ..Deque::UNKNOWN });
    }
    let carrier = carrier::in_context(context, thread);
    // Nobody's jobs are jobs as well.
    let carrier = if carrier.may_be_left() { carrier.handed_on() } else { Carrier::NONE };
    let job = Job { carrier, index: head.next_in(), by: tid, taken: 0 };
    if JOBS.insert(key, job, 0).is_err() {
        counter::bump(Counter::LostCarriersFull);
    }
}

#[inline(never)]
fn take(deque: u64, tgid: u32, tid: u32) {
    let thread = Thread { tgid, tid };
    let Some(head) = head_of(deque).filter(|head| head.size != 0) else { return };
    let Some(item) = head.first().and_then(read_user::<u64>) else { return };
    let job = take_job(deque, item, tgid, tid, head.next_out());
    let waited_in = waited_in(tid);
    let by_other = job.is_some() && job.by != tid;
    // Most are a thread's own, such as those of the parser of headers.
    if !by_other && !is_home(deque, tid) {
        return;
    }
    if Context::current(thread).is_task() {
        return never(tid);
    }
    seen(deque, tgid, head.state);
    change(deque, tgid, Deque { state: head.state, taken: u32::from(by_other), ..Deque::UNKNOWN });
    let token = job.carrier.cause.token;
    if accept(deque, token, tgid, tid) && comes_home(deque, waited_in, head.size, tgid, tid) && job.is_some() {
        carrier::set(Context::thread(thread), job.carrier);
    }
}

/// The thread takes an item that came with this token, 0: with none. Whether it may work on that from now on. What it had
/// before it has no more, unless this has nothing to do with it.
#[inline(never)]
fn accept(deque: u64, token: u64, tgid: u32, tid: u32) -> bool {
    let thread = Thread { tgid, tid };
    let Some(taker) = taker(tid) else { return false };
    let carrier = carrier::of(Context::thread(thread)).unwrap_or(Carrier::NONE);
    if carrier.was_read() {
        taker.flags |= Taker::NEVER;
    }
    let is_pool = known(deque, tgid).is_some_and(|of| of.flags & Deque::POOL != 0);
    if is_pool || taker.flags & Taker::NEVER != 0 {
        if taker.home == deque {
            let_go(taker, thread);
            taker.home = 0;
        }
        return false;
    }
    if carrier.cause.token != taker.token && carrier.may_be_in_use() {
        // It came to that by other means, and may go on with it if this is for the same.
        if carrier.cause.token != token {
            carrier::forget(Context::thread(thread));
        }
        return false;
    }
    if taker.home != deque && !moves(taker, deque) {
        // A reply, or another queue's.
        if token != taker.token || token == 0 {
            let_go(taker, thread);
        }
        return false;
    }
    let_go(taker, thread);
    let collects = taker.flags & Taker::FRESH != 0 && taker.token != token;
    taker.token = if collects { Taker::UNCLEAR } else { token };
    taker.flags |= Taker::FRESH;
    !collects
}

/// Whether another deque is the thread's home from now on.
#[inline(always)]
fn moves(taker: &mut Taker, deque: u64) -> bool {
    taker.others = if taker.other == deque { taker.others + 1 } else { 1 };
    taker.other = deque;
    if taker.home != 0 && taker.others < Taker::MOVES {
        return false;
    }
    taker.home = deque;
    taker.flags &= !Taker::FRESH;
    true
}

/// The thread takes from its home, having waited with a lock in another deque, 0: not seen. Whether that is a queue of jobs, as
/// far as is known by now.
#[inline(never)]
fn comes_home(deque: u64, waited_in: u64, size: u64, tgid: u32, tid: u32) -> bool {
    let Some(taker) = taker(tid) else { return false };
    (taker.other, taker.others) = (0, 0);
    if waited_in != 0 {
        taker.waits = 1;
        change(deque, tgid, Deque { flags: Deque::HAS_WAITERS, ..Deque::UNKNOWN });
        change(waited_in, tgid, Deque { waits_for: deque, ..Deque::UNKNOWN });
    } else if size == 1 {
        taker.polls = taker.polls.saturating_add(1);
    }
    let looks_in = taker.waits == 0 && taker.polls > Taker::POLLS_MAX;
    !looks_in && known(deque, tgid).is_some_and(|of| of.taken > Deque::UNBELIEVED)
}

/// The thread is done with what it took.
#[inline(always)]
fn let_go(taker: &mut Taker, thread: Thread) {
    let context = Context::thread(thread);
    if taker.token != 0 && carrier::of(context).is_some_and(|carrier| carrier.cause.token == taker.token) {
        carrier::forget(context);
    }
}

#[inline(always)]
fn is_home(deque: u64, tid: u32) -> bool {
    // SAFETY: copied at once.
    unsafe { TAKERS.get(tid) }.is_some_and(|taker| taker.home == deque)
}

/// The deque of locks in which the thread waited just before, 0: none.
#[inline(always)]
fn waited_in(tid: u32) -> u64 {
    // SAFETY: points into the map; only this thread's programs write it.
    TAKERS.get_ptr_mut(tid).map_or(0, |taker| core::mem::replace(unsafe { &mut (*taker).waited_in }, 0))
}

#[inline(always)]
fn taker(tid: u32) -> Option<&'static mut Taker> {
    if TAKERS.get_ptr(tid).is_none() && TAKERS.insert(tid, Taker::UNKNOWN, 0).is_err() {
        counter::bump(Counter::LostCarriersFull);
    }
    // SAFETY: points into the map; only this thread's programs write it.
    TAKERS.get_ptr_mut(tid).map(|taker| unsafe { &mut *taker })
}

/// A function of its own: what it needs of the stack, those that read have not.
#[inline(never)]
fn never(tid: u32) {
    if let Some(taker) = taker(tid) {
        taker.flags |= Taker::NEVER;
    }
}

/// What was left at this place. It is marked as taken, so that it shows if the thread puts it back.
#[inline(always)]
fn take_job(deque: u64, item: u64, tgid: u32, tid: u32, index: u64) -> Job {
    let Some(entry) = JOBS.get_ptr_mut(JobKey { deque, item, tgid, pad: 0 }) else { return Job::NONE };
    // SAFETY: points into the map; the interpreter's lock is held, so that nobody else writes it.
    let entry = unsafe { &mut *entry };
    let job = *entry;
    if job.taken != 0 || job.index != index {
        return Job::NONE;
    }
    (entry.by, entry.taken) = (tid, 1);
    job
}

#[inline(always)]
fn known(deque: u64, tgid: u32) -> Option<&'static mut Deque> {
    let found = DEQUES.get_ptr_mut(DequeKey { address: deque, tgid, pad: 0 })?;
    // SAFETY: points into the map; the interpreter's lock is held, so that nobody else writes it.
    Some(unsafe { &mut *found })
}

/// Another deque may be where one was.
#[inline(always)]
fn seen(deque: u64, tgid: u32, state: u64) {
    if let Some(known) = known(deque, tgid) {
        if state <= known.state {
            *known = Deque::UNKNOWN;
        }
        known.state = state;
    }
}

/// Adds to what is known of a deque.
#[inline(never)]
fn change(address: u64, tgid: u32, more: Deque) {
    match known(address, tgid) {
        Some(known) => {
            known.taken = known.taken.saturating_add(more.taken);
            known.flags |= more.flags;
            known.waits_for = if more.waits_for != 0 { more.waits_for } else { known.waits_for };
        }
        None => {
            if DEQUES.insert(DequeKey { address, tgid, pad: 0 }, more, 0).is_err() {
                counter::bump(Counter::LostCarriersFull);
            }
        }
    }
}
