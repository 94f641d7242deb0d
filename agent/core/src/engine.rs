//! The engine: feed it records, facts and the time; poll it for spans and capture policies.
//!
//! Synchronous, single-threaded, deterministic: the same input gives the same outputs, however `feed` is chunked.

mod call;
mod context;
mod link;
mod streams;

use crate::causality::{ExchangeId, InFlight, ProcessState, TokenOwner};
use crate::connection::{Address, Connection, InsideTls, Signal};
use crate::counter::Counter;
use crate::event::{Data, Event, EventKind, Opened, record_len};
use crate::exchange::{Exchanges, Pairing};
use crate::fact::Fact;
use crate::ids::Ids;
use crate::join::{Distance, Joins};
use crate::limits::{
    CONNECTION_IDLE_NS, CONNECTION_SILENT_NS, CONNECTIONS_MAX, INSIDE_TLS_MAX, PENDING_BYTES_MAX, PROCESSES_MAX,
    SETTLE_NS, TABLES_BYTES_MAX, TLS_UNREAD_NS,
};
use crate::map::HashMap;
use crate::pool::Pools;
use crate::protocol::ProtocolConfig;
use crate::routine::Routines;
use crate::span::Span;
use crate::stream::Mark;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use alloc::vec::Vec;
use autospan_abi::{Policy, Trail};
use call::Behind;
use core::cmp::Reverse;

/// What the operator asked for.
#[derive(Clone, Debug, Default)]
pub struct EngineConfig {
    pub protocol: ProtocolConfig,
}

/// What the engine wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A complete span.
    Span(Box<Span>),
    /// Capture this connection so from now on.
    Policy { connection: u64, policy: Policy },
    /// See how the threads of this process leave work for one another in memory, or do so no more.
    WatchJobs { tgid: u32, watch: bool },
}

/// Connections looked at per tick for idleness.
const SWEEP_MAX: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    ids: Ids,
    /// Unix time of `CLOCK_MONOTONIC` 0.
    epoch_unix_ns: u64,
    now: u64,
    /// The start of a record whose rest has not been fed yet.
    partial: Vec<u8>,
    links: HashMap<u64, Link>,
    /// Bytes of incomplete messages over all connections.
    pending_bytes: usize,
    /// Bytes of header tables over all connections.
    table_bytes: usize,
    /// All connections, for second-chance eviction.
    sweep: VecDeque<u64>,
    /// Unix connections by process: nothing but the end of the process tells of their end.
    unix_links: BTreeSet<(u32, u64)>,
    /// By socket: parsers for plaintext that was not opened yet.
    inside_tls: HashMap<u64, InsideTls>,
    processes: HashMap<u32, ProcessState>,
    /// Requests in flight by the thread that read them.
    threads: HashMap<u32, InFlight>,
    /// Calls by the thread whose end shows whether it worked for their parent alone.
    spawned: HashMap<u32, Vec<ExchangeId>>,
    exchanges: Exchanges,
    joins: Joins,
    pools: Pools,
    routines: Routines,
    timers: BinaryHeap<Reverse<(u64, Timer)>>,
    signals: Vec<Signal>,
    outputs: VecDeque<Output>,
    counters: [u64; Counter::ALL.len()],
}

/// A connection and what is paired on it.
#[derive(Debug)]
struct Link {
    connection: Connection,
    pairing: Pairing,
    /// Of a connection with many exchanges at once: those in flight, by their number on it.
    streams: BTreeMap<u32, ExchangeId>,
    /// Client: causes of streams that a library was asked for and whose heads are not sent yet.
    asked: BTreeMap<u32, (u64, Trail)>,
    /// Client: whether requests may be waiting for others to end.
    queue: Queue,
    /// Client: whose responses threads may be taken to go on with, though there are many at once.
    resumes: Resumes,
    /// Client: the token of the call that read answers last, and the request that all of them were for, as far as that is known.
    answered: Option<(u64, Option<TokenOwner>)>,
    /// Client: a request was written on it in a turn that did not begin with an answer on it: no request waits any more for a
    /// login on it to be done.
    is_ready: bool,
    /// Client: its first answer may be to a call that was not seen, and no more than that.
    is_joined: bool,
    /// Client: since a loss, its answers may be taken for those of other requests. When it was used last.
    doubted: Option<u64>,
    /// Client: who may go on with the end of the last answer where the turn carries a request that is over.
    behind: Behind,
    /// Client: the request that its session was begun for, until something else is asked on it.
    opened_for: Option<ExchangeId>,
    /// Client: the request that the last call on it was taken to be for.
    last_for: Option<ExchangeId>,
    /// Client: several requests have written on it at once.
    is_shared: bool,
    /// Used since the sweep last passed.
    touched: bool,
    /// Counted in `ProcessState::opaque_servers` of this process.
    opaque_server_of: Option<u32>,
    /// In `Engine::pools` as idle since then.
    idle_since: Option<u64>,
    /// Server: to the other end, where sequence numbers do not join them.
    distance: Option<Distance>,
    /// TLS that nobody reads, not counted as such yet.
    tls_unread_since: Option<u64>,
}

/// Requests on a connection with many at once, of which the peer may allow so many only. The others wait, in order.
#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    /// None is waiting that was made before calls were seen to be made.
    is_known: bool,
    /// The most that were in flight at once.
    most: usize,
    /// When the last one ended.
    ended: Option<u64>,
}

/// What the kernel side makes of the responses that are read on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Resumes {
    /// As it should be: there is one at a time, for all that is known.
    #[default]
    One,
    /// Of many at once, that of whoever asked last. Counted in `ProcessState::resumes_strangers`.
    Strangers,
    /// It knows that there are many. Whom a thread goes on with is told here, by what it read; if at all.
    Nobody,
}

/// What happens to an exchange at a time. At the same time, contexts are decided before anything is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Decide(ExchangeId),
    Forget(ExchangeId),
}

impl Engine {
    pub fn new(config: EngineConfig) -> Self {
        Self {
            config,
            ids: Ids::new(&[0; 16]),
            epoch_unix_ns: 0,
            now: 0,
            partial: Vec::new(),
            links: HashMap::default(),
            pending_bytes: 0,
            table_bytes: 0,
            sweep: VecDeque::new(),
            unix_links: BTreeSet::new(),
            inside_tls: HashMap::default(),
            processes: HashMap::default(),
            threads: HashMap::default(),
            spawned: HashMap::default(),
            exchanges: Exchanges::default(),
            joins: Joins::default(),
            pools: Pools::default(),
            routines: Routines::default(),
            timers: BinaryHeap::new(),
            signals: Vec::new(),
            outputs: VecDeque::new(),
            counters: [0; Counter::ALL.len()],
        }
    }

    /// Takes ring-buffer records, back to back, cut anywhere.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !self.partial.is_empty() && !bytes.is_empty() {
            let Some(wanted) = self.partial_wants() else { return self.feed_invalid() };
            let (more, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.partial.extend_from_slice(more);
            bytes = rest;
            if self.partial_wants() == Some(0) {
                let record = core::mem::take(&mut self.partial);
                self.record(&record);
                self.partial = record;
                self.partial.clear();
            }
        }
        while !bytes.is_empty() {
            match record_len(bytes) {
                Some(Ok(len)) if len <= bytes.len() => {
                    self.record(&bytes[..len]);
                    bytes = &bytes[len..];
                }
                Some(Err(_)) => return self.feed_invalid(),
                _ => return self.partial.extend_from_slice(bytes),
            }
        }
    }

    /// Bytes that the partial record still wants, as far as known; `None` when it is not a record.
    fn partial_wants(&self) -> Option<usize> {
        match record_len(&self.partial) {
            None => Some(4 - self.partial.len()),
            Some(Ok(len)) => Some(len - self.partial.len()),
            Some(Err(_)) => None,
        }
    }

    /// Without a valid length nothing after it can be found: the rest of this feed is lost.
    fn feed_invalid(&mut self) {
        self.partial.clear();
        self.count(Counter::RecordsInvalid);
    }

    /// Takes what the shell knows.
    pub fn fact(&mut self, fact: Fact) {
        match fact {
            Fact::Session { secret } => self.ids = Ids::new(&secret),
            Fact::Clock { monotonic_ns, unix_ns } => self.epoch_unix_ns = unix_ns.saturating_sub(monotonic_ns),
            Fact::Process { tgid, threads } => {
                if let Some(process) = self.process(tgid) {
                    process.set_threads(threads);
                }
            }
            Fact::Service { .. } => {}
        }
    }

    /// Tells the time: `CLOCK_MONOTONIC` ns. Call it when all records up to then have been fed.
    pub fn tick(&mut self, now: u64) {
        self.advance(now);
        self.sweep_idle();
    }

    /// The next thing to do, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `tick` has something to do next.
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// All counters, in the order of their numbers.
    pub fn counters(&self) -> impl Iterator<Item = (Counter, u64)> {
        Counter::ALL.iter().map(|c| (*c, self.counters[*c as usize]))
    }

    /// Entries of each table: all but connections, processes, pools and routines are empty at rest.
    pub fn table_sizes(&self) -> [(&'static str, usize); 10] {
        [
            ("connections", self.links.len()),
            ("processes", self.processes.len()),
            ("exchanges", self.exchanges.len()),
            ("tokens", self.exchanges.token_count()),
            ("joins", self.joins.len()),
            ("pools", self.pools.len()),
            ("routines", self.routines.len()),
            ("threads", self.threads.len()),
            ("spawned", self.spawned.len()),
            ("timers", self.timers.len()),
        ]
    }

    fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    fn add(&mut self, counter: Counter, n: u64) {
        let count = &mut self.counters[counter as usize];
        // Bytes claimed by damaged records may be any number.
        *count = count.saturating_add(n);
    }

    // === records ===

    fn record(&mut self, bytes: &[u8]) {
        let Ok(event) = Event::parse(bytes) else { return self.count(Counter::RecordsInvalid) };
        self.count(Counter::Records);
        self.advance(event.at);
        let Event { at, tgid, tid, kind } = event;
        match kind {
            EventKind::Opened(opened) => self.opened(at, tgid, &opened),
            EventKind::Data(data) => self.data(at, tgid, tid, &data),
            EventKind::Closed { connection, inbound_bytes, outbound_bytes, turn, decrypted } => {
                if decrypted && let Some(link) = self.links.get_mut(&connection) {
                    link.tls_unread_since = None;
                    let inside = link.connection.inside_tls.take().map(|inside| (link.connection.sock, inside));
                    self.goes_on_inside_tls(inside);
                }
                self.last_turn(connection, at, turn);
                self.ended(connection, at, tgid, tid, [inbound_bytes, outbound_bytes]);
            }
            EventKind::Exited => self.exited(tgid, at),
            EventKind::ThreadExited => self.thread_exited(tid),
            EventKind::Multiplexed { connection } => self.known_to_multiplex(connection, at),
            EventKind::StreamAsked { connection, stream, cause, trail } => {
                self.stream_asked(connection, stream, cause, trail);
            }
            EventKind::CallStarted => {
                self.process(tgid).into_iter().for_each(|process| process.unsent.started(tid, at))
            }
            EventKind::CallReturned => self.process(tgid).into_iter().for_each(|process| process.unsent.returned(tid)),
            EventKind::Executed => self.forget_process(tgid),
            EventKind::Forked { child_tgid } => self.forked(tgid, child_tgid),
            EventKind::Listening { .. } | EventKind::CodeMapped => {}
        }
    }

    /// The plaintext on this socket is opened soon.
    fn goes_on_inside_tls(&mut self, inside: Option<(u64, InsideTls)>) {
        if self.inside_tls.len() >= INSIDE_TLS_MAX {
            self.inside_tls.clear();
        }
        self.inside_tls.extend(inside);
    }

    fn opened(&mut self, at: u64, tgid: u32, opened: &Opened<'_>) {
        while self.links.len() >= CONNECTIONS_MAX && !self.sweep.is_empty() {
            self.evict();
        }
        if self.sweep.len() >= 2 * CONNECTIONS_MAX {
            self.sweep.retain(|id| self.links.contains_key(id));
        }
        let mut connection = Connection::new(at, tgid, opened);
        // Of another connection on the same socket, it is out of date.
        connection.inside_tls = self.inside_tls.remove(&opened.sock).filter(|_| opened.tls.is_some());
        if matches!(*connection.address, Address::Unix { .. }) {
            self.unix_links.insert((tgid, connection.id));
        }
        let link = Link {
            connection,
            pairing: Pairing::default(),
            streams: BTreeMap::new(),
            asked: BTreeMap::new(),
            queue: Queue::default(),
            resumes: Resumes::default(),
            answered: None,
            is_ready: false,
            is_joined: false,
            doubted: None,
            behind: Behind::Nobody,
            opened_for: None,
            last_for: None,
            is_shared: false,
            touched: false,
            opaque_server_of: None,
            idle_since: None,
            distance: None,
            tls_unread_since: None,
        };
        match self.links.insert(opened.connection, link) {
            None => self.sweep.push_back(opened.connection),
            Some(before) => {
                self.pending_bytes -= before.connection.pending_bytes();
                self.table_bytes -= before.connection.table_bytes();
            }
        }
    }

    fn data(&mut self, at: u64, tgid: u32, tid: u32, data: &Data<'_>) {
        let Some(link) = self.links.get_mut(&data.connection) else {
            return self.unknown_connection(tgid, at);
        };
        link.touched = true;
        if link.connection.is_joined() {
            link.is_joined = true;
            self.processes.get_mut(&tgid).into_iter().for_each(|process| process.joined_call(at));
        }
        self.pending_bytes -= link.connection.pending_bytes();
        self.table_bytes -= link.connection.table_bytes();
        link.connection.data(Mark::new(at, tgid, tid, data), data, &self.config.protocol, &mut self.signals);
        let full = self.pending_bytes + link.connection.pending_bytes() > PENDING_BYTES_MAX;
        if full {
            link.connection.abandon_pending(&mut self.signals);
        }
        self.pending_bytes += link.connection.pending_bytes();
        if self.table_bytes + link.connection.table_bytes() > TABLES_BYTES_MAX {
            link.connection.forget_tables();
        }
        self.table_bytes += link.connection.table_bytes();
        self.add(Counter::DroppedBuffersFull, u64::from(full));
        self.settle_signals(data.connection, at);
    }

    /// Its opening was lost: whatever is on it, nobody sees.
    fn unknown_connection(&mut self, tgid: u32, at: u64) {
        self.count(Counter::RecordsUnknownConnection);
        if let Some(process) = self.processes.get_mut(&tgid) {
            process.lost(at);
        }
    }

    /// Works off what a connection just said.
    fn settle_signals(&mut self, connection: u64, at: u64) {
        let mut signals = core::mem::take(&mut self.signals);
        for signal in signals.drain(..) {
            self.signal(connection, at, signal);
        }
        self.signals = signals;
        if let Some(link) = self.links.get_mut(&connection) {
            let idle = link.connection.is_pooled();
            self.pools.update(&link.connection, idle, &mut link.idle_since);
        }
    }

    fn last_turn(&mut self, id: u64, at: u64, turn: u16) {
        if let Some(link) = self.links.get_mut(&id) {
            link.connection.last_turn(turn, &mut self.signals);
            self.settle_signals(id, at);
        }
    }

    fn ended(&mut self, id: u64, at: u64, tgid: u32, tid: u32, bytes: [u64; 2]) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let mark =
            Mark { position: 0, entered: at, at, token: 0, cause: 0, trail: Trail::Thread, sequence: None, tgid, tid };
        self.pending_bytes -= link.connection.pending_bytes();
        self.table_bytes -= link.connection.table_bytes();
        link.connection.ended(mark, bytes, &self.config.protocol, &mut self.signals);
        self.pending_bytes += link.connection.pending_bytes();
        self.table_bytes += link.connection.table_bytes();
        self.settle_signals(id, at);
        self.close_link(id, at);
    }

    fn close_link(&mut self, id: u64, at: u64) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.connection.closed(at, &self.config.protocol, &mut self.signals);
        self.settle_signals(id, at);
        self.end_unanswered(id, at);
        if let Some(mut link) = self.links.remove(&id) {
            self.pools.update(&link.connection, false, &mut link.idle_since);
            self.add(Counter::ConnectionsTlsUnread, u64::from(link.tls_unread_since.is_some()));
            self.pending_bytes -= link.connection.pending_bytes();
            self.table_bytes -= link.connection.table_bytes();
            self.unix_links.remove(&(link.connection.tgid, id));
            self.resumes_no_strangers(&link, at);
            if let Some(process) = link.opaque_server_of.and_then(|tgid| self.processes.get_mut(&tgid)) {
                process.opaque_servers = process.opaque_servers.saturating_sub(1);
            }
        }
    }

    fn forked(&mut self, parent: u32, child: u32) {
        let Some(threads) = self.processes.get(&parent).map(ProcessState::told_threads) else { return };
        if let Some(process) = self.process(child) {
            process.set_threads(threads);
        }
    }

    fn exited(&mut self, tgid: u32, at: u64) {
        while let Some((_, id)) = self.unix_links.range((tgid, 0)..=(tgid, u64::MAX)).next().copied() {
            self.close_link(id, at);
            self.unix_links.remove(&(tgid, id));
        }
        self.forget_process(tgid);
    }

    fn forget_process(&mut self, tgid: u32) {
        self.processes.remove(&tgid);
        self.routines.forget(tgid);
    }

    /// The process's state, made when new; `None` when the table is full.
    fn process(&mut self, tgid: u32) -> Option<&mut ProcessState> {
        if self.processes.len() >= PROCESSES_MAX && !self.processes.contains_key(&tgid) {
            return None;
        }
        Some(self.processes.entry(tgid).or_default())
    }

    // === time ===

    fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
        while let Some(Reverse((due, timer))) = self.timers.peek().copied() {
            if due > self.now {
                return;
            }
            self.timers.pop();
            match timer {
                Timer::Decide(id) => self.decide_context(id),
                Timer::Forget(id) => self.forget_decided(id),
            }
        }
    }

    fn start_timer(&mut self, from: u64, timer: Timer) {
        self.timers.push(Reverse((from.saturating_add(SETTLE_NS), timer)));
    }

    /// Drops the connection that was used least recently, about.
    fn evict(&mut self) {
        let Some(id) = self.sweep.pop_front() else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        if core::mem::take(&mut link.touched) {
            return self.sweep.push_back(id);
        }
        self.count(Counter::ConnectionsEvicted);
        self.close_link(id, self.now);
    }

    /// Looks at a few connections in turn and forgets the idle ones.
    fn sweep_idle(&mut self) {
        for _ in 0..self.sweep.len().min(SWEEP_MAX) {
            let Some(id) = self.sweep.pop_front() else { return };
            let Some(link) = self.links.get_mut(&id) else { continue };
            let unread =
                link.tls_unread_since.take_if(|since| since.saturating_add(TLS_UNREAD_NS) < self.now).is_some();
            let limit = if link.connection.is_idle() { CONNECTION_IDLE_NS } else { CONNECTION_SILENT_NS };
            let idle = link.connection.last_at.saturating_add(limit) < self.now;
            self.add(Counter::ConnectionsTlsUnread, u64::from(unread));
            if idle {
                self.give_up_waiting(id);
                self.close_link(id, self.now);
            } else {
                self.sweep.push_back(id);
            }
        }
    }
}
