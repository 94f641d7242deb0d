//! The goldens through the whole engine, as the records of a server: it drives the parser as the driver of these tests
//! does, so the spans have what the messages had.

use crate::dialog::{Dialog, Turn};
use crate::driver::{Driver, Seen};
use crate::golden::goldens;
use crate::transcript::play;
use autospan_abi::{Direction, Role};
use autospan_core::engine::{Engine, EngineConfig, Output};
use autospan_core::event::{Data, Ends, Event, EventKind, Opened};
use autospan_core::fact::Fact;
use autospan_core::protocol::{RequestHead, ResponseHead, Side};
use autospan_core::span::{Span, Value};
use std::net::{IpAddr, Ipv4Addr};

/// One line per exchange, or nothing where losses leave open what belongs to what.
fn exchanges(driver: &Driver) -> Option<Vec<String>> {
    let (mut requests, mut responses, mut ends) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    for (side, seen) in &driver.seen {
        match seen {
            Seen::Request(head) => {
                let RequestHead::Http(request) = &**head;
                requests.push(request.method.clone());
            }
            Seen::Response(head) => {
                let ResponseHead::Http(response) = &**head;
                responses.push(response.status);
            }
            Seen::End(end) => ends[usize::from(*side == Side::Response)].push(end.body_bytes.unwrap_or_default()),
            Seen::Desync => return None,
            Seen::Upgraded => {}
        }
    }
    let n = requests.len();
    let complete = [responses.len(), ends[0].len(), ends[1].len()] == [n; 3] && !driver.awaits_request();
    let line = |i: usize| format!("{} {} {} {}", requests[i], responses[i], ends[0][i], ends[1][i]);
    complete.then(|| (0..n).map(line).collect())
}

fn line(span: &Span) -> String {
    let value = |key| match span.attribute(key) {
        Some(Value::String(text)) => text.to_string(),
        Some(Value::Int(n)) => n.to_string(),
        other => format!("{other:?}"),
    };
    let method = match value("http.request.method").as_str() {
        "_OTHER" => value("http.request.method_original"),
        known => known.to_owned(),
    };
    let [status, request, response] =
        ["http.response.status_code", "http.request.body.size", "http.response.body.size"].map(value);
    format!("{method} {status} {request} {response}")
}

/// A server's engine.
struct Server {
    engine: Engine,
    positions: [u64; 2],
    now: u64,
}

impl Server {
    fn new(dialog: &Dialog) -> Self {
        let engine = Engine::new(EngineConfig { protocol: dialog.config.clone() });
        let mut server = Self { engine, positions: [0; 2], now: 1_000 };
        server.engine.fact(Fact::Session { secret: [1; 16] });
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let ends = Ends::Inet { local: (ip, 80), remote: (ip, 50_000) };
        let (role, connect_seen) = (Role::Server, true);
        let opened =
            Opened { connection: 1, sock: 1, peer_sock: 0, inode: 1, netns: 1, role, connect_seen, tls: None, ends };
        server.record(EventKind::Opened(opened));
        server
    }

    fn record(&mut self, kind: EventKind<'_>) {
        self.now += 1_000;
        let mut record = Vec::new();
        Event { at: self.now, tgid: 1, tid: 1, kind }.encode(&mut record);
        self.engine.feed(&record);
    }

    fn data(&mut self, side: Side, head: &[u8], total: u32) {
        let direction = if side == Side::Request { Direction::Inbound } else { Direction::Outbound };
        let position = self.positions[direction as usize];
        self.positions[direction as usize] += u64::from(total);
        let (connection, entered, token, cause) = (1, self.now, u64::from(side == Side::Request), 0);
        let data = Data {
            connection,
            direction,
            turn: 0,
            position,
            entered,
            token,
            cause,
            trail: autospan_abi::Trail::Thread,
            sequence: None,
            total,
            head,
            tail: b"",
        };
        self.record(EventKind::Data(data));
    }

    fn play(mut self, turns: &[Turn]) -> Vec<String> {
        for turn in turns {
            match turn {
                Turn::Bytes { side, bytes, .. } => {
                    bytes.chunks(16_384).for_each(|piece| self.data(*side, piece, piece.len() as u32));
                }
                Turn::Gap { side, len } => self.data(*side, b"", *len as u32),
                Turn::Close { .. } | Turn::Assume => {}
            }
        }
        let [inbound_bytes, outbound_bytes] = self.positions;
        self.record(EventKind::Closed { connection: 1, inbound_bytes, outbound_bytes, turn: 0, decrypted: false });
        while let Some(deadline) = self.engine.next_deadline() {
            self.engine.tick(deadline);
        }
        let outputs = std::iter::from_fn(|| self.engine.poll());
        let mut spans: Vec<_> =
            outputs.filter_map(|o| if let Output::Span(span) = o { Some(span) } else { None }).collect();
        spans.sort_by_key(|span| span.start_unix_ns);
        spans.iter().map(|span| line(span)).collect()
    }
}

#[test]
fn spans_have_what_the_messages_had() {
    let mut compared = 0;
    // Here the time of a record is its place; a response from before its request answers another.
    for golden in goldens().iter().filter(|golden| golden.name() != "response-first") {
        let turns = &golden.dialog.turns;
        let mut closed = turns.clone();
        closed.extend([Side::Request, Side::Response].map(|side| Turn::Close { side }));
        let Some(expected) = exchanges(&play(&golden.dialog, &closed)) else { continue };
        assert_eq!(Server::new(&golden.dialog).play(turns), expected, "{}", golden.name());
        compared += 1;
        // A record is a call, and where framing is lost, the ends of calls matter.
        if golden.name().contains("framing-lost") {
            continue;
        }
        let pieces: Vec<_> = turns.iter().flat_map(|turn| turn.split_at(turn.places() / 2)).collect();
        assert_eq!(Server::new(&golden.dialog).play(&pieces), expected, "{} in pieces", golden.name());
    }
    assert!(compared >= 30, "only {compared} goldens could be compared");
}
