//! Connections: found by the address of their `struct sock`, told apart by the socket's inode number.
//!
//! The kernel reuses sock addresses. Closes are seen by a tracepoint, but the inode is what decides: a missed close
//! costs a counter, not a mixed-up stream.

use autospan_abi::limits::{CONNECTIONS_MAX, CONNECTS_MAX, LISTENERS_MAX, TLS_HELLO_CALLS_MAX, UNIX_PATH_BYTES};
use autospan_abi::process::{TRAIT_GO, TRAIT_TURNS, TRAIT_UVLOOP};
use autospan_abi::{
    ConnectionClosed, ConnectionMultiplexed, ConnectionOpened, Counter, Direction, ListenerKey, RecordKind, Role, Trail,
};
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;

use crate::bounds::at_most;
use crate::carrier::{Carrier, Cause};
use crate::context::Context;
use crate::debug::debug;
use crate::identity::{self, Kind};
use crate::kernel::{AF_UNIX, Sock, Socket};
use crate::process::{self, Thread};
use crate::{carrier, counter, jobs, lineage, pending, ring, streams};

#[map]
static CONNECTIONS: LruHashMap<u64, Connection> = LruHashMap::with_max_entries(CONNECTIONS_MAX, 0);

/// Sockets that were seen to connect, by sock address: of every process, since many connect before they listen and so
/// before they are traced.
#[map]
static CONNECTS: LruHashMap<u64, Connect> = LruHashMap::with_max_entries(CONNECTS_MAX, 0);

/// Ports listened on, with the number of sockets that do.
#[map]
static LISTENERS: LruHashMap<ListenerKey, u32> = LruHashMap::with_max_entries(LISTENERS_MAX, 0);

/// What is known of one end of a connection.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Connection {
    /// Of the socket; see [`Connection::id`].
    socket_id: u64,
    inode: u64,
    /// Positions: bytes that went by since the connection was first seen.
    pub(crate) inbound: u64,
    pub(crate) outbound: u64,
    /// Client end: cause of the request written last, given back to the thread that reads the response.
    last_cause: Cause,
    connect_cause: Cause,
    /// Client end: who the connection was given to, where the runtime tells.
    handed: Cause,
    /// Server end: the token minted last.
    pub(crate) token: u64,
    connect_tid: u32,
    /// Bytes of the head that are still to be captured in the current direction.
    pub(crate) head_left: u32,
    /// [`Role`] as a number.
    pub(crate) role: u8,
    /// [`Direction`] of the last call as a number, or [`Connection::NO_DIRECTION`].
    pub(crate) direction: u8,
    reported: u8,
    connect_seen: u8,
    /// 1: `handed` holds, be it none.
    is_handed: u8,
    /// [`Connection::SHARED`], [`Connection::MULTIPLEXED`], [`Connection::PIPELINE`]: whose response is read cannot be told here
    /// any more.
    sharing: u8,
    /// Server end: calls that read since the last answer began.
    reads: u8,
    /// 1: `token` is that of the plaintext which will be read next.
    is_expected: u8,
    /// Changes of direction, the first call's included.
    pub(crate) turns: u32,
    /// What is known of TLS on this connection.
    pub(crate) tls: Tls,
}

/// TLS on a connection: none, seen, or read through a session of a TLS library.
///
/// While it is read, positions, turns and causes of the connection are those of the plaintext.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Tls {
    /// The session that the plaintext comes through, 0: none.
    pub(crate) session: u64,
    pub(crate) session_tgid: u32,
    /// From the ServerHello, see [`ConnectionOpened::tls_version`].
    pub(crate) version: u16,
    pub(crate) cipher: u16,
    /// [`Tls::NONE`], [`Tls::SEEN`] or [`Tls::BOUND`].
    pub(crate) state: u8,
    /// Sessions it was bound to so far.
    pub(crate) bindings: u8,
    /// Calls that were searched, see `TLS_HELLO_CALLS_MAX`.
    pub(crate) calls: u8,
    pad: u8,
    pad2: u32,
}

impl Tls {
    pub(crate) const NONE: u8 = 0;
    /// A call began with a TLS record.
    pub(crate) const SEEN: u8 = 1;
    /// The plaintext is read.
    pub(crate) const BOUND: u8 = 2;

    const UNKNOWN: Self = Self {
        session: 0,
        session_tgid: 0,
        version: 0,
        cipher: 0,
        state: Self::NONE,
        bindings: 0,
        calls: 0,
        pad: 0,
        pad2: 0,
    };

    #[inline(always)]
    pub(crate) fn is_bound(&self) -> bool {
        self.state == Self::BOUND
    }
}

/// Who connected a socket.
#[repr(C)]
#[derive(Clone, Copy)]
struct Connect {
    cause: Cause,
    tid: u32,
    /// 1: the process was traced already, so that nothing was missed.
    traced: u32,
}

impl Connection {
    pub(crate) const NO_DIRECTION: u8 = 0xff;
    /// Requests of several causes were on their way at once.
    const SHARED: u8 = 1;
    /// It has many streams at once.
    const MULTIPLEXED: u8 = 2;
    /// Clients send on it without waiting for one another.
    const PIPELINE: u8 = 4;
    /// `role` of a socketpair: the two ends of one program talking to itself.
    const UNNAMED: u8 = 0xff;

    fn new(id: u64, socket: Socket, connect: Option<Connect>) -> Self {
        let connect_seen = connect.is_some_and(|connect| connect.traced != 0);
        Self {
            socket_id: id,
            inode: socket.inode,
            inbound: 0,
            outbound: 0,
            last_cause: Cause::NONE,
            connect_cause: connect.map_or(Cause::NONE, |connect| connect.cause),
            handed: Cause::NONE,
            token: 0,
            connect_tid: connect.map_or(0, |connect| connect.tid),
            head_left: 0,
            role: role(socket.sock, connect.is_some()),
            direction: Self::NO_DIRECTION,
            reported: 0,
            connect_seen: u8::from(connect_seen),
            is_handed: 0,
            sharing: 0,
            reads: 0,
            is_expected: 0,
            turns: 0,
            tls: Tls::UNKNOWN,
        }
    }

    /// Id that records carry: plaintext inside TLS is a connection of its own, each binding another. The top bits of
    /// the socket's id are those of a CPU number, of which no kernel has so many.
    #[inline(always)]
    pub(crate) fn id(&self) -> u64 {
        const PLAINTEXT: u64 = 1 << 63;
        const BINDING_SHIFT: u32 = 60;
        if !self.tls.is_bound() {
            return self.socket_id;
        }
        self.socket_id | PLAINTEXT | (u64::from(self.tls.bindings & 0b111) << BINDING_SHIFT)
    }

    /// Its streams begin anew, under another id: a session of a TLS library was bound or unbound. What was reported
    /// under the old id ends here.
    #[inline(always)]
    pub(crate) fn restart(&mut self, thread: Thread, flags: u16) {
        self.report_end(thread, flags);
        (self.inbound, self.outbound, self.last_cause) = (0, 0, Cause::NONE);
        (self.head_left, self.turns) = (0, 0);
        (self.direction, self.reported, self.connect_seen) = (Self::NO_DIRECTION, 0, 0);
        (self.reads, self.is_expected, self.sharing) = (0, 0, 0);
    }

    #[inline(always)]
    fn report_end(&self, thread: Thread, flags: u16) {
        if self.reported == 0 {
            return;
        }
        ring::emit(ConnectionClosed {
            header: ring::header(RecordKind::ConnectionClosed, size_of::<ConnectionClosed>() as u32, thread),
            connection: self.id(),
            inbound_bytes: self.inbound,
            outbound_bytes: self.outbound,
            turn: self.turns as u16,
            flags,
            pad: 0,
        });
    }

    /// Tells the agent of it, unless that was done.
    #[inline(always)]
    pub(crate) fn ensure_reported(&mut self, sock: Sock, thread: Thread) {
        if self.reported == 0 {
            report(self, sock.0, (u64::from(thread.tgid) << 32) | u64::from(thread.tid));
        }
    }

    /// The request that a write belongs to, remembered for the thread that will read the response.
    #[inline(always)]
    pub(crate) fn cause_of_write(&mut self, thread: Thread, carried: Cause) -> Cause {
        // A task knows by itself whom it works for, and may have been given a connection that another one opened.
        let is_task = carried.is_task();
        let first_of_opener = !is_task && self.outbound == 0 && self.connect_tid == thread.tid;
        // An event loop writes first when the connection is made, in a turn that has nothing to do with it.
        let of_opener = first_of_opener && (self.connect_cause.is_some() || process::has(thread.tgid, TRAIT_TURNS));
        let cause = if self.is_handed != 0 {
            self.handed
        } else if of_opener {
            self.connect_cause
        } else {
            carried
        };
        if self.role == Role::Client as u8 {
            jobs::works(thread);
            self.remember_cause(cause, thread);
        }
        cause
    }

    #[inline(always)]
    fn remember_cause(&mut self, cause: Cause, thread: Thread) {
        if self.direction != Direction::Outbound as u8 {
            self.last_cause = cause;
        } else if cause.token != self.last_cause.token && cause.is_some() {
            // A later part of a request may be written by a thread that carries nothing; that takes nothing back. Nor does
            // it give anything where an event loop writes it in whatever turn there is room.
            if !self.last_cause.is_some() && process::has(thread.tgid, TRAIT_TURNS) {
                return;
            }
            // Another request's cause means that nobody waited for the response.
            self.sharing |= if self.last_cause.is_some() { Self::SHARED } else { 0 };
            self.last_cause = cause;
        }
    }

    /// The thread of an event loop answers another request than the one it carries: what made it do so is not known.
    #[inline(always)]
    pub(crate) fn turn_to_answer(&self, thread: Thread, carried: Cause) {
        let other = self.is_server() && carried.token != self.token;
        if other && carried.is_some() && process::has(thread.tgid, TRAIT_TURNS) {
            carrier::forget(Context::thread(thread));
        }
    }

    /// It was seen from its start, and is in its handshake.
    #[inline(always)]
    pub(crate) fn is_new(&self) -> bool {
        self.connect_seen != 0 && !self.tls.is_bound() && self.tls.calls < TLS_HELLO_CALLS_MAX
    }

    /// Nothing went over it yet.
    #[inline(always)]
    pub(crate) fn is_untouched(&self) -> bool {
        self.inbound == 0 && self.outbound == 0
    }

    /// Whoever writes next does so on behalf of this.
    #[inline(always)]
    pub(crate) fn hand(&mut self, cause: Cause) {
        (self.handed, self.is_handed) = (cause, 1);
    }

    /// Ciphertext came: what the thread makes before it asks for the plaintext is for the request that begins in it as
    /// well. asyncio makes the task of a new connection when the handshake ends, which the first request may have come with.
    #[inline(always)]
    pub(crate) fn expect_plaintext(&mut self, sock: Sock, context: Context) {
        if self.role == Role::Client as u8 || self.direction == Direction::Inbound as u8 {
            return;
        }
        if self.is_expected == 0 {
            (self.token, self.is_expected) = (carrier::mint(), 1);
        }
        carrier::set(context, Carrier::read(self.token, Trail::Task, sock));
    }

    /// Server end: the token of the only request that is not being answered yet. `None`: there is none, or it cannot be
    /// told from more than one.
    #[inline(always)]
    pub(crate) fn only_waiting(&self) -> Option<u64> {
        let is_waiting = self.is_server() && self.direction == Direction::Inbound as u8;
        if is_waiting && self.reads == 1 { Some(self.token) } else { None }
    }

    /// Server end: nothing was read since the bytes that `carrier` stands for.
    #[inline(always)]
    pub(crate) fn is_read_last(&self, carrier: Carrier) -> bool {
        self.is_server() && self.token == carrier.cause.token
    }

    #[inline(always)]
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    #[inline(always)]
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.sharing & Self::MULTIPLEXED != 0
    }

    /// From now on it is known to have many streams at once.
    #[inline(always)]
    pub(crate) fn multiplexes(&mut self, thread: Thread) {
        if self.is_multiplexed() {
            return;
        }
        self.sharing |= Self::MULTIPLEXED;
        self.report_sharing(thread);
    }

    #[inline(always)]
    pub(crate) fn is_pipeline(&self) -> bool {
        self.sharing & Self::PIPELINE != 0
    }

    /// From now on it is known that many callers may wait on it.
    #[inline(always)]
    pub(crate) fn pipelines(&mut self, thread: Thread) {
        if !self.is_pipeline() {
            self.sharing |= Self::PIPELINE;
            self.report_sharing(thread);
        }
    }

    /// Tells the engine that this side knows.
    #[inline(always)]
    fn report_sharing(&self, thread: Thread) {
        ring::emit(ConnectionMultiplexed {
            header: ring::header(RecordKind::ConnectionMultiplexed, size_of::<ConnectionMultiplexed>() as u32, thread),
            connection: self.id(),
        });
    }

    /// Client end: whose request was answered is left to the engine, which sees where answers end. Where each caller waits in a
    /// thread of its own, what the thread has is right.
    #[inline(always)]
    fn is_answered_in_turn(&self, tgid: u32) -> bool {
        let pipeline = self.is_pipeline() && process::has(tgid, TRAIT_TURNS);
        pipeline || self.sharing & (Self::SHARED | Self::MULTIPLEXED) == Self::SHARED
    }

    /// Frames were read, that the library of an event loop will be given next.
    #[inline(always)]
    fn offer_frames(&self, sock: Sock, thread: Thread) {
        if self.is_multiplexed() && process::has(thread.tgid, TRAIT_TURNS) {
            pending::set(thread, Carrier::frames(sock, self.inbound == 0));
        }
    }

    /// A goroutine may read for a session of many streams.
    #[inline(always)]
    fn note_reader(&self, sock: Sock, tgid: u32, context: Context) {
        if context.is_task() && process::has(tgid, TRAIT_GO) {
            streams::note_read(tgid, context.address(), sock.0, self.inode);
        }
    }

    #[inline(always)]
    pub(crate) fn is_server(&self) -> bool {
        self.role != Role::Client as u8
    }

    /// Makes the context that read carry what it read. Returns the token of a request's bytes, and of a response's where only
    /// the engine can tell whose it is; else 0.
    #[inline(always)]
    pub(crate) fn carry_after_read(&mut self, sock: Sock, thread: Thread) -> u64 {
        let context = Context::current(thread);
        let before_context = process::has(thread.tgid, TRAIT_UVLOOP) && !self.tls.is_bound();
        if self.role == Role::Client as u8 {
            let nothing_asked = self.outbound == 0;
            if nothing_asked && self.tls.is_bound() {
                // What its opener asked was missed; what is asked next may be another's.
                self.connect_tid = 0;
            }
            // A context with an identity of its own goes on with what it has, and so does a thread that is greeted, or that
            // reads whatever comes for all streams.
            let keeps = (nothing_asked || self.is_multiplexed()) && context.trail() == Trail::Thread;
            let mut token = 0;
            if !context.is_task() && !keeps && !before_context {
                let mut cause = if self.sharing & !Self::PIPELINE == 0 { self.last_cause } else { Cause::NONE };
                if self.is_answered_in_turn(thread.tgid) {
                    token = if self.tls.is_bound() { carrier::mint_in_probe(thread.tid) } else { carrier::mint() };
                    cause = Cause::answered(token, context.trail());
                }
                carrier::resume(context, cause, sock);
            }
            self.offer_frames(sock, thread);
            self.note_reader(sock, thread.tgid, context);
            return token;
        }
        self.offer_frames(sock, thread);
        jobs::reads(thread);
        self.reads = if self.direction == Direction::Inbound as u8 { self.reads.saturating_add(1) } else { 1 };
        if self.is_expected == 0 {
            self.token = if self.tls.is_bound() { carrier::mint_in_probe(thread.tid) } else { carrier::mint() };
        }
        self.is_expected = 0;
        let token = self.token;
        if before_context {
            pending::set(thread, Carrier::read(token, Trail::Task, sock));
            return token;
        }
        carrier::set(context, Carrier::read(token, carrier::trail_of_read(context, sock), sock));
        token
    }
}

/// The connection of a socket, made known if it is new. `None`: not a connection that is traced, or the table is full
/// (counted).
#[inline(always)]
pub(crate) fn of(socket: Socket) -> Option<&'static mut Connection> {
    let mut found = lookup(socket);
    if found.is_none() {
        insert(socket);
        found = lookup(socket);
    }
    let Some(connection) = found else {
        counter::bump(Counter::LostConnectionsFull);
        return None;
    };
    if connection.role == Connection::UNNAMED {
        counter::bump(Counter::CallsNotSocket);
        return None;
    }
    Some(connection)
}

/// As [`of`], in a program on user code.
#[inline(always)]
pub(crate) fn in_probe(socket: Socket, thread: Thread) -> Option<&'static mut Connection> {
    let found = lookup(socket);
    if found.is_some() {
        return found;
    }
    insert_new(identity::unique_connection_in_probe(thread.tid), socket.sock.0, socket.inode);
    lookup(socket)
}

/// The connection at a sock address, to look at.
#[inline(always)]
pub(crate) fn peek(sock: Sock) -> Option<&'static Connection> {
    // SAFETY: points into the map.
    CONNECTIONS.get_ptr(sock.0).map(|connection| unsafe { &*connection })
}

/// The connection of a socket, if it is known.
#[inline(always)]
pub(crate) fn lookup(socket: Socket) -> Option<&'static mut Connection> {
    let found = CONNECTIONS.get_ptr_mut(socket.sock.0)?;
    // SAFETY: points into the map; two threads on one connection can mix counts, never memory.
    let connection = unsafe { &mut *found };
    if connection.inode == socket.inode { Some(connection) } else { None }
}

#[inline(never)]
fn insert_new(id: u64, sock: u64, inode: u64) {
    let socket = Socket { sock: Sock(sock), inode };
    if CONNECTIONS.get_ptr(sock).is_some() {
        counter::bump(Counter::ConnectionsReused);
    }
    // SAFETY: copied at once.
    let connect = unsafe { CONNECTS.get(sock) }.copied();
    // A refusal shows in the lookup that follows.
    let _ = CONNECTIONS.insert(sock, Connection::new(id, socket, connect), 0);
}

#[inline(always)]
fn insert(socket: Socket) {
    insert_new(identity::unique(Kind::Connection), socket.sock.0, socket.inode);
}

/// Which end this is. Connecting is evidence, listening on the local port is the second best.
#[inline(always)]
fn role(sock: Sock, connected: bool) -> u8 {
    if sock.family() == AF_UNIX {
        return unix_role(sock);
    }
    if connected || !is_listener(sock) {
        return Role::Client as u8;
    }
    Role::Server as u8
}

/// An accepted socket shares its listener's address; a connecting one has none as a rule.
#[inline(always)]
fn unix_role(sock: Sock) -> u8 {
    if sock.unix_address().is_some() {
        return Role::Server as u8;
    }
    if sock.unix_peer().and_then(Sock::unix_address).is_some() {
        return Role::Client as u8;
    }
    Connection::UNNAMED
}

/// Tells the agent who talks to whom. Where the ring is full, the next call on the connection tries again.
#[inline(never)]
fn report(connection: *mut Connection, sock: u64, thread: u64) {
    let thread = Thread { tgid: (thread >> 32) as u32, tid: thread as u32 };
    let sock = Sock(sock);
    let Some(mut entry) = ring::reserve::<ConnectionOpened>() else { return };
    // SAFETY: `connection` is an entry of the map, `entry` a reserved record, of which every byte is written.
    unsafe {
        describe(&mut *entry.as_mut_ptr(), &*connection, sock, thread);
        (*connection).reported = 1;
    }
    ring::submit(entry);
    counter::bump(Counter::Connections);
    // SAFETY: as above.
    let (id, role) = unsafe { ((*connection).id(), (*connection).role) };
    debug!("connection {} of process {}, role {}", id, thread.tgid, role);
}

#[inline(always)]
fn describe(opened: &mut ConnectionOpened, connection: &Connection, sock: Sock, thread: Thread) {
    let family = sock.family();
    opened.header = ring::header(RecordKind::ConnectionOpened, size_of::<ConnectionOpened>() as u32, thread);
    opened.connection = connection.id();
    opened.sock = sock.0;
    opened.inode = connection.inode;
    opened.netns = sock.netns();
    opened.family = family;
    opened.role = connection.role;
    opened.flags = if connection.connect_seen != 0 { ConnectionOpened::FLAG_CONNECT_SEEN } else { 0 };
    if connection.tls.is_bound() {
        opened.flags |= ConnectionOpened::FLAG_TLS;
    }
    (opened.tls_version, opened.tls_cipher) = (connection.tls.version, connection.tls.cipher);
    opened.pad = 0;
    sock.write_addresses(family, &mut opened.local_addr, &mut opened.remote_addr);
    if family == AF_UNIX { describe_unix(opened, sock) } else { describe_tcp(opened, sock) }
}

#[inline(always)]
fn describe_tcp(opened: &mut ConnectionOpened, sock: Sock) {
    opened.peer_sock = 0;
    opened.local_port = sock.local_port();
    opened.remote_port = sock.remote_port();
    opened.unix_path_len = 0;
    opened.unix_path = [0; UNIX_PATH_BYTES];
}

#[inline(always)]
fn describe_unix(opened: &mut ConnectionOpened, sock: Sock) {
    let peer = sock.unix_peer();
    opened.peer_sock = peer.map_or(0, |peer| peer.0);
    opened.local_port = 0;
    opened.remote_port = 0;
    opened.unix_path = [0; UNIX_PATH_BYTES];
    let address = sock.unix_address().or_else(|| peer.and_then(Sock::unix_address));
    let (path, len) = address.map_or((0, 0), |address| address.path());
    let len = at_most(len, UNIX_PATH_BYTES as u64);
    // SAFETY: the helper checks the source; `len` is within the array.
    let failed = unsafe { bpf_probe_read_kernel((&raw mut opened.unix_path).cast(), len as u32, path as *const _) };
    // The NUL behind a path in the file system is counted, the one before an abstract name is part of it.
    let terminated = u64::from(opened.unix_path[0] != 0);
    opened.unix_path_len = if failed == 0 && len != 0 { (len - terminated) as u16 } else { 0 };
}

/// A socket begins to connect, in the thread that asked for it.
#[inline(always)]
pub(crate) fn connecting(sock: Sock, thread: Thread) {
    let traced = u32::from(process::is_target(thread.tgid));
    let mut cause = Cause::NONE;
    if traced != 0 {
        let context = Context::current(thread);
        cause = carrier::in_context(context, thread).cause;
        lineage::connecting(sock, context);
    }
    let connect = Connect { cause, tid: thread.tid, traced };
    if CONNECTS.insert(sock.0, connect, 0).is_err() {
        counter::bump(Counter::LostConnectionsFull);
    }
}

/// A socket was accepted: whatever connected at this address before is gone.
#[inline(always)]
pub(crate) fn accepted(sock: Sock) {
    let _ = CONNECTS.remove(sock.0);
}

#[inline(always)]
pub(crate) fn closed(sock: Sock, thread: Thread) {
    let _ = CONNECTS.remove(sock.0);
    let Some(connection) = CONNECTIONS.get_ptr(sock.0) else { return };
    // SAFETY: points into the map.
    unsafe { &*connection }.report_end(thread, 0);
    let _ = CONNECTIONS.remove(sock.0);
}

#[inline(always)]
fn is_listener(sock: Sock) -> bool {
    LISTENERS.get_ptr(sock.listener_key()).is_some()
}

#[inline(always)]
pub(crate) fn listening(sock: Sock) {
    let key = sock.listener_key();
    // SAFETY: a copy of a number.
    let count = unsafe { LISTENERS.get(key) }.copied().unwrap_or(0);
    let _ = LISTENERS.insert(key, count + 1, 0);
}

#[inline(always)]
pub(crate) fn listening_ended(sock: Sock) {
    let key = sock.listener_key();
    // SAFETY: a copy of a number.
    match unsafe { LISTENERS.get(key) }.copied() {
        None => {}
        Some(count) if count > 1 => drop(LISTENERS.insert(key, count - 1, 0)),
        Some(_) => drop(LISTENERS.remove(key)),
    }
}
