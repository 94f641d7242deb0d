//! Items in a `queue.SimpleQueue` of CPython: work for whoever takes them, as a `ThreadPoolExecutor` has it, or what a pool
//! lends.
//!
//! A thread that takes work works on that, and on nothing else. Of a `ThreadPoolExecutor`'s items it is known that they are work; of
//! others where two takers of a queue came back for more with nothing put into it meanwhile, before any of them put something in.
//!
//! A thread that is in the middle of a request which it read itself takes nothing over: if the item came with something else than
//! its request, the thread works for nobody we know, until it puts the item back. Once that has happened to an item it is one that
//! is lent, and to take it changes nothing.

use autospan_abi::Counter;
use autospan_abi::limits::{QUEUED_MAX, QUEUES_MAX, TAKERS_MAX};
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;

use crate::capture::read_user;
use crate::carrier::{self, Carrier};
use crate::context::Context;
use crate::counter;
use crate::process::Thread;

/// Those that were put into a queue and not taken yet, or are lent.
#[map]
static ITEMS: LruHashMap<ObjectKey, Item> = LruHashMap::with_max_entries(QUEUED_MAX, 0);

/// By queue: what its takers do.
#[map]
static QUEUES: LruHashMap<ObjectKey, Queue> = LruHashMap::with_max_entries(QUEUES_MAX, 0);

/// By thread: the queue that it took from last, if it has put nothing there since.
#[map]
static TAKEN_FROM: LruHashMap<u32, u64> = LruHashMap::with_max_entries(TAKERS_MAX, 0);

#[repr(C)]
#[derive(Clone, Copy)]
struct ObjectKey {
    address: u64,
    tgid: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Queue {
    /// Type of what it holds: another queue may be where one was.
    of_type: u64,
    /// How often somebody came back for more and had put nothing into it.
    kept: u32,
    /// 1: somebody who had taken something put something into it.
    is_pool: u32,
}

impl Queue {
    /// One may have been of no use, and thrown away.
    const KEPT_MIN: u32 = 2;
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Item {
    /// What came with it; while it is lent, what its borrower works on.
    carrier: Carrier,
    /// The queue that it was put into last, 0: not seen.
    queue: u64,
    /// Type of the object: another one may be at its address.
    of_type: u64,
    /// The thread that has it and was in the middle of a request when it took it, 0: none.
    borrower: u32,
    /// 1: its last borrower has put it back.
    is_lent: u32,
}

impl Item {
    /// Not an `Option`: see `Job::NONE`.
    const NONE: Self = Self { carrier: Carrier::NONE, queue: 0, of_type: 0, borrower: 0, is_lent: 0 };

    /// The thread that took it leaves it where it was.
    #[inline(always)]
    fn comes_back(&self, left: &Self, thread: Thread) -> bool {
        let is_its_queue = self.queue == left.queue || self.queue == 0;
        self.borrower == thread.tid && self.of_type == left.of_type && is_its_queue
    }

    /// The borrower's request waits still, and it has taken up nothing else meanwhile.
    #[inline(always)]
    fn may_go_on(&self, carried: &Carrier) -> bool {
        let nothing_else = !carried.cause.is_some() || carried.cause.token == self.carrier.cause.token;
        nothing_else && self.carrier.is_waited_for()
    }
}

/// The thread puts an item into a queue.
#[inline(always)]
pub(crate) fn put(thread: Thread, queue: u64, item: u64) {
    let context = Context::current(thread);
    let mut left = Item { queue, of_type: type_of(item), ..Item::NONE };
    gives(thread, queue, left.of_type);
    let mut carrier = carrier::in_context(context, thread);
    let before = known(thread.tgid, item);
    if before.comes_back(&left, thread) && before.may_go_on(&carrier) && !context.is_task() {
        carrier::set(context, before.carrier);
        (carrier, left.is_lent) = (before.carrier, 1);
    }
    left.carrier = carrier.handed_on();
    store(thread.tgid, item, &left);
}

/// The thread, or its greenlet, has taken an item out of a queue.
#[inline(always)]
pub(crate) fn got(thread: Thread, item: u64) {
    let context = Context::current(thread);
    let found = known(thread.tgid, item);
    let of_type = type_of(item);
    let is_work = takes(thread, found.queue, of_type) || is_work_item(of_type);
    let own = if context.is_task() { Carrier::NONE } else { carrier::of(context).unwrap_or(Carrier::NONE) };
    if own.was_read() && own.is_waited_for() {
        return borrowed(thread, item, Item { of_type, ..found }, own);
    }
    let _ = ITEMS.remove(key(thread.tgid, item));
    let taker = if context.is_greenlet() { context } else { Context::thread(thread) };
    carrier::set(taker, if is_work && found.is_lent == 0 { found.carrier } else { Carrier::NONE });
}

/// The thread, in the middle of its `own` request, has taken the item.
#[inline(always)]
fn borrowed(thread: Thread, item: u64, found: Item, own: Carrier) {
    if found.is_lent == 0 && found.carrier.cause.token != own.cause.token {
        carrier::forget(Context::thread(thread));
    }
    let lent = Item { carrier: own, borrower: thread.tid, ..found };
    store(thread.tgid, item, &lent);
}

/// The thread puts something into the queue.
#[inline(always)]
fn gives(thread: Thread, queue: u64, of_type: u64) {
    // SAFETY: copied at once; only this thread's programs write it.
    if unsafe { TAKEN_FROM.get(thread.tid) }.copied() == Some(queue) {
        let _ = TAKEN_FROM.remove(thread.tid);
        let pool = Queue { of_type, kept: 0, is_pool: 1 };
        let _ = QUEUES.insert(key(thread.tgid, queue), pool, 0);
    }
}

/// The thread takes something out of the queue, 0: not known which. Whether that is work, as far as is known by now.
#[inline(always)]
fn takes(thread: Thread, queue: u64, of_type: u64) -> bool {
    // Not an `Option`, of which the compiler writes a part only: Linux before 6.3 refuses a program that reads what was not written.
    // SAFETY: copied at once; only this thread's programs write it.
    let before = unsafe { TAKEN_FROM.get(thread.tid) }.copied().unwrap_or(0);
    let _ = TAKEN_FROM.insert(thread.tid, queue, 0);
    let key = key(thread.tgid, queue);
    // SAFETY: copied at once; the interpreter's lock is held, so that nobody else writes it.
    let mut known = unsafe { QUEUES.get(key) }.copied().unwrap_or(Queue { of_type, kept: 0, is_pool: 0 });
    if known.of_type != of_type {
        known = Queue { of_type, kept: 0, is_pool: 0 };
    }
    if queue != 0 && before == queue && known.kept < Queue::KEPT_MIN {
        known.kept += 1;
        let _ = QUEUES.insert(key, known, 0);
    }
    queue != 0 && known.is_pool == 0 && known.kept >= Queue::KEPT_MIN
}

/// Whether the type is that of what `ThreadPoolExecutor` puts into its queue.
#[inline(always)]
fn is_work_item(of_type: u64) -> bool {
    const TYPE_NAME: u64 = 24;
    let name = read_user::<u64>(of_type + TYPE_NAME);
    name.and_then(read_user::<[u8; 10]>) == Some(*b"_WorkItem\0")
}

#[inline(always)]
fn type_of(object: u64) -> u64 {
    const OBJECT_TYPE: u64 = 8;
    read_user(object + OBJECT_TYPE).unwrap_or(0)
}

#[inline(always)]
fn key(tgid: u32, address: u64) -> ObjectKey {
    ObjectKey { address, tgid, pad: 0 }
}

#[inline(always)]
fn known(tgid: u32, item: u64) -> Item {
    // SAFETY: copied at once; the interpreter's lock is held, so that nobody else writes it.
    unsafe { ITEMS.get(key(tgid, item)) }.copied().unwrap_or(Item::NONE)
}

#[inline(always)]
fn store(tgid: u32, item: u64, what: &Item) {
    if ITEMS.insert(key(tgid, item), what, 0).is_err() {
        counter::bump(Counter::LostCarriersFull);
        // What is left of an older item would make a wrong parent.
        let _ = ITEMS.remove(key(tgid, item));
    }
}
