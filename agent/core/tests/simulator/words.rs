//! What an agent was told, in words: one line each, to read and to read back.
//!
//! ```text
//! secret 1
//! process 1000 owned
//! tick 1050000000
//! 1002000 1000/5001 opened 7 client 32769 8001 tls 303
//! 1003000 1000/5001 data 7 out turn 1 at 0 of 38 entered 1002500 token 0 cause 3 reuse seq 17 "GET /a/r1 …" ""
//! 1009000 1000/5001 closed 7 in 120 out 38 turn 2
//! 1009900 1000/1000 exited
//! ```

use crate::agent::Entry;
use autospan_abi::{Direction, Role, Trail};
use autospan_core::event::{Data, Ends, Event, EventKind, Opened, Tls};
use autospan_core::fact::{Fact, Threads};
use std::net::{IpAddr, Ipv4Addr};

const THREADS: [(&str, Threads); 3] =
    [("owned", Threads::Owned), ("multiplexed", Threads::Multiplexed), ("unproven", Threads::Unproven)];
const TRAILS: [(&str, Trail); 7] = [
    ("thread", Trail::Thread),
    ("task", Trail::Task),
    ("turn", Trail::Turn),
    ("reuse", Trail::Reuse),
    ("reuse_at_once", Trail::ReuseAtOnce),
    ("spawned", Trail::Spawned),
    ("spawned_by_task", Trail::SpawnedByTask),
];
const ROLES: [(&str, Role); 3] = [("client", Role::Client), ("server", Role::Server), ("unknown", Role::Unknown)];
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(crate) fn write(entries: &[Entry]) -> String {
    entries.iter().map(|entry| line(entry) + "\n").collect()
}

fn line(entry: &Entry) -> String {
    match entry {
        Entry::Tick(now) => format!("tick {now}"),
        Entry::Fact(Fact::Session { secret }) => format!("secret {}", secret[0]),
        Entry::Fact(Fact::Clock { monotonic_ns, unix_ns }) => format!("clock {monotonic_ns} {unix_ns}"),
        Entry::Fact(Fact::Process { tgid, threads }) => format!("process {tgid} {}", word(&THREADS, *threads)),
        Entry::Fact(other) => panic!("the simulator tells no {other:?}"),
        Entry::Record(bytes) => {
            let Event { at, tgid, tid, kind } = Event::parse(bytes).expect("a record");
            format!("{at} {tgid}/{tid} {}", what(&kind))
        }
    }
}

fn what(kind: &EventKind<'_>) -> String {
    match kind {
        EventKind::Opened(o) => {
            let Ends::Inet { local, remote } = o.ends else { panic!("the simulator has no unix sockets") };
            let tls = o.tls.map(|tls| format!(" tls {:x}", tls.version)).unwrap_or_default();
            let seen = if o.connect_seen { " seen" } else { "" };
            format!("opened {} {} {} {}{seen}{tls}", o.connection, word(&ROLES, o.role), local.1, remote.1)
        }
        EventKind::Data(d) => {
            let direction = if d.direction == Direction::Inbound { "in" } else { "out" };
            let sequence = d.sequence.map(|sequence| format!(" seq {sequence}")).unwrap_or_default();
            format!(
                "data {} {direction} turn {} at {} of {} entered {} token {} cause {} {}{sequence} {} {}",
                d.connection,
                d.turn,
                d.position,
                d.total,
                d.entered,
                d.token,
                d.cause,
                word(&TRAILS, d.trail),
                quote(d.head),
                quote(d.tail),
            )
        }
        EventKind::Closed { connection, inbound_bytes, outbound_bytes, turn, .. } => {
            format!("closed {connection} in {inbound_bytes} out {outbound_bytes} turn {turn}")
        }
        EventKind::Multiplexed { connection } => format!("multiplexed {connection}"),
        EventKind::Exited => "exited".into(),
        EventKind::ThreadExited => "thread exited".into(),
        EventKind::CallStarted => "call started".into(),
        EventKind::CallReturned => "call returned".into(),
        other => panic!("the simulator writes no {other:?}"),
    }
}

fn word<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).expect("a word for it").0
}

/// With what is not printed escaped, and long runs of one byte as `\*300q`.
fn quote(bytes: &[u8]) -> String {
    const RUN_MIN: usize = 16;
    let text = |run: &[u8]| match run {
        [byte, ..] if run.len() >= RUN_MIN => format!("\\*{}{}", run.len(), byte.escape_ascii()),
        run => run.escape_ascii().to_string(),
    };
    let text = bytes.chunk_by(|a, b| a == b).map(text).collect::<String>();
    format!("\"{}\"", text.replace("\\\"", "\\x22"))
}

// === reading ===

pub(crate) fn read(text: &str) -> Vec<Entry> {
    text.lines().map(|line| Words(line).entry()).collect()
}

struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn next(&mut self) -> &'a str {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        word
    }

    fn number<T: std::str::FromStr>(&mut self) -> T {
        let word = self.next();
        word.parse().unwrap_or_else(|_| panic!("{word} is no number here, before {}", self.0))
    }

    /// A number after its name.
    fn named<T: std::str::FromStr>(&mut self, name: &str) -> T {
        assert_eq!(self.next(), name, "before {}", self.0);
        self.number()
    }

    fn optional(&mut self, name: &str) -> Option<&'a str> {
        let is_next = self.0 == name || self.0.starts_with(&format!("{name} "));
        is_next.then(|| self.next())
    }

    fn one_of<T: Copy>(&mut self, words: &[(&str, T)]) -> T {
        let word = self.next();
        words.iter().find(|(known, _)| *known == word).unwrap_or_else(|| panic!("what is {word}?")).1
    }

    fn quoted(&mut self) -> Vec<u8> {
        let (quoted, rest) = self.0[1..].split_once('"').expect("a quote");
        self.0 = rest.trim_start();
        unescape(quoted)
    }

    fn entry(mut self) -> Entry {
        match self.next() {
            "tick" => Entry::Tick(self.number()),
            "secret" => Entry::Fact(Fact::Session { secret: [self.number(); 16] }),
            "clock" => Entry::Fact(Fact::Clock { monotonic_ns: self.number(), unix_ns: self.number() }),
            "process" => Entry::Fact(Fact::Process { tgid: self.number(), threads: self.one_of(&THREADS) }),
            at => self.record(at.parse().expect("a time")),
        }
    }

    fn record(mut self, at: u64) -> Entry {
        let (tgid, tid) = self.next().split_once('/').expect("process/thread");
        let (tgid, tid) = (tgid.parse().expect("a process"), tid.parse().expect("a thread"));
        let mut bytes = Vec::new();
        match self.next() {
            "opened" => Event { at, tgid, tid, kind: EventKind::Opened(self.opened()) }.encode(&mut bytes),
            "data" => self.data(|data| Event { at, tgid, tid, kind: EventKind::Data(data) }.encode(&mut bytes)),
            "closed" => Event { at, tgid, tid, kind: self.closed() }.encode(&mut bytes),
            "multiplexed" => {
                Event { at, tgid, tid, kind: EventKind::Multiplexed { connection: self.number() } }.encode(&mut bytes);
            }
            "thread" => Event { at, tgid, tid, kind: EventKind::ThreadExited }.encode(&mut bytes),
            "exited" => Event { at, tgid, tid, kind: EventKind::Exited }.encode(&mut bytes),
            other => panic!("what is {other}?"),
        }
        Entry::Record(bytes)
    }

    fn opened(&mut self) -> Opened<'static> {
        let (connection, role) = (self.number(), self.one_of(&ROLES));
        let ends = Ends::Inet { local: (LOOPBACK, self.number()), remote: (LOOPBACK, self.number()) };
        let connect_seen = self.optional("seen").is_some();
        let version = self.optional("tls").map(|_| u16::from_str_radix(self.next(), 16).expect("a version"));
        let tls = version.map(|version| Tls { version, cipher: 0 });
        Opened { connection, sock: connection, peer_sock: 0, inode: 1, netns: 1, role, connect_seen, tls, ends }
    }

    fn closed(&mut self) -> EventKind<'static> {
        EventKind::Closed {
            connection: self.number(),
            inbound_bytes: self.named("in"),
            outbound_bytes: self.named("out"),
            turn: self.named("turn"),
            decrypted: false,
        }
    }

    fn data(&mut self, take: impl FnOnce(Data<'_>)) {
        let connection = self.number();
        let direction = self.one_of(&[("in", Direction::Inbound), ("out", Direction::Outbound)]);
        let (turn, position, total) = (self.named("turn"), self.named("at"), self.named("of"));
        let (entered, token, cause) = (self.named("entered"), self.named("token"), self.named("cause"));
        let trail = self.one_of(&TRAILS);
        let sequence = self.optional("seq").map(|_| self.number());
        let (head, tail) = (&self.quoted()[..], &self.quoted()[..]);
        take(Data { connection, direction, turn, position, entered, token, cause, trail, sequence, total, head, tail });
    }
}

/// What [`quote`] made.
fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while !rest.is_empty() {
        let times = match rest {
            [b'\\', b'*', run @ ..] => {
                let digits = run.iter().take_while(|byte| byte.is_ascii_digit()).count();
                rest = &run[digits..];
                run[..digits].iter().fold(0, |n, digit| 10 * n + usize::from(digit - b'0'))
            }
            _ => 1,
        };
        let (byte, left) = unescape_one(rest);
        bytes.resize(bytes.len() + times, byte);
        rest = left;
    }
    bytes
}

/// A byte as [`u8::escape_ascii`] writes it, and what is behind.
fn unescape_one(text: &[u8]) -> (u8, &[u8]) {
    let digit = |digit: u8| (digit as char).to_digit(16).expect("a digit") as u8;
    match text {
        [b'\\', b'x', high, low, left @ ..] => (16 * digit(*high) + digit(*low), left),
        [b'\\', b'r', left @ ..] => (b'\r', left),
        [b'\\', b'n', left @ ..] => (b'\n', left),
        [b'\\', b't', left @ ..] => (b'\t', left),
        [b'\\', byte, left @ ..] | [byte, left @ ..] => (*byte, left),
        [] => panic!("a run of nothing"),
    }
}

#[test]
fn what_was_written_is_read_back() {
    for seed in 0..20 {
        for session in crate::world::run(crate::plan::Plan::new(seed)) {
            let text = write(&session.entries);
            assert_eq!(write(&read(&text)), text, "seed {seed}");
        }
    }
}
