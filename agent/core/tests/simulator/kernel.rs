//! The kernel programs, modelled rule by rule: `carrier`, `connection`, `call`, `capture`, `pending` and the hooks of
//! agent-ebpf/src. What they read from memory of the process (who runs, which work item) is told by the caller.

use crate::network::{Message, Socket};
use autospan_abi::limits::{EDGE_HEAD_BYTES, EDGE_TAIL_BYTES, HEAD_DEFAULT_BYTES, PAYLOAD_MAX};
use autospan_abi::{Direction, Policy, PolicyMode, Role, Sharing, Trail};
use autospan_core::event::{Data, Ends, Event, EventKind, Opened, Tls};
use autospan_core::span::SpanKind;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

/// Who makes a call: a thread, and the goroutine or CPython context that it runs; 0: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Who {
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    pub(crate) task: u64,
}

impl Who {
    fn context(self) -> Context {
        if self.task == 0 { self.thread() } else { self.task(self.task) }
    }

    fn thread(self) -> Context {
        Context { id: u64::from(self.tid), tgid: self.tgid, is_task: false }
    }

    fn task(self, id: u64) -> Context {
        Context { id, tgid: self.tgid, is_task: true }
    }
}

/// See agent-ebpf/src/context.rs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Context {
    id: u64,
    tgid: u32,
    is_task: bool,
}

/// See agent-ebpf/src/carrier.rs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cause {
    token: u64,
    trail: Trail,
    own: bool,
}

impl Cause {
    fn is_some(self) -> bool {
        self.token != 0
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carrier {
    cause: Cause,
    sock: u64,
}

impl Carrier {
    fn handed_on(self) -> Self {
        Self { cause: Cause { own: false, ..self.cause }, ..self }
    }

    /// The same in a later turn: whoever waited for the connection of this one has it by then.
    fn in_later_turn(self) -> Self {
        Self { sock: 0, ..self.handed_on() }
    }

    /// The same, in the hands of a thread that is made.
    fn spawned(self) -> Self {
        let trail = match self.cause.trail {
            Trail::Thread | Trail::Spawned => Trail::Spawned,
            Trail::Task | Trail::SpawnedByTask => Trail::SpawnedByTask,
            Trail::Turn | Trail::Reuse | Trail::ReuseAtOnce | Trail::Stream => return Self::default(),
        };
        Self { cause: Cause { token: self.cause.token, trail, own: false }, sock: self.sock }
    }

    /// `is_pipeline`: of the connection that is written on, which nobody waits for.
    fn cause_on(self, sock: u64, is_pipeline: bool, asked_now: bool) -> Cause {
        let in_turn = matches!(self.cause.trail, Trail::Turn | Trail::ReuseAtOnce);
        if !in_turn || is_pipeline || self.cause.own || self.sock != sock {
            return self.cause;
        }
        Cause { trail: if asked_now { Trail::ReuseAtOnce } else { Trail::Reuse }, ..self.cause }
    }
}

/// See agent-ebpf/src/connection.rs.
#[derive(Clone, Debug)]
struct Connection {
    id: u64,
    inode: u64,
    inbound: u64,
    outbound: u64,
    last_cause: Cause,
    connect_cause: Cause,
    handed: Option<Cause>,
    token: u64,
    connect_tid: u32,
    head_left: u32,
    role: Role,
    direction: Option<Direction>,
    reported: bool,
    connect_seen: bool,
    is_shared: bool,
    is_pipeline: bool,
    turns: u16,
    tls: bool,
}

#[derive(Clone, Copy, Debug)]
struct Connect {
    cause: Cause,
    tid: u32,
}

/// What the entry of a write keeps for its exit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    entered: u64,
    cause: Cause,
    /// Of the programs that saw the entry.
    run: usize,
}

/// What the agent knows of a process's runtime.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traits {
    pub(crate) turns: bool,
    pub(crate) uvloop: bool,
}

/// A record on its way: reserved in the ring at `ring_at`, after the time in its header.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) ring_at: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The maps of one run of the kernel programs, and what they have written.
#[derive(Default)]
pub(crate) struct Kernel {
    /// Number of this run.
    run: usize,
    pub(crate) now: u64,
    /// How long the calling thread is held up between the time in a record and its place in the ring.
    pub(crate) stall: u64,
    /// Reads are hooked at their exit only.
    exit_only: bool,
    /// The callback that runs was asked for in this turn, by what Node's numbers tell.
    pub(crate) asked_now: bool,
    targets: HashMap<u32, Traits>,
    carriers: HashMap<Context, Carrier>,
    connections: HashMap<u64, Connection>,
    connects: HashMap<u64, Connect>,
    work: HashMap<(u32, u64), Carrier>,
    loop_reads: HashMap<u32, Carrier>,
    listeners: HashSet<u16>,
    pub(crate) policies: HashMap<u64, Policy>,
    /// Sockets up to this one were there before.
    inodes_before: u64,
    identities: [u64; 2],
    pub(crate) records: Vec<Record>,
    /// Where requests start: (connection, position) → the request and the kind of its span.
    pub(crate) origins: HashMap<(u64, u64), (usize, SpanKind)>,
}

const CONNECTION: usize = 0;
const TOKEN: usize = 1;

impl Kernel {
    /// The agent starts: it finds the targets and what listens, nothing else.
    pub(crate) fn attach(
        run: usize,
        exit_only: bool,
        targets: &[(u32, Traits)],
        ports: &[u16],
        inodes_before: u64,
    ) -> Self {
        let (targets, listeners) = (targets.iter().copied().collect(), ports.iter().copied().collect());
        Self { run, exit_only, targets, listeners, inodes_before, ..Self::default() }
    }

    fn is_target(&self, who: Who) -> bool {
        self.targets.contains_key(&who.tgid)
    }

    fn traits(&self, who: Who) -> Traits {
        self.targets.get(&who.tgid).copied().unwrap_or_default()
    }

    // === carriers ===

    fn current(&self, who: Who) -> Carrier {
        let found = self.carriers.get(&who.context()).or_else(|| self.carriers.get(&who.thread()));
        found.copied().unwrap_or_else(|| self.nothing(who))
    }

    fn nothing(&self, who: Who) -> Carrier {
        Carrier { cause: Cause { trail: self.trail(who), ..Cause::default() }, sock: 0 }
    }

    /// What the runtime shows of who makes a call.
    fn trail(&self, who: Who) -> Trail {
        match (who.task, self.traits(who).turns) {
            (0, false) => Trail::Thread,
            (0, true) => Trail::Turn,
            _ => Trail::Task,
        }
    }

    fn set(&mut self, context: Context, carrier: Carrier) {
        if carrier.cause.is_some() {
            self.carriers.insert(context, carrier);
        } else {
            self.carriers.remove(&context);
        }
    }

    fn is_answered(&self, carrier: Carrier) -> bool {
        self.connections.get(&carrier.sock).is_none_or(|connection| {
            connection.token != carrier.cause.token || connection.direction == Some(Direction::Outbound)
        })
    }

    fn wake(&mut self, context: Context, waker: Carrier) {
        if !waker.cause.own {
            return;
        }
        if self.carriers.get(&context).is_none_or(|carrier| self.is_answered(*carrier)) {
            self.set(context, waker.handed_on());
        }
    }

    fn put_work(&mut self, who: Who, item: u64, carrier: Carrier) {
        if carrier.cause.is_some() {
            self.work.insert((who.tgid, item), carrier);
        } else {
            self.work.remove(&(who.tgid, item));
        }
    }

    fn take_work(&mut self, who: Who, item: u64) -> Carrier {
        self.work.remove(&(who.tgid, item)).unwrap_or_default()
    }

    // === threads ===

    /// `sched_process_fork`: `maker` makes a thread. Not called for Go, where threads are nobody's.
    pub(crate) fn thread_made(&mut self, maker: Who, made: Who) {
        if self.is_target(maker) {
            self.set(made.thread(), self.current(maker).spawned());
        }
    }

    /// `sched_process_exit` of one thread of several.
    pub(crate) fn thread_exited(&mut self, who: Who) {
        let carrier = self.carriers.remove(&who.thread());
        if self.is_target(who) && carrier.is_some_and(|carrier| carrier.cause.trail.is_spawned()) {
            self.emit(who, EventKind::ThreadExited);
        }
    }

    // === runtimes ===

    /// `runtime.newproc1`: `who` makes goroutine `made`.
    pub(crate) fn go_newproc(&mut self, who: Who, made: u64) {
        if !self.is_target(who) {
            return;
        }
        match self.carriers.get(&who.context()).copied() {
            Some(carrier) => self.set(who.task(made), carrier.handed_on()),
            None => drop(self.carriers.remove(&who.task(made))),
        }
    }

    /// `persistConn.roundTrip`.
    pub(crate) fn go_round_trip(&mut self, who: Who, socket: &Socket) {
        if !self.is_target(who) {
            return;
        }
        let cause = self.current(who).handed_on().cause;
        if let Some(connection) = self.connection(who, socket) {
            connection.handed = Some(cause);
        }
    }

    /// `PyContext_CopyCurrent`.
    pub(crate) fn python_context_copied(&mut self, who: Who, made: u64) {
        if self.is_target(who) {
            self.set(who.task(made), self.current(who).handed_on());
        }
    }

    /// `PyContext_Enter`.
    pub(crate) fn python_context_entered(&mut self, who: Who, entered: u64) {
        if !self.is_target(who) {
            return;
        }
        let context = who.task(entered);
        match self.loop_reads.remove(&who.tid) {
            Some(read) => self.set(context, read),
            None if self.carriers.get(&context).is_some_and(|c| c.cause.own) => drop(self.carriers.remove(&context)),
            None => {}
        }
    }

    /// `Future.set_result`, whose first callback runs in `woken`.
    pub(crate) fn python_future_set(&mut self, who: Who, woken: u64) {
        if self.is_target(who) {
            self.wake(who.task(woken), self.current(who));
        }
    }

    /// `SimpleQueue.put` of work of a `ThreadPoolExecutor`.
    pub(crate) fn python_queue_put(&mut self, who: Who, item: u64) {
        if self.is_target(who) {
            self.put_work(who, item, self.current(who).handed_on());
        }
    }

    /// `SimpleQueue.get` of such work.
    pub(crate) fn python_queue_got(&mut self, who: Who, item: u64) {
        if !self.is_target(who) {
            return;
        }
        let carrier = self.take_work(who, item);
        let own = self.carriers.get(&who.context()).filter(|own| who.task == 0 && own.cause.own);
        match own.filter(|own| !self.is_answered(**own)) {
            Some(own) if own.cause.token == carrier.cause.token => {}
            Some(_) => drop(self.carriers.remove(&who.thread())),
            None => self.set(who.thread(), carrier),
        }
    }

    /// `epoll_wait` and its kin, timers, immediates.
    pub(crate) fn turn_ended(&mut self, who: Who) {
        if self.traits(who).turns {
            self.carriers.remove(&who.thread());
        }
    }

    /// `uv__work_submit`.
    pub(crate) fn work_submitted(&mut self, who: Who, work: u64) {
        if self.is_target(who) {
            self.put_work(who, work, self.current(who).in_later_turn());
        }
    }

    /// `uv__…_done`.
    pub(crate) fn work_done(&mut self, who: Who, work: u64) {
        if self.is_target(who) {
            let carrier = self.take_work(who, work);
            self.set(who.thread(), carrier);
        }
    }

    // === connections ===

    pub(crate) fn listening(&mut self, port: u16) {
        self.listeners.insert(port);
    }

    /// `TCP_SYN_SENT`, of any process.
    pub(crate) fn connecting(&mut self, who: Who, sock: u64, attached: bool) {
        if attached {
            let cause = if self.is_target(who) { self.current(who).cause } else { Cause::default() };
            self.connects.insert(sock, Connect { cause, tid: who.tid });
        }
    }

    pub(crate) fn accepted(&mut self, sock: u64) {
        self.connects.remove(&sock);
    }

    pub(crate) fn closed(&mut self, who: Who, sock: u64) {
        self.connects.remove(&sock);
        let Some(connection) = self.connections.remove(&sock) else { return };
        if connection.reported {
            let kind = EventKind::Closed {
                connection: connection.id,
                inbound_bytes: connection.inbound,
                outbound_bytes: connection.outbound,
                turn: connection.turns,
                decrypted: false,
            };
            self.emit(who, kind);
        }
    }

    /// `connection::of`: made known if it is new.
    fn connection(&mut self, who: Who, socket: &Socket) -> Option<&mut Connection> {
        if !self.is_target(who) {
            return None;
        }
        if self.connections.get(&socket.sock).is_none_or(|known| known.inode != socket.inode) {
            let connect = self.connects.get(&socket.sock).copied();
            let new = self.new_connection(socket, connect);
            self.connections.insert(socket.sock, new);
        }
        self.connections.get_mut(&socket.sock)
    }

    fn new_connection(&mut self, socket: &Socket, connect: Option<Connect>) -> Connection {
        /// Plaintext, bound once; see `Connection::id`.
        const PLAINTEXT: u64 = (1 << 63) | (1 << 60);
        let is_client = connect.is_some() || !self.listeners.contains(&socket.local);
        Connection {
            id: self.unique(CONNECTION) | if socket.tls { PLAINTEXT } else { 0 },
            inode: socket.inode,
            inbound: 0,
            outbound: 0,
            last_cause: Cause::default(),
            connect_cause: connect.map(|c| c.cause).unwrap_or_default(),
            handed: None,
            token: 0,
            connect_tid: connect.map_or(0, |c| c.tid),
            head_left: 0,
            role: if is_client { Role::Client } else { Role::Server },
            direction: None,
            reported: false,
            // A TLS connection is seen from its handshake on, and its plaintext starts anew.
            connect_seen: connect.is_some() && !socket.tls,
            is_shared: false,
            is_pipeline: false,
            turns: 0,
            tls: socket.tls,
        }
    }

    fn unique(&mut self, kind: usize) -> u64 {
        self.identities[kind] += 1;
        self.identities[kind]
    }

    // === calls ===

    /// Entry of a write, before any byte has moved.
    pub(crate) fn enter_write(&mut self, who: Who, socket: &Socket) -> Option<Call> {
        let (entered, turns) = (self.now, self.traits(who).turns);
        let is_pipeline = self.connections.get(&socket.sock).is_some_and(|known| known.is_pipeline);
        if !self.is_target(who) {
            return None;
        }
        let carried = self.current(who).cause_on(socket.sock, is_pipeline, self.asked_now);
        let connection = self.connection(who, socket)?;
        let cause = connection.cause_of_write(who.tid, turns, carried);
        // An event loop answers another request than the one it carries.
        if connection.role != Role::Client && carried.token != connection.token && carried.is_some() && turns {
            self.carriers.remove(&who.thread());
        }
        Some(Call { entered, cause, run: self.run })
    }

    /// Exit of a write that moved `segments`, by now in `socket`.
    pub(crate) fn exit_write(&mut self, who: Who, socket: &Socket, call: Option<Call>, segments: &[&[u8]]) {
        let bytes: usize = segments.iter().map(|s| s.len()).sum();
        if let Some(call) = call.filter(|call| call.run == self.run) {
            self.transfer(who, socket, Direction::Outbound, call, segments, socket.sent - bytes as u64);
        }
    }

    /// Exit of a read that moved `bytes`, by now out of `socket`.
    pub(crate) fn has_read(&mut self, who: Who, socket: &Socket, entered: u64, bytes: &[u8]) {
        let entered = if self.exit_only { 0 } else { entered };
        let call = Call { entered, cause: Cause::default(), run: self.run };
        self.transfer(who, socket, Direction::Inbound, call, &[bytes], socket.received - bytes.len() as u64);
    }

    fn transfer(&mut self, who: Who, socket: &Socket, direction: Direction, call: Call, segments: &[&[u8]], from: u64) {
        let Some(connection) = self.connection(who, socket) else { return };
        let bytes: u64 = segments.iter().map(|s| s.len() as u64).sum();
        if !connection.reported {
            self.report(who, socket);
        }
        let policy = self.policy(socket.sock);
        if policy.sharing == Sharing::Pipeline as u32 {
            self.pipelines(who, socket.sock);
        }
        let token = if direction == Direction::Inbound { self.carry_after_read(who, socket.sock) } else { 0 };
        let Some(connection) = self.connections.get_mut(&socket.sock) else { return };
        connection.turn(direction, policy);
        let position = connection.advance(direction, bytes);
        // Bytes that passed uncounted, before the connection was first seen.
        let (id, before) = (connection.id, from - position);
        if policy.mode == PolicyMode::Ignore as u32 {
            return;
        }
        let mut head_left = connection.spend_head(policy, bytes);
        let (turn, tls) = (connection.turns, connection.tls);
        self.note_origins(socket, direction, id, before, from..from + bytes);
        let mut at = position;
        for segment in segments.iter().filter(|s| !s.is_empty()) {
            let (head, tail) = plan(segment.len() as u64, head_left);
            let base = if direction == Direction::Inbound { socket.read_sequence } else { socket.write_sequence };
            let data = Data {
                connection: id,
                direction,
                turn,
                position: at,
                entered: call.entered,
                token,
                cause: call.cause.token,
                trail: call.cause.trail,
                sequence: (!tls).then_some(base.wrapping_add((before + at) as u32)),
                total: segment.len() as u32,
                head: &segment[..head],
                tail: &segment[segment.len() - tail..],
            };
            self.emit(who, EventKind::Data(data));
            at += segment.len() as u64;
            head_left = head_left.saturating_sub(segment.len() as u64);
        }
    }

    /// Keeps the truth: which requests start in these bytes of the socket.
    fn note_origins(
        &mut self,
        socket: &Socket,
        direction: Direction,
        id: u64,
        before: u64,
        range: std::ops::Range<u64>,
    ) {
        let (messages, kind) = match direction {
            Direction::Inbound => (&socket.incoming, SpanKind::Server),
            Direction::Outbound => (&socket.outgoing, SpanKind::Client),
        };
        for Message { start, request } in messages.borrow().iter().filter(|m| range.contains(&m.start)) {
            self.origins.insert((id, start - before), (*request, kind));
        }
    }

    fn policy(&mut self, sock: u64) -> Policy {
        let Some(connection) = self.connections.get_mut(&sock) else { return Policy::ignore() };
        let Some(policy) = self.policies.get(&connection.id) else {
            return Policy::head(HEAD_DEFAULT_BYTES, Role::Unknown);
        };
        if policy.role != 0 {
            connection.role = Role::from_u8(policy.role as u8);
        }
        *policy
    }

    /// From now on it is known that many callers may wait on it.
    fn pipelines(&mut self, who: Who, sock: u64) {
        if let Some(connection) = self.connections.get_mut(&sock).filter(|known| !known.is_pipeline) {
            connection.is_pipeline = true;
            let kind = EventKind::Multiplexed { connection: connection.id };
            self.emit(who, kind);
        }
    }

    fn carry_after_read(&mut self, who: Who, sock: u64) -> u64 {
        let traits = self.traits(who);
        let Some(connection) = self.connections.get(&sock) else { return 0 };
        let before_context = traits.uvloop && !connection.tls;
        if connection.role == Role::Client {
            if who.task != 0 || before_context {
                return 0;
            }
            let is_shared = connection.is_shared || connection.is_pipeline && traits.turns;
            let last = connection.last_cause;
            let token = if is_shared { self.unique(TOKEN) } else { 0 };
            let cause = if is_shared { Cause { token, trail: self.trail(who), own: false } } else { last };
            let is_own = |carrier: &Carrier| carrier.cause.own && carrier.cause.token == cause.token;
            let goes_on = self.trail(who) == Trail::Thread && self.carriers.get(&who.context()).is_some_and(is_own);
            if !goes_on {
                self.set(who.context(), Carrier { cause: Cause { own: false, ..cause }, sock });
            }
            return token;
        }
        let token = self.unique(TOKEN);
        if let Some(connection) = self.connections.get_mut(&sock) {
            connection.token = token;
        }
        let read = |trail| Carrier { cause: Cause { token, trail, own: true }, sock };
        if before_context {
            self.loop_reads.insert(who.tid, read(Trail::Task));
        } else {
            let trail = self.trail(who);
            self.set(who.context(), read(trail));
        }
        token
    }

    fn report(&mut self, who: Who, socket: &Socket) {
        let Some(connection) = self.connections.get_mut(&socket.sock) else { return };
        connection.reported = true;
        // As the ServerHello had it, where that was seen.
        let is_old = socket.inode <= self.inodes_before;
        let tls = if is_old { Tls::default() } else { Tls { version: 0x0303, cipher: 0x1302 } };
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let opened = Opened {
            connection: connection.id,
            sock: socket.sock,
            peer_sock: 0,
            inode: socket.inode,
            netns: 4_026_531_840,
            role: connection.role,
            connect_seen: connection.connect_seen,
            tls: connection.tls.then_some(tls),
            ends: Ends::Inet { local: (ip, socket.local), remote: (ip, socket.remote) },
        };
        self.emit(who, EventKind::Opened(opened));
    }

    /// The last thread of a process ends.
    pub(crate) fn exited(&mut self, who: Who) {
        if self.targets.remove(&who.tgid).is_some() {
            self.emit(who, EventKind::Exited);
        }
    }

    fn emit(&mut self, who: Who, kind: EventKind<'_>) {
        const CPUS: u32 = 4;
        const CPU_AT: usize = 6;
        let mut bytes = Vec::new();
        Event { at: self.now, tgid: who.tgid, tid: who.tid, kind }.encode(&mut bytes);
        bytes[CPU_AT] = (who.tid % CPUS) as u8;
        self.records.push(Record { ring_at: self.now + self.stall, bytes });
    }
}

impl Connection {
    fn cause_of_write(&mut self, tid: u32, turns: bool, carried: Cause) -> Cause {
        let is_task = carried.trail == Trail::Task;
        let first_of_opener = !is_task && self.outbound == 0 && self.connect_tid == tid;
        let of_opener = first_of_opener && (self.connect_cause.is_some() || turns);
        let cause = self.handed.unwrap_or(if of_opener { self.connect_cause } else { carried });
        if self.role == Role::Client {
            self.remember_cause(cause, turns);
        }
        cause
    }

    fn remember_cause(&mut self, cause: Cause, turns: bool) {
        if self.direction != Some(Direction::Outbound) {
            self.last_cause = cause;
        } else if cause.token != self.last_cause.token && cause.is_some() {
            if !self.last_cause.is_some() && turns {
                return;
            }
            self.is_shared |= self.last_cause.is_some();
            self.last_cause = cause;
        }
    }

    fn turn(&mut self, direction: Direction, policy: Policy) {
        if self.direction != Some(direction) {
            self.direction = Some(direction);
            self.turns = self.turns.wrapping_add(1);
            self.head_left = policy.head_bytes;
        }
    }

    fn advance(&mut self, direction: Direction, bytes: u64) -> u64 {
        let position = if direction == Direction::Inbound { &mut self.inbound } else { &mut self.outbound };
        *position += bytes;
        *position - bytes
    }

    fn spend_head(&mut self, policy: Policy, bytes: u64) -> u64 {
        if policy.mode == PolicyMode::Full as u32 {
            return u64::MAX;
        }
        let head_left = u64::from(self.head_left);
        self.head_left = head_left.saturating_sub(bytes) as u32;
        head_left
    }
}

/// How many bytes of a segment are copied from its start and from its end.
fn plan(len: u64, head_left: u64) -> (usize, usize) {
    let (edge_head, edge_tail) = (u64::from(EDGE_HEAD_BYTES), u64::from(EDGE_TAIL_BYTES));
    if len <= head_left && len <= u64::from(PAYLOAD_MAX) {
        return (len as usize, 0);
    }
    let head = head_left.max(edge_head).min(u64::from(PAYLOAD_MAX) - edge_tail).min(len);
    (head as usize, (len - head).min(edge_tail) as usize)
}
