//! Node: in which turn of its event loop a thread asked for the callback that runs now.
//!
//! Node numbers whatever will call back, in the order in which it is asked for, and keeps the number of what runs, of what
//! asked for it, and the last number given in memory that JavaScript and C++ share (`AsyncHooks::async_id_fields_`). No hook needs
//! to be enabled for that. The last number at the beginning of each turn tells which turn any number was given in.
//!
//! - An immediate runs after the turns of its iteration. It goes on with the turn that asked for it.
//! - What is written in a turn on the connection that the turn's response came on was asked for in this turn, or long ago by
//!   somebody who waited for the connection in an agent's queue.

use autospan_abi::Counter;
use autospan_abi::limits::{NODES_MAX, TURNS_MAX};
use autospan_abi::process::TRAIT_TURNS;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LruHashMap};

use crate::capture::read_user;
use crate::carrier::Carrier;
use crate::context::Context;
use crate::counter;
use crate::process::{self, Thread};

/// By thread.
#[map]
static NODES: LruHashMap<u32, Node> = LruHashMap::with_max_entries(NODES_MAX, 0);

/// Too large for the stack: what a thread begins with.
#[map]
static NEW_NODE: Array<Node> = Array::with_max_entries(1, 0);

/// The event loop of a thread.
#[repr(C)]
struct Node {
    /// Address of [`Numbers`]; 0: not found.
    fields: u64,
    /// Turns that began so far; each has its place in `turns`.
    begun: u32,
    /// 1: between the first immediate of an iteration and the next wait.
    is_checking: u32,
    /// The last number that was given before the iteration's immediates ran, and before those of the iteration before it.
    checked: [u64; 2],
    turns: [Turn; TURNS_MAX as usize],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Turn {
    /// The last number that was given before it.
    after: u64,
    carrier: Carrier,
}

/// Numbers are doubles that are never negative here: they compare as the integers with the same bits.
#[derive(Clone, Copy)]
struct Numbers {
    running: u64,
    asked_by: u64,
    last: u64,
}

/// Where they have the last one.
const LAST: u64 = 16;
/// The bit pattern of 1.0.
const ONE: u64 = 0x3ff0_0000_0000_0000;
/// Of the largest number that a double counts without gaps, 2^53.
const MAX: u64 = 0x4340_0000_0000_0000;

// === finding the numbers ===

/// Words of an `AliasedBufferBase`: isolate, count, offset in bytes, buffer, and what JavaScript has of it.
const BUFFER_WORDS: u64 = 7;
const COUNT: u64 = 1;
const OFFSET: u64 = 2;
const ADDRESS: u64 = 3;
/// `AsyncHooks` begins with three of them: the stack of numbers (pairs, 16 at first), fields, and the numbers, four.
const STACK_COUNT_MIN: u64 = 32;
const FIELDS_COUNT: core::ops::RangeInclusive<u64> = 7..=16;
const NUMBERS_COUNT: u64 = 4;
/// Where `AsyncHooks` is sought: words behind `immediate_check_handle_` in `node::Environment`. It is the 80th in Node 18 to 26.
const SOUGHT_WORDS: core::ops::Range<u64> = 64..128;

/// The loop begins its immediates, for `handle`, a `uv_check_t *` inside of its `node::Environment`.
#[inline(always)]
pub(crate) fn checks(thread: Thread, handle: u64) {
    if NODES.get_ptr(thread.tid).is_none() {
        meet(thread.tid, handle);
    }
    let Some(node) = of(thread.tid) else { return };
    if let Some(numbers) = node.numbers() {
        node.checked = [numbers.last, node.checked[0]];
        node.is_checking = 1;
    }
}

#[inline(never)]
fn meet(tid: u32, handle: u64) {
    let Some(new) = NEW_NODE.get_ptr(0) else { return };
    // SAFETY: points into the map; never written.
    if NODES.insert(tid, unsafe { &*new }, 0).is_err() {
        counter::bump(Counter::LostCarriersFull);
    }
    let Some(node) = NODES.get_ptr_mut(tid) else { return };
    for word in SOUGHT_WORDS {
        let fields = numbers_of(handle + word * 8);
        if fields != 0 {
            // SAFETY: points into the map; only its own thread writes it.
            unsafe { (*node).fields = fields };
            return;
        }
    }
}

/// Address of the numbers, if `hooks` is that of an `AsyncHooks`; else 0.
#[inline(always)]
fn numbers_of(hooks: u64) -> u64 {
    let word = |buffer: u64, word: u64| read_user::<u64>(hooks + (buffer * BUFFER_WORDS + word) * 8).unwrap_or(0);
    if word(2, COUNT) != NUMBERS_COUNT || !FIELDS_COUNT.contains(&word(1, COUNT)) || word(0, COUNT) < STACK_COUNT_MIN {
        return 0;
    }
    let isolate = word(0, 0);
    let is_one = isolate != 0 && word(1, 0) == isolate && word(2, 0) == isolate;
    if !is_one || word(0, OFFSET) != 0 || word(1, OFFSET) != 0 || word(2, OFFSET) != 0 {
        return 0;
    }
    word(2, ADDRESS)
}

/// The thread ends, or runs another program: its numbers are no longer where they were.
#[inline(always)]
pub(crate) fn forget(thread: Thread) {
    if process::has(thread.tgid, TRAIT_TURNS) {
        // Not there is fine.
        let _ = NODES.remove(thread.tid);
    }
}

#[inline(always)]
fn of(tid: u32) -> Option<&'static mut Node> {
    let node = NODES.get_ptr_mut(tid)?;
    // SAFETY: points into the map; only its own thread writes it.
    let node = unsafe { &mut *node };
    if node.fields == 0 { None } else { Some(node) }
}

impl Node {
    /// `None`: that is not what they look like.
    #[inline(always)]
    fn numbers(&self) -> Option<Numbers> {
        let [running, asked_by, last] = read_user::<[u64; 3]>(self.fields)?;
        let are_numbers = running <= last && asked_by <= last && (ONE..MAX).contains(&last);
        are_numbers.then_some(Numbers { running, asked_by, last })
    }

    #[inline(always)]
    fn turn(&mut self, index: u32) -> &mut Turn {
        &mut self.turns[(index & (TURNS_MAX - 1)) as usize]
    }

    /// The last number that was given, read by itself for want of stack; 0: that is not what it looks like.
    #[inline(always)]
    fn last(&self) -> u64 {
        read_user::<u64>(self.fields + LAST).filter(|last| (ONE..MAX).contains(last)).unwrap_or(0)
    }

    /// The last number that was given before the current turn.
    #[inline(always)]
    fn current(&mut self) -> u64 {
        if self.begun == 0 { MAX } else { self.turn(self.begun - 1).after }
    }

    #[inline(always)]
    fn begin(&mut self, carrier: Carrier) {
        let last = self.last();
        if last == 0 {
            return;
        }
        // Nothing was asked for in the turn before: its place is taken.
        if self.current() != last {
            self.begun = self.begun.wrapping_add(1);
        }
        *self.turn(self.begun.wrapping_sub(1)) = Turn { after: last, carrier };
    }

    /// The place of the turn in which a number was given, if that is remembered; else [`NO_TURN`].
    #[inline(always)]
    fn turn_of(&mut self, number: u64) -> u32 {
        // The last of the turns that began before it, from the newest on: what runs was asked for a few turns ago, as a rule.
        for back in 1..=TURNS_SOUGHT {
            if back > self.begun {
                return NO_TURN;
            }
            if self.turn(self.begun - back).after < number {
                return self.begun - back;
            }
        }
        NO_TURN
    }
}

const NO_TURN: u32 = u32::MAX;
/// How many turns back the one is sought that asked.
const TURNS_SOUGHT: u32 = TURNS_MAX - 1;

// === turns ===

/// What a thread does from now on is for `carrier`.
#[inline(always)]
pub(crate) fn begin(context: Context, carrier: &Carrier) {
    if let Some(thread) = context.loop_thread() {
        note(thread, carrier);
    }
}

#[inline(never)]
fn note(tid: u32, carrier: &Carrier) {
    if let Some(node) = of(tid) {
        node.begin(*carrier);
    }
}

/// What it does from now on is for nobody.
#[inline(always)]
pub(crate) fn end(context: Context) {
    begin(context, &Carrier::NONE);
}

/// The loop waits: all immediates have run.
#[inline(always)]
pub(crate) fn waits(thread: Thread) {
    if let Some(node) = of(thread.tid) {
        node.is_checking = 0;
    }
}

// === whose callback runs ===

/// After the turns of an iteration: what the one carried that asked for the callback which runs now. Of what is older, timers
/// for one, nothing is said: it may be used again and again.
#[inline(always)]
pub(crate) fn asked_for(thread: Thread) -> Option<*const Carrier> {
    let turn = asking_turn(thread.tid);
    if turn == NO_TURN {
        return None;
    }
    of(thread.tid).map(|node| &raw const node.turn(turn).carrier)
}

#[inline(never)]
fn asking_turn(tid: u32) -> u32 {
    let Some(node) = of(tid) else { return NO_TURN };
    let Some(numbers) = node.numbers() else { return NO_TURN };
    let [checked, before] = node.checked;
    let asked = if numbers.running > checked { numbers.asked_by } else { numbers.running };
    if node.is_checking == 0 || asked <= before || asked > checked {
        return NO_TURN;
    }
    let turn = node.turn_of(asked);
    if turn != NO_TURN && node.turn(turn).carrier.cause.is_some() { turn } else { NO_TURN }
}

/// What runs now is an immediate, or was asked for by one.
#[inline(never)]
pub(crate) fn runs_immediates(tid: u32) -> bool {
    of(tid).is_some_and(|node| node.is_checking != 0)
}

/// What runs now was asked for in this very turn.
#[inline(never)]
pub(crate) fn asked_now(tid: u32) -> bool {
    let Some(node) = of(tid) else { return false };
    let Some(numbers) = node.numbers() else { return false };
    let current = node.current();
    numbers.running > current && (numbers.asked_by == 0 || numbers.asked_by > current)
}
