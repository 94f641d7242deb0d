//! A tiny world that writes the records the kernel programs would, and shows the engine's spans as trees.

use autospan_abi::{Direction, Role, Trail, token};
use autospan_core::engine::{Engine, EngineConfig, Output};
use autospan_core::event::{Data, Ends, Event, EventKind, Opened, Tls};
use autospan_core::fact::{Fact, Threads};
use autospan_core::span::{Span, SpanKind, Value};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

pub(crate) type Conn = u64;

const TLS_1_3: Tls = Tls { version: 0x0303, cipher: 0x1302 };

/// Sequence number of the first byte from either end of every connection.
const SEQUENCE: u32 = 0xffff_fff0;

#[derive(Default)]
struct End {
    tgid: u32,
    server: bool,
    positions: [u64; 2],
    last_cause: u64,
    turn: u16,
    direction: Option<Direction>,
    /// Plaintext inside TLS: it has no sequence numbers.
    tls: bool,
}

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) now: u64,
    records: Vec<u8>,
    ends: HashMap<Conn, End>,
    carriers: HashMap<u32, u64>,
    tokens: u64,
    /// How causes come to those who carry them.
    pub(crate) trail: Trail,
    pub(crate) spans: Vec<Span>,
    pub(crate) policies: Vec<(Conn, autospan_abi::Policy)>,
    /// Processes to watch, or no more.
    pub(crate) watched: Vec<(u32, bool)>,
    /// Records are written but lost on the way.
    pub(crate) lossy: bool,
    /// Clients' connections whose reads have tokens, since many share them.
    pub(crate) shared: HashSet<Conn>,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut engine = Engine::new(EngineConfig::default());
        engine.fact(Fact::Session { secret: [7; 16] });
        engine.fact(Fact::Clock { monotonic_ns: 0, unix_ns: 1_000_000_000_000_000_000 });
        Self {
            engine,
            now: 1_000,
            records: Vec::new(),
            ends: HashMap::new(),
            carriers: HashMap::new(),
            tokens: 0,
            trail: Trail::Thread,
            spans: Vec::new(),
            policies: Vec::new(),
            watched: Vec::new(),
            lossy: false,
            shared: HashSet::new(),
        }
    }

    pub(crate) fn process(&mut self, tgid: u32, threads: Threads) {
        self.engine.fact(Fact::Process { tgid, threads });
    }

    /// Process `tgid` accepted a connection from `peer_port` on loopback.
    pub(crate) fn server(&mut self, tgid: u32, connection: Conn, peer_port: u16) {
        self.open(tgid, connection, Role::Server, (8_000, peer_port), None);
    }

    /// As [`World::server`], and what passes is the plaintext inside TLS.
    pub(crate) fn tls_server(&mut self, tgid: u32, connection: Conn, peer_port: u16) {
        self.open(tgid, connection, Role::Server, (8_000, peer_port), Some(TLS_1_3));
    }

    /// As [`World::client`], and what passes is the plaintext inside TLS.
    pub(crate) fn tls_client(&mut self, tgid: u32, connection: Conn, port: u16) {
        self.open(tgid, connection, Role::Client, (port, 8_000), Some(TLS_1_3));
    }

    /// An end of a TLS connection whose handshake was not seen; `port` is the client's.
    pub(crate) fn tls_before_the_agent(&mut self, tgid: u32, connection: Conn, role: Role, port: u16) {
        let ports = if role == Role::Client { (port, 8_000) } else { (8_000, port) };
        self.open(tgid, connection, role, ports, Some(Tls::default()));
    }

    /// Process `tgid` connected from `port` on loopback.
    pub(crate) fn client(&mut self, tgid: u32, connection: Conn, port: u16) {
        self.open(tgid, connection, Role::Client, (port, 8_000), None);
    }

    /// The same, seen from the start.
    pub(crate) fn connect(&mut self, tgid: u32, connection: Conn, port: u16) {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let ends = Ends::Inet { local: (ip, port), remote: (ip, 8_000) };
        let (sock, role) = (connection, Role::Client);
        let opened =
            Opened { connection, sock, peer_sock: 0, inode: 1, netns: 1, role, connect_seen: true, tls: None, ends };
        self.open_with(tgid, role, opened);
    }

    fn open(&mut self, tgid: u32, connection: Conn, role: Role, (local, remote): (u16, u16), tls: Option<Tls>) {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let ends = Ends::Inet { local: (ip, local), remote: (ip, remote) };
        self.open_with(
            tgid,
            role,
            Opened {
                connection,
                sock: connection,
                peer_sock: 0,
                inode: 1,
                netns: 1,
                role,
                connect_seen: false,
                tls,
                ends,
            },
        );
    }

    /// A unix socket end whose peer is the end `peer`.
    pub(crate) fn unix(&mut self, tgid: u32, connection: Conn, peer: Conn, role: Role) {
        let ends = Ends::Unix { path: b"/run/app.sock" };
        self.open_with(
            tgid,
            role,
            Opened {
                connection,
                sock: connection,
                peer_sock: peer,
                inode: 1,
                netns: 1,
                role,
                connect_seen: false,
                tls: None,
                ends,
            },
        );
    }

    fn open_with(&mut self, tgid: u32, role: Role, opened: Opened<'_>) {
        let (connection, tls) = (opened.connection, opened.tls.is_some());
        self.record(tgid, tgid, EventKind::Opened(opened));
        self.ends.insert(connection, End { tgid, server: role == Role::Server, tls, ..End::default() });
    }

    pub(crate) fn read(&mut self, tid: u32, connection: Conn, bytes: &str) {
        self.transfer(tid, connection, Direction::Inbound, bytes.as_bytes(), bytes.len());
    }

    pub(crate) fn write(&mut self, tid: u32, connection: Conn, bytes: &str) {
        self.transfer(tid, connection, Direction::Outbound, bytes.as_bytes(), bytes.len());
    }

    /// One call that writes several segments.
    pub(crate) fn write_segments(&mut self, tid: u32, connection: Conn, segments: &[&[u8]]) {
        let at = self.now;
        for segment in segments {
            self.now = at;
            self.transfer(tid, connection, Direction::Outbound, segment, segment.len());
        }
    }

    /// Of `total` bytes moved, only the first were copied.
    pub(crate) fn transfer(&mut self, tid: u32, connection: Conn, direction: Direction, head: &[u8], total: usize) {
        let trail = self.trail;
        let end = self.ends.get_mut(&connection).expect("opened");
        let inbound = direction == Direction::Inbound;
        let position = end.positions[direction as usize];
        end.positions[direction as usize] += total as u64;
        if end.direction != Some(direction) {
            end.direction = Some(direction);
            end.turn += 1;
        }
        let turn = end.turn;
        let (mut token, mut cause) = (0, 0);
        let carrier = self.carriers.entry(tid).or_default();
        match (inbound, end.server) {
            (true, server) if server || self.shared.contains(&connection) => {
                self.tokens += 1;
                token = self.tokens;
                *carrier = token;
            }
            (true, _) => *carrier = end.last_cause,
            (false, _) => {
                cause = *carrier;
                end.last_cause = cause;
            }
        }
        let (tgid, entered, total) = (end.tgid, self.now + 500, total as u32);
        let sequence = (!end.tls).then_some(SEQUENCE.wrapping_add(position as u32));
        let data = Data {
            connection,
            direction,
            turn,
            position,
            entered,
            token,
            cause,
            trail,
            sequence,
            total,
            head,
            tail: &[],
        };
        self.record(tgid, tid, EventKind::Data(data));
    }

    pub(crate) fn close(&mut self, connection: Conn) {
        let End { tgid, positions: [inbound_bytes, outbound_bytes], turn, .. } = self.ends[&connection];
        self.record(
            tgid,
            tgid,
            EventKind::Closed { connection, inbound_bytes, outbound_bytes, turn, decrypted: false },
        );
    }

    /// The plaintext of a connection that was ciphertext so far shows up elsewhere.
    pub(crate) fn decrypted(&mut self, connection: Conn) {
        let End { tgid, positions: [inbound_bytes, outbound_bytes], turn, .. } = self.ends[&connection];
        let kind = EventKind::Closed { connection, inbound_bytes, outbound_bytes, turn, decrypted: true };
        self.record(tgid, tgid, kind);
    }

    /// Thread `tid` was made by one that works for the request which was read last on `maker`.
    pub(crate) fn spawn(&mut self, maker: u32, tid: u32) {
        let carried = self.carriers.get(&maker).copied().unwrap_or_default();
        self.carriers.insert(tid, carried);
    }

    /// What `tid` runs was made for one stream of a connection that has many at once.
    pub(crate) fn works_on_stream(&mut self, tid: u32, connection: Conn, stream: u32) {
        self.carriers.insert(tid, token::of_stream(connection, stream));
    }

    /// The kernel side knows that the connection has many streams at once.
    pub(crate) fn multiplexed(&mut self, connection: Conn) {
        let tgid = self.ends[&connection].tgid;
        self.record(tgid, tgid, EventKind::Multiplexed { connection });
    }

    /// `tid` asks a library for a stream.
    pub(crate) fn ask(&mut self, tid: u32, connection: Conn, stream: u32) {
        let (tgid, trail) = (self.ends[&connection].tgid, self.trail);
        let cause = self.carriers.get(&tid).copied().unwrap_or_default();
        self.record(tgid, tid, EventKind::StreamAsked { connection, stream, cause, trail });
    }

    /// `tid` enters the function of a library that sends a request.
    pub(crate) fn start_call(&mut self, tgid: u32, tid: u32) {
        self.record(tgid, tid, EventKind::CallStarted);
    }

    /// It is back from there.
    pub(crate) fn return_from_call(&mut self, tgid: u32, tid: u32) {
        self.record(tgid, tid, EventKind::CallReturned);
    }

    pub(crate) fn thread_exit(&mut self, tgid: u32, tid: u32) {
        self.record(tgid, tid, EventKind::ThreadExited);
    }

    pub(crate) fn exit(&mut self, tgid: u32) {
        self.record(tgid, tgid, EventKind::Exited);
    }

    pub(crate) fn execute(&mut self, tgid: u32) {
        self.record(tgid, tgid, EventKind::Executed);
    }

    fn record(&mut self, tgid: u32, tid: u32, kind: EventKind<'_>) {
        self.now += 1_000;
        let start = self.records.len();
        Event { at: self.now, tgid, tid, kind }.encode(&mut self.records);
        if self.lossy {
            self.records.truncate(start);
            return;
        }
        self.engine.feed(&self.records[start..]);
        self.poll();
    }

    /// All records so far, as one run of bytes.
    pub(crate) fn records(&self) -> &[u8] {
        &self.records
    }

    /// Time passes until everything has settled.
    pub(crate) fn settle(&mut self) {
        self.now += 1_000_000_000;
        self.engine.tick(self.now);
        self.poll();
    }

    fn poll(&mut self) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Span(span) => self.spans.push(*span),
                Output::Policy { connection, policy } => self.policies.push((connection, policy)),
                Output::WatchJobs { tgid, watch } => self.watched.push((tgid, watch)),
            }
        }
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.engine.counters().find(|(c, _)| c.name() == name).expect("a counter of that name").1
    }

    /// The traces: `kind method path status [evidence or reason]`, children indented, in the order of their start.
    pub(crate) fn trees(&mut self) -> String {
        self.settle();
        self.spans.sort_by_key(|s| (s.start_unix_ns, s.kind == SpanKind::Server));
        let mut out = String::new();
        for span in &self.spans {
            let known = span.parent.is_some_and(|p| self.spans.iter().any(|s| s.span_id == p.span_id));
            if !known {
                self.show(span, 0, &mut out);
            }
        }
        out
    }

    fn show(&self, span: &Span, depth: usize, out: &mut String) {
        let kind = if span.kind == SpanKind::Server { "server" } else { "client" };
        let path = text(span, "url.path").or(text(span, "url.full")).unwrap_or_default();
        let path = path.rfind("//").and_then(|i| path[i + 2..].find('/').map(|j| &path[i + 2 + j..])).unwrap_or(path);
        let status = match span.attribute("http.response.status_code") {
            Some(Value::Int(status)) => status.to_string(),
            _ => "-".into(),
        };
        let why = text(span, "autospan.parent.evidence").or(text(span, "autospan.parent.reason")).unwrap_or("?");
        let _ = writeln!(out, "{}{kind} {} {path} {status} [{why}]", "  ".repeat(depth), span.name);
        for child in &self.spans {
            if child.parent.is_some_and(|p| p.span_id == span.span_id) {
                assert_eq!(child.trace_id, span.trace_id, "a child is in its parent's trace");
                assert!(child.start_unix_ns >= span.start_unix_ns, "a child starts after its parent");
                self.show(child, depth + 1, out);
            }
        }
    }
}

pub(crate) fn text<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    match span.attribute(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}
