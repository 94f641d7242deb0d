//! The goldens through the whole engine, as the records of a server: it drives the parser as the driver of these tests
//! does, so the spans have what the messages had.

use crate::dialog::{Dialog, Turn};
use crate::driver::{Driver, Seen};
use crate::goldens::of;
use crate::transcript::play;
use autospan_abi::{Direction, Role};
use autospan_core::engine::{Engine, EngineConfig, Output};
use autospan_core::event::{Data, Ends, Event, EventKind, Opened, Tls};
use autospan_core::fact::Fact;
use autospan_core::protocol::{Definition, MessageEnd, PROTOCOLS, Reported, RequestHead, ResponseHead, Side};
use autospan_core::span::{Span, Value};
use std::net::{IpAddr, Ipv4Addr};

/// One line per exchange, or nothing where losses leave open what belongs to what.
fn exchanges(driver: &Driver) -> Option<Vec<String>> {
    let (mut requests, mut responses, mut ends) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    for (side, seen) in &driver.seen {
        match seen {
            Seen::Request(head) => requests.push((**head).clone()),
            Seen::Response(head) => responses.push((**head).clone()),
            Seen::Outcome(head) => *responses.last_mut()? = (**head).clone(),
            Seen::End(end) => ends[usize::from(*side == Side::Response)].push(*end),
            Seen::Desync => return None,
            Seen::Upgraded => {}
        }
    }
    let n = requests.len();
    let complete = [responses.len(), ends[0].len(), ends[1].len()] == [n; 3] && !driver.awaits_request();
    let line = |i: usize| exchange(&requests[i], &responses[i], ends[0][i], ends[1][i]);
    complete.then(|| (0..n).filter_map(line).collect())
}

/// As the span that is expected of it, if any is.
fn exchange(request: &RequestHead, response: &ResponseHead, end: MessageEnd, answer_end: MessageEnd) -> Option<String> {
    let size = |end: MessageEnd| end.body_bytes.unwrap_or_default();
    match (request, response) {
        (RequestHead::Http(request), ResponseHead::Http(response)) => {
            Some(format!("{} {} {} {}", request.method, response.status, size(end), size(answer_end)))
        }
        (RequestHead::Database(request), ResponseHead::Database(response)) => {
            let fails = response.error.is_some() || answer_end.truncated;
            let text = request.statement.text.as_deref().unwrap_or("-");
            let code = response.status_code().unwrap_or("-");
            let line = format!("{text} {code} {}", response.returned_rows.map_or(-1, |rows| rows as i64));
            (fails || request.reported == Reported::Always).then_some(line)
        }
        _ => panic!("an answer of another protocol"),
    }
}

fn line(span: &Span) -> String {
    let value = |key| match span.attribute(key) {
        Some(Value::String(text)) => text.to_string(),
        Some(Value::Int(n)) => n.to_string(),
        _ => "-".to_owned(),
    };
    if span.attribute("db.system.name").is_some() {
        let rows = value("db.response.returned_rows");
        let rows = if rows == "-" { "-1" } else { &rows };
        return format!("{} {} {rows}", value("db.query.text"), value("db.response.status_code"));
    }
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
    sock: u64,
    now: u64,
}

impl Server {
    fn new(dialog: &Dialog) -> Self {
        let engine = Engine::new(EngineConfig { protocol: dialog.config.clone() });
        let mut server = Self { engine, positions: [0; 2], sock: 1, now: 1_000 };
        server.engine.fact(Fact::Session { secret: [1; 16] });
        server.open(None);
        server
    }

    fn open(&mut self, tls: Option<Tls>) {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let ends = Ends::Inet { local: (ip, 80), remote: (ip, 50_000) };
        let (role, connect_seen, sock) = (Role::Server, true, self.sock);
        let opened = Opened { connection: 1, sock, peer_sock: 0, inode: 1, netns: 1, role, connect_seen, tls, ends };
        self.positions = [0; 2];
        self.record(EventKind::Opened(opened));
    }

    fn close(&mut self, decrypted: bool) {
        let [inbound_bytes, outbound_bytes] = self.positions;
        self.record(EventKind::Closed { connection: 1, inbound_bytes, outbound_bytes, turn: 0, decrypted });
    }

    fn turn(&mut self, turn: &Turn) {
        match turn {
            Turn::Bytes { side, bytes, .. } => {
                bytes.chunks(16_384).for_each(|piece| self.data(*side, piece, piece.len() as u32));
            }
            Turn::Gap { side, len } => self.data(*side, b"", *len as u32),
            Turn::Close { .. } | Turn::Assume => {}
        }
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

    fn play(self, turns: &[Turn]) -> Vec<String> {
        self.spans(turns).iter().map(line).collect()
    }

    /// In the order in which they start.
    fn spans(mut self, turns: &[Turn]) -> Vec<Span> {
        turns.iter().for_each(|turn| self.turn(turn));
        self.close(false);
        while let Some(deadline) = self.engine.next_deadline() {
            self.engine.tick(deadline);
        }
        let outputs = std::iter::from_fn(|| self.engine.poll());
        let mut spans: Vec<_> =
            outputs.filter_map(|o| if let Output::Span(span) = o { Some(*span) } else { None }).collect();
        spans.sort_by_key(|span| span.start_unix_ns);
        spans
    }
}

#[test]
fn spans_have_what_the_messages_had() {
    for protocol in PROTOCOLS {
        let compared = compare(protocol);
        assert!(compared >= COMPARED_MIN, "only {compared} goldens of {} could be compared", protocol.name);
    }
}

#[test]
fn an_answer_whose_end_was_not_captured_ends_with_its_last_bytes() {
    let redis = PROTOCOLS.iter().find(|protocol| protocol.name == "redis").expect("a line of the registry");
    let goldens = of(redis);
    let golden = goldens.iter().find(|golden| golden.name() == "gap-in-list").expect("a golden");
    let spans = Server::new(&golden.dialog).spans(&golden.dialog.turns);
    // A record takes a microsecond. Of the long answers the last is the sixth and the fifth behind the request.
    let records = |span: &Span| (span.end_unix_ns - span.start_unix_ns) / 1_000;
    assert_eq!(spans.iter().map(records).collect::<Vec<_>>(), [6, 1, 5, 1, 1]);
}

#[test]
fn what_a_server_says_in_front_of_tls_holds_inside() {
    let mysql = PROTOCOLS.iter().find(|protocol| protocol.name == "mysql").expect("a line of the registry");
    let goldens = of(mysql);
    let turns = |name| &goldens.iter().find(|golden| golden.name() == name).expect("a golden").dialog.turns;
    let systems = |closed_sock, opened_sock| {
        let mut server = Server::new(&Dialog::default());
        server.sock = closed_sock;
        server.open(None);
        turns("tls").iter().take(2).for_each(|turn| server.turn(turn));
        server.close(true);
        server.sock = opened_sock;
        server.open(Some(Tls::default()));
        let spans = server.spans(turns("tls-plaintext"));
        let system = |span: &Span| format!("{:?}", span.attribute("db.system.name"));
        let mut systems: Vec<_> = spans.iter().map(system).collect();
        systems.dedup();
        systems.concat()
    };
    assert!(systems(1, 1).contains("mariadb"));
    assert!(systems(1, 2).contains("mysql"));
}

/// Of each protocol.
const COMPARED_MIN: usize = 15;

fn compare(protocol: &'static Definition) -> usize {
    let mut compared = 0;
    // Here the time of a record is its place; a response from before its request answers another.
    for golden in of(protocol).iter().filter(|golden| golden.name() != "response-first") {
        let turns = &golden.dialog.turns;
        let mut closed = turns.clone();
        closed.extend([Side::Request, Side::Response].map(|side| Turn::Close { side }));
        let Some(expected) = exchanges(&play(protocol, &golden.dialog, &closed)) else { continue };
        let name = format!("{} of {}", golden.name(), protocol.name);
        assert_eq!(Server::new(&golden.dialog).play(turns), expected, "{name}");
        compared += 1;
        // A record is a call, and where framing is lost, the ends of calls matter.
        if golden.name().contains("framing-lost") {
            continue;
        }
        let pieces: Vec<_> = turns.iter().flat_map(|turn| turn.split_at(turn.places() / 2)).collect();
        assert_eq!(Server::new(&golden.dialog).play(&pieces), expected, "{name} in pieces");
    }
    compared
}
