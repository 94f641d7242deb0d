//! Which request an execution context is working for: the token of the bytes it read last, or that it was handed.
//!
//! - Reading a request's bytes sets the carrier of the context that read them.
//! - A context that is made inherits the carrier of the one that makes it. So does a thread; whether that meant anything shows
//!   when it ends.
//! - A context that is woken by the one that has just read a request takes its carrier over, unless its own request has
//!   not been answered yet: locks and pools wake strangers.
//! - A plain thread that reads a response gets back the cause of the request it answers.

use autospan_abi::limits::CARRIERS_MAX;
use autospan_abi::process::TRAIT_GO;
use autospan_abi::{Counter, Direction, Trail};
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;

use crate::context::Context;
use crate::identity::{self, Kind};
use crate::kernel::Sock;
use crate::process::{self, Thread};
use crate::{connection, counter, lineage, turns};

/// No entry: the context works for nobody we know.
#[map]
static CARRIERS: LruHashMap<Context, Carrier> = LruHashMap::with_max_entries(CARRIERS_MAX, 0);

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Carrier {
    pub(crate) cause: Cause,
    /// The connection that the request came on, or the response.
    sock: u64,
}

/// A token and how it came to whoever has it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Cause {
    /// 0: none.
    pub(crate) token: u64,
    /// [`Trail`] as a number.
    pub(crate) trail: u32,
    /// 1: the context read the request itself.
    own: u32,
}

impl Cause {
    pub(crate) const NONE: Self = Self { token: 0, trail: 0, own: 0 };

    /// Of a context that has just read responses with this token.
    #[inline(always)]
    pub(crate) fn answered(token: u64, trail: Trail) -> Self {
        Self { token, trail: trail as u32, own: 0 }
    }

    #[inline(always)]
    pub(crate) fn is_some(self) -> bool {
        self.token != 0
    }

    #[inline(always)]
    fn trail(self) -> Trail {
        Trail::from_u8(self.trail as u8)
    }

    /// A context finer than a thread had it.
    #[inline(always)]
    pub(crate) fn is_task(self) -> bool {
        self.trail == Trail::Task as u32 || self.trail == Trail::Stream as u32
    }
}

impl Carrier {
    pub(crate) const NONE: Self = Self { cause: Cause::NONE, sock: 0 };

    /// Of a context that works for nobody; how sure that is, is in the trail.
    #[inline(always)]
    fn nothing(trail: Trail) -> Self {
        Self { cause: Cause { trail: trail as u32, ..Cause::NONE }, sock: 0 }
    }

    /// Of a context that has just read bytes with this token.
    #[inline(always)]
    pub(crate) fn read(token: u64, trail: Trail, sock: Sock) -> Self {
        Self { cause: Cause { token, trail: trail as u32, own: 1 }, sock: sock.0 }
    }

    /// Of no context: frames that were read on a connection. `first`: nothing was read there before.
    #[inline(always)]
    pub(crate) fn frames(sock: Sock, first: bool) -> Self {
        Self { cause: Cause { own: first as u32, ..Cause::NONE }, sock: sock.0 }
    }

    /// Of [`Carrier::frames`].
    #[inline(always)]
    pub(crate) fn is_first(self) -> bool {
        self.cause.own != 0
    }

    /// Of a context that goes on with the cause of a response.
    #[inline(always)]
    pub(crate) fn resumed(cause: Cause, sock: Sock) -> Self {
        Self { cause: Cause { own: 0, ..cause }, sock: sock.0 }
    }

    /// Cause of what the thread writes now on a connection; see [`Trail::Reuse`].
    #[inline(always)]
    pub(crate) fn cause_on(self, sock: Sock, thread: Thread) -> Cause {
        let in_turn = matches!(self.cause.trail(), Trail::Turn | Trail::ReuseAtOnce);
        if !in_turn {
            return self.cause;
        }
        // Nobody waits for a connection that all share. But what many have left there may be written by the immediate that the
        // first of them asked for.
        if connection::peek(sock).is_some_and(|connection| connection.is_pipeline()) {
            let trail = if turns::runs_immediates(thread.tid) { Trail::Reuse as u32 } else { self.cause.trail };
            return Cause { trail, ..self.cause };
        }
        if self.cause.own != 0 || self.sock != sock.0 {
            return self.cause;
        }
        let trail = if turns::asked_now(thread.tid) { Trail::ReuseAtOnce } else { Trail::Reuse };
        Cause { trail: trail as u32, ..self.cause }
    }

    #[inline(always)]
    pub(crate) fn sock(self) -> Sock {
        Sock(self.sock)
    }

    /// The same, in the hands of another context.
    #[inline(always)]
    pub(crate) fn handed_on(self) -> Self {
        Self { cause: Cause { own: 0, ..self.cause }, sock: self.sock }
    }

    /// The same, in the hands of a task that is made.
    #[inline(always)]
    pub(crate) fn inherited(self) -> Self {
        let trail = if self.cause.is_task() { Trail::Task as u32 } else { self.cause.trail };
        Self { cause: Cause { trail, own: 0, ..self.cause }, sock: self.sock }
    }

    /// The same, of a task that writes the heads of its own requests; see [`Trail::Stream`].
    #[inline(always)]
    pub(crate) fn writes_own_heads(self) -> Self {
        let trail = if self.cause.is_task() { Trail::Stream as u32 } else { self.cause.trail };
        Self { cause: Cause { trail, ..self.cause }, sock: self.sock }
    }

    /// The same in a later turn of an event loop: whoever waited for the connection of this one has it by then.
    #[inline(always)]
    pub(crate) fn in_later_turn(self) -> Self {
        Self { sock: 0, ..self.handed_on() }
    }

    /// The same, in the hands of a thread that is made. What is known of the turn of an event loop says nothing of its threads.
    #[inline(always)]
    fn spawned(self) -> Self {
        let trail = match self.cause.trail() {
            Trail::Thread => Trail::Spawned,
            Trail::Task => Trail::SpawnedByTask,
            Trail::Turn | Trail::Reuse | Trail::ReuseAtOnce | Trail::Stream => return Self::NONE,
            spawned => spawned,
        };
        Self { cause: Cause { token: self.cause.token, trail: trail as u32, own: 0 }, sock: self.sock }
    }

    /// The context read it itself.
    #[inline(always)]
    pub(crate) fn was_read(&self) -> bool {
        self.cause.own != 0
    }

    /// Work for its request may be left for another thread. Not by a thread that was made for it: see [`Trail::Spawned`].
    #[inline(always)]
    pub(crate) fn may_be_left(&self) -> bool {
        self.cause.is_some() && !self.cause.trail().is_spawned() && self.waits() != Some(false)
    }

    /// Its request may be what the context works on. What a thread has from its start it need not work on.
    #[inline(always)]
    pub(crate) fn may_be_in_use(&self) -> bool {
        self.cause.is_some() && self.waits().unwrap_or(!self.cause.trail().is_spawned())
    }

    /// Its request waits for an answer, as far as that can be told.
    #[inline(always)]
    pub(crate) fn is_waited_for(&self) -> bool {
        self.cause.is_some() && self.waits() == Some(true)
    }

    /// Its request waits for an answer. `None`: that cannot be told, since a response was read meanwhile.
    #[inline(always)]
    fn waits(&self) -> Option<bool> {
        let connection = connection::peek(Sock(self.sock)).filter(|connection| connection.is_server())?;
        Some(connection.token == self.cause.token && connection.direction == Direction::Inbound as u8)
    }

    /// The answer has begun, or a later request came on the same connection.
    #[inline(always)]
    pub(crate) fn is_answered(&self) -> bool {
        match connection::peek(Sock(self.sock)) {
            Some(connection) => {
                connection.token != self.cause.token || connection.direction == Direction::Outbound as u8
            }
            None => true,
        }
    }
}

/// What the current thread's context carries.
#[inline(always)]
pub(crate) fn current(thread: Thread) -> Carrier {
    in_context(Context::current(thread), thread)
}

/// What the context carries that the thread runs. One that nobody was seen to make is its thread's only one, unless it is a
/// greenlet, whose making is not seen.
#[inline(always)]
pub(crate) fn in_context(context: Context, thread: Thread) -> Carrier {
    let mut found = CARRIERS.get_ptr(context);
    if found.is_none() && context.is_task() && !context.is_greenlet() {
        found = CARRIERS.get_ptr(Context::thread(thread));
    }
    if found.is_none() && context.trail() == Trail::Turn {
        found = turns::asked_for(thread);
    }
    match found {
        // SAFETY: as in `of`.
        Some(carrier) => unsafe { *carrier },
        None => Carrier::nothing(context.trail()),
    }
}

#[inline(always)]
pub(crate) fn of(context: Context) -> Option<Carrier> {
    // SAFETY: a copy; an entry reused meanwhile belongs to no living context of this identity.
    unsafe { CARRIERS.get(context) }.copied()
}

/// How far a request is believed to be what the context works for that reads it from `sock`. A greenlet that reads another one
/// before it has answered the first works for both.
#[inline(always)]
pub(crate) fn trail_of_read(context: Context, sock: Sock) -> Trail {
    let is_shared =
        |before: Carrier| before.sock != sock.0 && (before.waits() == Some(true) || !before.cause.is_task());
    if context.is_greenlet() && of(context).is_some_and(is_shared) { Trail::Thread } else { context.trail() }
}

/// The context works for this request from now on; for nobody if it is none.
#[inline(always)]
pub(crate) fn set(context: Context, carrier: Carrier) {
    store(&context, &carrier);
}

/// The context goes on with the cause of the response that it has read. A thread that had read this request itself is still
/// known to have.
#[inline(always)]
pub(crate) fn resume(context: Context, cause: Cause, sock: Sock) {
    if goes_on(&context, cause.token) == 0 {
        set(context, Carrier::resumed(cause, sock));
    }
}

/// Whether the context is a thread that has this request, which it read itself.
#[inline(never)]
fn goes_on(context: &Context, token: u64) -> u32 {
    let is_own = |carrier: Carrier| carrier.was_read() && carrier.cause.token == token;
    u32::from(context.trail() == Trail::Thread && of(*context).is_some_and(is_own))
}

/// A function of its own for want of stack in those that use it.
#[inline(never)]
fn store(context: &Context, carrier: &Carrier) {
    if !carrier.cause.is_some() {
        return forget(*context);
    }
    turns::begin(*context, carrier);
    if CARRIERS.insert(context, carrier, 0).is_err() {
        counter::bump(Counter::LostCarriersFull);
        // A stale token would make a wrong parent; none makes a missing one.
        forget(*context);
    }
}

/// `context` is woken by one that carries `waker`.
#[inline(always)]
pub(crate) fn wake(context: Context, waker: Carrier) {
    if waker.cause.own == 0 {
        return;
    }
    lineage::woken(context, waker);
    if of(context).is_none_or(|carrier| carrier.is_answered()) {
        set(context, waker.handed_on());
    }
}

/// `maker` made a thread. In Go, threads are nobody's.
#[inline(always)]
pub(crate) fn spawned(thread: Thread, maker: Thread) {
    if !process::has(maker.tgid, TRAIT_GO) {
        set(Context::thread(thread), current(maker).spawned());
    }
}

/// The thread carries what it had from its start.
#[inline(always)]
pub(crate) fn is_spawned(thread: Thread) -> bool {
    of(Context::thread(thread)).is_some_and(|carrier| carrier.cause.trail().is_spawned())
}

#[inline(always)]
pub(crate) fn forget(context: Context) {
    turns::end(context);
    // Not there is fine.
    let _ = CARRIERS.remove(context);
}

/// The context goes on with nothing, if it has what it read itself. What it was handed stays.
#[inline(always)]
pub(crate) fn forget_read(context: Context) {
    if of(context).is_some_and(|carrier| carrier.cause.own != 0) {
        forget(context);
    }
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
