//! TLS: which session of which library reads and writes the plaintext of which connection.
//!
//! A session (an `SSL`, a `gnutls_session_t`, a Go `*tls.Conn`) is bound to its connection on evidence, never on a guess:
//!
//! - a system call on the connection, made inside a call of the library on the session;
//! - where the library never sees the socket (memory BIOs: Node, asyncio): the library is asked to read right after the
//!   same context read ciphertext from the connection, and nobody else has asked since;
//! - or the context that connected the socket, or one of those that it comes from, asks a new session for its first message right
//!   before that is sent;
//! - `SSL_set_fd`.
//!
//! What contradicts a binding ends it, and then one piece of the second kind of evidence is not enough any more.

use autospan_abi::limits::{
    BEGINNINGS_MAX, TLS_BINDINGS_MAX, TLS_CALLS_MAX, TLS_HELLO_CALLS_MAX, TLS_READ_KEPT_NS, TLS_READS_MAX,
    TLS_SESSIONS_MAX,
};
use autospan_abi::process::{TRAIT_GO, TRAIT_TLS, TRAIT_UVLOOP};
use autospan_abi::{ConnectionClosed, Counter, Direction};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;

use crate::call::{Call, Layout};
use crate::capture::{self, Transfer};
use crate::carrier::Cause;
use crate::connection::{self, Connection, Tls};
use crate::context::Context;
use crate::kernel::{self, Sock, Socket};
use crate::process::{self, Thread};
use crate::{carrier, counter, lineage, pending};

/// Calls of TLS libraries in progress.
#[map]
static TLS_CALLS: LruHashMap<Caller, InProgress> = LruHashMap::with_max_entries(TLS_CALLS_MAX, 0);

#[map]
static TLS_SESSIONS: LruHashMap<SessionKey, Session> = LruHashMap::with_max_entries(TLS_SESSIONS_MAX, 0);

/// By context: the connection whose ciphertext it read last, until a session is asked for the plaintext.
#[map]
static TLS_READS: LruHashMap<Context, CiphertextRead> = LruHashMap::with_max_entries(TLS_READS_MAX, 0);

/// By task: the session that it asked first, until the connection's first message is sent.
#[map]
static TLS_OFFERS: LruHashMap<Context, Offer> = LruHashMap::with_max_entries(BEGINNINGS_MAX, 0);

/// Who makes a call of a library: a goroutine by its g where the process is a Go program, else a thread.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    id: u64,
    tgid: u32,
    /// Threads: [`Direction`] of the call as a number, since a library that reads may call back and be made to write.
    direction: u32,
}

impl Caller {
    #[inline(always)]
    pub(crate) fn thread(thread: Thread) -> Self {
        Self { id: u64::from(thread.tid), tgid: thread.tgid, direction: Direction::Inbound as u32 }
    }

    #[inline(always)]
    pub(crate) fn goroutine(tgid: u32, g: u64) -> Self {
        Self { id: g, tgid, direction: Direction::Inbound as u32 }
    }

    #[inline(always)]
    fn inbound(self) -> Self {
        Self { direction: Direction::Inbound as u32, ..self }
    }

    #[inline(always)]
    fn outbound(self) -> Self {
        Self { direction: Direction::Outbound as u32, ..self }
    }
}

/// A session by its address in a process.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SessionKey {
    pub(crate) session: u64,
    pub(crate) tgid: u32,
    pub(crate) pad: u32,
}

/// What is known of a session.
#[repr(C)]
#[derive(Clone, Copy)]
struct Session {
    /// The connection that the evidence names.
    sock: u64,
    inode: u64,
    /// [`Standing`] as a number.
    standing: u32,
    pad: u32,
}

#[repr(u32)]
#[derive(Clone, Copy)]
enum Standing {
    /// Named by `SSL_set_fd`: good until something else is seen.
    Named = 1,
    /// Evidence contradicted itself before: one more piece of it is needed.
    Doubted = 2,
    Bound = 3,
    /// A system call was made inside a call on the session.
    Proven = 4,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CiphertextRead {
    /// Or [`CiphertextRead::SEVERAL`].
    sock: u64,
    inode: u64,
    at: u64,
}

impl CiphertextRead {
    /// Another connection's was still waiting for its session: who reads first and decrypts later leaves no evidence.
    const SEVERAL: u64 = 0;
}

/// A session without a connection was asked for something to send.
#[repr(C)]
#[derive(Clone, Copy)]
struct Offer {
    /// Or [`Offer::SEVERAL`].
    session: u64,
    at: u64,
}

impl Offer {
    /// Another session's was not sent yet.
    const SEVERAL: u64 = 0;
}

/// How a call of a library says how many bytes it moved.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It returns them.
    Returned,
    /// It returns 1 and puts them where an argument points.
    Pointed,
    /// It moves none.
    Nothing,
}

/// A call of a TLS library, from its entry to its return.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct TlsCall {
    pub(crate) session: u64,
    /// User address of the plaintext.
    pub(crate) buffer: u64,
    /// With [`Outcome::Pointed`]: where the number of bytes will be.
    pub(crate) moved_at: u64,
    /// Stack pointer on entry; 0 in Go, whose stacks move.
    pub(crate) stack: u64,
    entered: u64,
    /// What the context carried on entry.
    carried: Cause,
    /// Outbound: cause of the write, where the session was bound on entry already.
    cause: Cause,
    cause_known: u8,
    /// [`Direction`] as a number.
    pub(crate) direction: u8,
    /// [`Outcome`] as a number.
    pub(crate) outcome: u8,
    /// 1: another call was made inside it that is no part of it: what is done meanwhile may be done by that one's caller.
    is_reentered: u8,
    pad: u32,
}

/// The same in its map.
#[repr(C)]
#[derive(Clone, Copy)]
struct InProgress {
    call: TlsCall,
    /// Room for the records: a program on user code may be preempted, so that the CPU's own is not safe.
    transfer: Transfer,
}

/// What an entry is before its call is written into it: made on the stack, it would be too much for older kernels.
static NO_CALL: InProgress = InProgress { call: TlsCall::NONE, transfer: Transfer::EMPTY };

impl TlsCall {
    const NONE: Self = {
        // SAFETY: integers all, for which zeros are values.
        unsafe { core::mem::zeroed() }
    };

    #[inline(always)]
    pub(crate) fn new(session: u64, buffer: u64, direction: Direction, outcome: Outcome) -> Self {
        Self {
            session,
            buffer,
            moved_at: 0,
            stack: 0,
            // SAFETY: the helper has no preconditions.
            entered: unsafe { bpf_ktime_get_ns() },
            carried: Cause::NONE,
            cause: Cause::NONE,
            cause_known: 0,
            direction: direction as u8,
            outcome: outcome as u8,
            is_reentered: 0,
            pad: 0,
        }
    }
}

// === calls of the library ===

/// A call begins. What nests in another call of the same stack, session and direction is part of that one.
#[inline(always)]
pub(crate) fn enter(mut caller: Caller, thread: Thread, mut call: TlsCall) {
    counter::bump(Counter::TlsProbes);
    if call.stack != 0 {
        let (own, other) = if call.direction == Direction::Inbound as u8 {
            (caller.inbound(), caller.outbound())
        } else {
            (caller.outbound(), caller.inbound())
        };
        is_inside(other, &call);
        if is_inside(own, &call) {
            return;
        }
        caller = own;
    }
    let key = SessionKey { session: call.session, tgid: thread.tgid, pad: 0 };
    let context = Context::current(thread);
    if call.stack != 0 {
        // Some programs offer what they want to write before anything else, and the handshake goes on inside that.
        let first_write = call.direction == Direction::Outbound as u8;
        let is_new = TLS_SESSIONS.get_ptr(key).is_none();
        if !first_write || is_new {
            follows_read(key, context, thread, first_write);
        }
        if is_new && context.is_python() && TLS_SESSIONS.get_ptr(key).is_none() {
            offer(call.session, context);
        }
    }
    let carrier = carrier::in_context(context, thread);
    call.carried = carrier.cause;
    if call.direction == Direction::Outbound as u8
        && let Some(connection) = connection_of(key, thread)
    {
        lineage::works(context);
        call.carried = carrier.cause_on(Sock(socket_of(key).0), thread);
        call.cause = connection.cause_of_write(thread, call.carried);
        call.cause_known = 1;
        connection.turn_to_answer(thread, call.carried);
    }
    let _ = TLS_CALLS.insert(caller, &NO_CALL, 0);
    match TLS_CALLS.get_ptr_mut(caller) {
        // SAFETY: points into the map; only this thread or goroutine writes the entry.
        Some(entry) => unsafe { (*entry).call = call },
        None => counter::bump(Counter::LostTlsFull),
    }
}

/// A call whose frame lies below that of the one in progress is made by it; else that one never returned to us.
#[inline(always)]
fn is_inside(outer: Caller, call: &TlsCall) -> bool {
    let Some(entry) = TLS_CALLS.get_ptr_mut(outer) else { return false };
    // SAFETY: points into the map; only this thread writes the entry.
    let in_progress = unsafe { &mut (*entry).call };
    if in_progress.stack <= call.stack {
        let _ = TLS_CALLS.remove(outer);
        return false;
    }
    // A handshake that a read or write goes through is part of it.
    let other_way = in_progress.direction != call.direction && call.outcome != Outcome::Nothing as u8;
    if in_progress.session != call.session || other_way {
        in_progress.is_reentered = 1;
    }
    true
}

/// The session of the call in progress, if what the thread does now is done by that call.
#[inline(always)]
fn session_in(caller: Caller) -> Option<u64> {
    // SAFETY: points into the map; only this thread or goroutine writes the entry.
    let call = unsafe { &(*TLS_CALLS.get_ptr(caller)?).call };
    if call.is_reentered == 0 { Some(call.session) } else { None }
}

/// Which of a thread's calls in progress returns; `stack` as in [`leave`].
#[inline(always)]
fn returning(caller: Caller, stack: u64) -> Option<Caller> {
    let returns = |caller| {
        // SAFETY: points into the map; only this thread writes the entry.
        let entered = TLS_CALLS.get_ptr(caller).map(|entry| unsafe { (*entry).call.stack });
        entered.is_some_and(|entered| entered + size_of::<u64>() as u64 == stack || entered == stack)
    };
    if returns(caller.inbound()) {
        Some(caller.inbound())
    } else if returns(caller.outbound()) {
        Some(caller.outbound())
    } else {
        None
    }
}

/// A call on the session is in progress.
#[inline(always)]
pub(crate) fn is_calling(caller: Caller, session: u64) -> bool {
    // SAFETY: points into the map; only this goroutine writes the entry.
    TLS_CALLS.get_ptr(caller).is_some_and(|call| unsafe { (*call).call.session } == session)
}

/// A handshake returned that was not part of another call.
#[inline(always)]
pub(crate) fn leave_handshake(caller: Caller) {
    counter::bump(Counter::TlsProbes);
    // SAFETY: points into the map; only this goroutine writes the entry.
    let alone = TLS_CALLS.get_ptr(caller).is_some_and(|call| unsafe { (*call).call.outcome } == Outcome::Nothing as u8);
    if alone {
        let _ = TLS_CALLS.remove(caller);
    }
}

/// A call returned: `result` as the function's type has it, `stack` behind the return address (0 in Go).
#[inline(always)]
pub(crate) fn leave(caller: Caller, thread: Thread, stack: u64, result: i64) {
    counter::bump(Counter::TlsProbes);
    let Some(caller) = (if stack == 0 { Some(caller) } else { returning(caller, stack) }) else { return };
    let Some(entry) = TLS_CALLS.get_ptr_mut(caller) else { return };
    // SAFETY: points into the map; only this thread or goroutine writes the entry.
    let InProgress { call, transfer } = unsafe { &mut *entry };
    let bytes = if call.outcome == Outcome::Pointed as u8 {
        if result == 1 { capture::read_user(call.moved_at).unwrap_or(0) } else { 0 }
    } else if call.outcome == Outcome::Returned as u8 && result > 0 {
        result as u64
    } else {
        0
    };
    if bytes != 0 {
        moved(call, transfer, thread, bytes);
    }
    let _ = TLS_CALLS.remove(caller);
}

#[inline(always)]
fn moved(call: &TlsCall, transfer: &mut Transfer, thread: Thread, bytes: u64) {
    let key = SessionKey { session: call.session, tgid: thread.tgid, pad: 0 };
    let Some(connection) = connection_of(key, thread) else {
        return counter::add(Counter::LostTlsUnbound, bytes);
    };
    if call.stack == 0 && call.direction == Direction::Outbound as u8 {
        // In Go, the goroutine that writes is another than the one that asks.
        let handed = pending::take_work(thread.tgid, call.session);
        if handed.cause.is_some() {
            connection.hand(handed.cause);
        }
    }
    let (direction, layout) = (Direction::Inbound, Layout::Buffer);
    let mut record = Call::on(Socket { sock: Sock(0), inode: 0 }, direction, layout, call.buffer, 1);
    (record.sock, record.inode) = socket_of(key);
    (record.direction, record.entered, record.plaintext) = (call.direction, call.entered, 1);
    if call.direction == Direction::Outbound as u8 {
        let known = call.cause_known != 0 && call.stack != 0;
        record.cause = if known { call.cause } else { connection.cause_of_write(thread, call.carried) };
    }
    if let Some(transfer) = Transfer::begin_in(transfer, connection, &record, thread, bytes) {
        transfer.run_buffer(&record);
    }
}

/// The library said which file descriptor a session is to use.
#[inline(always)]
pub(crate) fn name(key: SessionKey, fd: u64) {
    counter::bump(Counter::TlsProbes);
    let Ok(socket) = Socket::from_fd(fd) else { return };
    remember(key, socket, Standing::Named);
}

/// A session ends; its address may be another's next.
#[inline(always)]
pub(crate) fn free(key: SessionKey) {
    counter::bump(Counter::TlsProbes);
    let _ = TLS_SESSIONS.remove(key);
}

// === calls on the socket ===

/// Whether the call moved ciphertext whose plaintext is read from the library. Takes what the call tells about sessions.
#[inline(always)]
pub(crate) fn is_read_elsewhere(connection: &mut Connection, call: &Call, thread: Thread) -> bool {
    let may_be = connection.tls.calls < TLS_HELLO_CALLS_MAX && process::has(thread.tgid, TRAIT_TLS);
    if connection.tls.state == Tls::NONE && !may_be {
        return false;
    }
    observe(connection, call, (u64::from(thread.tgid) << 32) | u64::from(thread.tid)) != 0
}

#[inline(never)]
fn observe(connection: *mut Connection, call: *const Call, thread: u64) -> u64 {
    // SAFETY: both are the caller's own, in a map and on its stack.
    let (connection, call) = unsafe { (&mut *connection, &*call) };
    let thread = Thread { tgid: (thread >> 32) as u32, tid: thread as u32 };
    if connection.tls.state == Tls::NONE {
        if !starts_with_record(call) {
            connection.tls.calls += 1;
            return 0;
        }
        connection.tls.state = Tls::SEEN;
        connection.tls.calls = 0;
        if call.direction == Direction::Outbound as u8 {
            begins(connection, call, thread);
        }
    }
    counter::bump(Counter::TlsCiphertextCalls);
    if connection.tls.calls < TLS_HELLO_CALLS_MAX && connection.tls.cipher == 0 {
        connection.tls.calls += 1;
        look_for_hello(connection, call);
    }
    let go = process::has(thread.tgid, TRAIT_GO);
    let caller = if go { Caller::goroutine(thread.tgid, kernel::goroutine()) } else { Caller::thread(thread) };
    let session = match session_in(caller) {
        None if !go => session_in(caller.outbound()),
        session => session,
    };
    match session {
        Some(session) => proves(SessionKey { session, tgid: thread.tgid, pad: 0 }, connection, call.socket(), thread),
        None if call.direction == Direction::Inbound as u8 && !go => remember_read(connection, call.socket(), thread),
        None => {}
    }
    u64::from(connection.tls.is_bound())
}

const RECORD_HEADER_BYTES: u64 = 5;

/// A TLS record: its type, version 3.x, and a length that a record can have.
#[inline(always)]
fn starts_with_record(call: &Call) -> bool {
    let start = capture::start_of(call);
    start != 0 && capture::read_user::<[u8; 5]>(start).is_some_and(is_record_header)
}

#[inline(always)]
fn is_record_header([kind, major, minor, high, low]: [u8; 5]) -> bool {
    const CHANGE_CIPHER_SPEC: u8 = 20;
    const APPLICATION_DATA: u8 = 23;
    /// 16 KiB and what encryption may add.
    const LENGTH_MAX: u16 = 16_384 + 2_048;
    let length = u16::from_be_bytes([high, low]);
    kind >= CHANGE_CIPHER_SPEC
        && kind <= APPLICATION_DATA
        && major == 3
        && minor <= 4
        && length > 0
        && length <= LENGTH_MAX
}

/// Version and cipher suite, where the call begins with a ServerHello, or with one whose record header was read before.
#[inline(always)]
fn look_for_hello(connection: &mut Connection, call: &Call) {
    const HANDSHAKE: u8 = 22;
    const SERVER_HELLO: u8 = 2;
    /// Type and length of the message, version, random.
    const SESSION_ID_AT: u64 = 4 + 2 + 32;
    const SESSION_ID_MAX: u8 = 32;
    let mut at = capture::start_of(call);
    let Some(start) = capture::read_user::<[u8; 5]>(at) else { return };
    if start[0] == HANDSHAKE && start[1] == 3 {
        at += RECORD_HEADER_BYTES;
    }
    let Some([kind, high, _, _, major, minor]) = capture::read_user::<[u8; 6]>(at) else { return };
    if kind != SERVER_HELLO || high != 0 || major != 3 {
        return;
    }
    let Some(session_id) = capture::read_user::<u8>(at + SESSION_ID_AT) else { return };
    if session_id > SESSION_ID_MAX {
        return;
    }
    let cipher_at = at + SESSION_ID_AT + 1 + u64::from(session_id);
    if let Some(cipher) = capture::read_user::<[u8; 2]>(cipher_at) {
        connection.tls.version = u16::from_be_bytes([major, minor]);
        connection.tls.cipher = u16::from_be_bytes(cipher);
    }
}

#[inline(always)]
fn remember_read(connection: &mut Connection, socket: Socket, thread: Thread) {
    // uvloop reads before it enters the context that the read is for.
    let before_context = process::has(thread.tgid, TRAIT_UVLOOP);
    let context = if before_context { Context::thread(thread) } else { Context::current(thread) };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    store_read(context, CiphertextRead { sock: socket.sock.0, inode: socket.inode, at: now });
    if connection.tls.is_bound() && context.is_python() {
        connection.expect_plaintext(socket.sock, context);
    }
}

#[inline(always)]
fn store_read(context: Context, mut read: CiphertextRead) {
    // SAFETY: only the thread that runs the context writes its entry.
    if unsafe { TLS_READS.get(context) }.is_some_and(|last| last.sock != read.sock && is_fresh(last.at, read.at)) {
        read.sock = CiphertextRead::SEVERAL;
    }
    if TLS_READS.insert(context, read, 0).is_err() {
        counter::bump(Counter::LostTlsFull);
    }
}

#[inline(always)]
fn take_read(context: Context) -> Option<CiphertextRead> {
    // SAFETY: only the thread that runs the context writes its entry; copied before it is removed.
    let read = unsafe { TLS_READS.get(context) }.copied()?;
    let _ = TLS_READS.remove(context);
    Some(read)
}

/// The thread enters a context: what it read before was for that one.
#[inline(always)]
pub(crate) fn entered(context: Context, thread: Thread) {
    if let Some(read) = take_read(Context::thread(thread)) {
        store_read(context, read);
    }
}

/// A context was made where another one may have been before.
#[inline(always)]
pub(crate) fn made(context: Context) {
    let _ = TLS_READS.remove(context);
    let _ = TLS_OFFERS.remove(context);
}

#[inline(always)]
fn offer(session: u64, context: Context) {
    // SAFETY: the helper has no preconditions.
    let mut offer = Offer { session, at: unsafe { bpf_ktime_get_ns() } };
    // SAFETY: copied at once.
    if unsafe { TLS_OFFERS.get(context) }.is_some_and(|last| last.session != session && is_fresh(last.at, offer.at)) {
        offer.session = Offer::SEVERAL;
    }
    if TLS_OFFERS.insert(context, offer, 0).is_err() {
        counter::bump(Counter::LostTlsFull);
    }
}

// === evidence ===

/// What a context did last is evidence for what it does now.
#[inline(always)]
fn is_fresh(at: u64, now: u64) -> bool {
    now - at <= TLS_READ_KEPT_NS
}

/// A system call on the connection was made inside a call on the session.
#[inline(always)]
fn proves(key: SessionKey, connection: &mut Connection, socket: Socket, thread: Thread) {
    if is_bound_to(connection, key) {
        return;
    }
    bind(key, connection, socket, thread, Standing::Proven);
}

/// A new connection sends its first message. If one session was asked for its first by the context that connected, or by
/// one of those that made it, it is this session's.
#[inline(always)]
fn begins(connection: &mut Connection, call: &Call, thread: Thread) {
    if !connection.is_new() || !connection.is_untouched() {
        return;
    }
    let Some(connectors) = lineage::connectors(Sock(call.sock)) else { return };
    let offer_of = |task| take_offer(Context::task(thread.tgid, task));
    let [task, maker, before] = connectors;
    let session = offer_of(task).or_else(|| offer_of(maker)).or_else(|| offer_of(before));
    let Some(session) = session else { return };
    let key = SessionKey { session, tgid: thread.tgid, pad: 0 };
    // One that has its socket by now was a server's: it asked before there was anything to answer.
    if TLS_SESSIONS.get_ptr(key).is_none() {
        bind(key, connection, call.socket(), thread, Standing::Bound);
    }
}

#[inline(always)]
fn take_offer(context: Context) -> Option<u64> {
    // SAFETY: copied before it is removed.
    let offer = unsafe { TLS_OFFERS.get(context) }.copied()?;
    let _ = TLS_OFFERS.remove(context);
    // SAFETY: the helper has no preconditions.
    let is_fresh = is_fresh(offer.at, unsafe { bpf_ktime_get_ns() });
    if is_fresh && offer.session != Offer::SEVERAL { Some(offer.session) } else { None }
}

/// A session is about to decrypt. If the context has just read ciphertext, it is this session's. `first_write`: only if that
/// was part of a handshake which was seen from its start.
#[inline(always)]
fn follows_read(key: SessionKey, context: Context, thread: Thread, first_write: bool) {
    let Some(read) = take_read(context) else { return };
    // SAFETY: the helper has no preconditions.
    if !is_fresh(read.at, unsafe { bpf_ktime_get_ns() }) || read.sock == CiphertextRead::SEVERAL {
        return;
    }
    let socket = Socket { sock: Sock(read.sock), inode: read.inode };
    let Some(connection) = connection::lookup(socket) else { return };
    if first_write && !connection.is_new() {
        return;
    }
    weigh(key, connection, socket, thread);
}

#[inline(always)]
fn weigh(key: SessionKey, connection: &mut Connection, socket: Socket, thread: Thread) {
    // SAFETY: copied at once.
    let known = unsafe { TLS_SESSIONS.get(key) }.copied();
    let agrees = known.is_some_and(|session| session.sock == socket.sock.0 && session.inode == socket.inode);
    if agrees && is_bound_to(connection, key) {
        return;
    }
    if known.is_some_and(|session| session.standing == Standing::Proven as u32) && !agrees {
        // Its socket is known: what the thread read before was for something that we do not see.
        return;
    }
    let contradicts = (known.is_some() && !agrees) || connection.tls.is_bound();
    if contradicts {
        counter::bump(Counter::TlsConflicts);
        unbind(connection, thread);
        return remember(key, socket, Standing::Doubted);
    }
    bind(key, connection, socket, thread, Standing::Bound);
}

// === bindings ===

/// The session's connection, if it is bound to one that is still there.
#[inline(always)]
pub(crate) fn connection_of(key: SessionKey, thread: Thread) -> Option<&'static mut Connection> {
    // SAFETY: copied at once.
    let session = unsafe { TLS_SESSIONS.get(key) }.copied()?;
    let socket = Socket { sock: Sock(session.sock), inode: session.inode };
    let connection = connection::lookup(socket)?;
    if session.standing == Standing::Named as u32 && !connection.tls.is_bound() {
        bind(key, connection, socket, thread, Standing::Bound);
    }
    if is_bound_to(connection, key) { Some(connection) } else { None }
}

#[inline(always)]
fn socket_of(key: SessionKey) -> (u64, u64) {
    // SAFETY: copied at once.
    unsafe { TLS_SESSIONS.get(key) }.map_or((0, 0), |session| (session.sock, session.inode))
}

#[inline(always)]
fn is_bound_to(connection: &Connection, key: SessionKey) -> bool {
    connection.tls.is_bound() && connection.tls.session == key.session && connection.tls.session_tgid == key.tgid
}

#[inline(always)]
fn bind(key: SessionKey, connection: &mut Connection, socket: Socket, thread: Thread, standing: Standing) {
    if is_inherited(connection, key) {
        connection.tls.session_tgid = key.tgid;
        return remember(key, socket, standing);
    }
    if connection.tls.bindings >= TLS_BINDINGS_MAX {
        return;
    }
    connection.restart(thread, ConnectionClosed::FLAG_DECRYPTED);
    connection.tls.state = Tls::BOUND;
    connection.tls.bindings += 1;
    (connection.tls.session, connection.tls.session_tgid) = (key.session, key.tgid);
    remember(key, socket, standing);
    counter::bump(Counter::TlsBound);
}

/// A forked worker goes on with its parent's session: the same address, in another process.
#[inline(always)]
fn is_inherited(connection: &Connection, key: SessionKey) -> bool {
    connection.tls.is_bound() && connection.tls.session == key.session
}

#[inline(always)]
fn unbind(connection: &mut Connection, thread: Thread) {
    if connection.tls.is_bound() {
        connection.restart(thread, 0);
        connection.tls.state = Tls::SEEN;
        connection.tls.session = 0;
    }
}

#[inline(always)]
fn remember(key: SessionKey, socket: Socket, standing: Standing) {
    let session = Session { sock: socket.sock.0, inode: socket.inode, standing: standing as u32, pad: 0 };
    if TLS_SESSIONS.insert(key, session, 0).is_err() {
        counter::bump(Counter::LostTlsFull);
    }
}
