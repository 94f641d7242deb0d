//! The recordings through the whole engine, as the records of either end: the spans have what the streams had.

use crate::calls::{Call, Recording, recordings};
use crate::driver::{Driver, Seen, size};
use autospan_abi::{Direction, Role, Trail};
use autospan_core::engine::{Engine, EngineConfig, Output};
use autospan_core::event::{Data, Ends, Event, EventKind, Opened};
use autospan_core::fact::Fact;
use autospan_core::protocol::{RequestHead, ResponseHead, Side, StreamStep};
use autospan_core::span::{Span, SpanKind, Value};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// One line per stream that has an end: name, status and sizes.
fn expected(driver: &Driver) -> Vec<String> {
    let mut streams: BTreeMap<u32, [String; 4]> = BTreeMap::new();
    let mut ended = Vec::new();
    for (_, seen) in &driver.seen {
        let Seen::Stream(stream, step) = seen else { continue };
        let line = streams.entry(*stream).or_insert_with(|| ["", "-", "0", "-"].map(str::to_owned));
        match step {
            StreamStep::Request(head) => {
                let RequestHead::Http(request) = &**head else { panic!("of another protocol") };
                line[0] = format!("{} {}", request.method, request.target.split('?').next().unwrap_or_default());
            }
            StreamStep::Response(head) => {
                let ResponseHead::Http(response) = &**head else { panic!("of another protocol") };
                // What is unknown is left out.
                line[1] = if response.status == 0 { "-".to_owned() } else { response.status.to_string() };
            }
            StreamStep::End(side, end) => line[2 + usize::from(*side == Side::Response)] = size(end.body_bytes),
            _ => {}
        }
        if matches!(step, StreamStep::End(Side::Response, _) | StreamStep::Reset { .. }) {
            ended.push(*stream);
        }
    }
    ended.iter().map(|stream| streams[stream].join(" ")).filter(|line| !line.starts_with(' ')).collect()
}

fn line(span: &Span) -> String {
    let value = |key| match span.attribute(key) {
        Some(Value::String(text)) => text.to_string(),
        Some(Value::Int(n)) => n.to_string(),
        _ => "-".to_owned(),
    };
    let method = match value("http.request.method").as_str() {
        "_OTHER" => value("http.request.method_original"),
        known => known.to_owned(),
    };
    let path = match span.kind {
        SpanKind::Server => value("url.path"),
        SpanKind::Client => {
            let url = value("url.full");
            let path = url.split('?').next().unwrap_or_default();
            path.splitn(4, '/').nth(3).unwrap_or_default().to_owned()
        }
    };
    let sizes = ["http.response.status_code", "http.request.body.size", "http.response.body.size"].map(value);
    format!("{method} {path} {}", sizes.join(" "))
}

/// An engine that sees one end of a connection.
struct End {
    engine: Engine,
    role: Role,
    positions: [u64; 2],
    now: u64,
    spans: Vec<Span>,
}

impl End {
    fn new(role: Role, connect_seen: bool) -> Self {
        let mut end = Self {
            engine: Engine::new(EngineConfig::default()),
            role,
            positions: [0; 2],
            now: 1_000,
            spans: Vec::new(),
        };
        end.engine.fact(Fact::Session { secret: [1; 16] });
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let ends = Ends::Inet { local: (ip, 80), remote: (ip, 50_000) };
        end.record(EventKind::Opened(Opened {
            connection: 1,
            sock: 1,
            peer_sock: 0,
            inode: 1,
            netns: 1,
            role,
            connect_seen,
            tls: None,
            ends,
        }));
        end
    }

    fn record(&mut self, kind: EventKind<'_>) {
        self.now += 1_000;
        let mut record = Vec::new();
        Event { at: self.now, tgid: 1, tid: 1, kind }.encode(&mut record);
        self.engine.feed(&record);
        self.poll();
    }

    fn poll(&mut self) {
        while let Some(output) = self.engine.poll() {
            if let Output::Span(span) = output {
                self.spans.push(*span);
            }
        }
    }

    fn data(&mut self, side: Side, head: &[u8], total: u32, tail: &[u8]) {
        let inbound = (side == Side::Request) == (self.role == Role::Server);
        let direction = if inbound { Direction::Inbound } else { Direction::Outbound };
        let position = self.positions[direction as usize];
        self.positions[direction as usize] += u64::from(total);
        let (connection, turn, entered, token, cause) = (1, 0, self.now, 0, 0);
        let (trail, sequence) = (Trail::Thread, None);
        let data =
            Data { connection, direction, turn, position, entered, token, cause, trail, sequence, total, head, tail };
        self.record(EventKind::Data(data));
    }

    fn play(mut self, calls: &[Call]) -> Vec<String> {
        for (i, call) in calls.iter().enumerate() {
            match (call, calls.get(i + 1), calls.get(i + 2)) {
                // The middle of a call was not copied.
                (
                    Call::Bytes { side, bytes, end: false, .. },
                    Some(Call::Gap { len, .. }),
                    Some(Call::Bytes { bytes: tail, start: false, .. }),
                ) => self.data(*side, bytes, (bytes.len() + tail.len()) as u32 + *len as u32, tail),
                (Call::Bytes { start: false, .. }, ..) => {}
                (Call::Bytes { side, bytes, .. }, ..) => {
                    bytes.chunks(16_384).for_each(|piece| self.data(*side, piece, piece.len() as u32, b""));
                }
                (Call::Gap { .. }, Some(Call::Bytes { start: false, .. }), _) => {}
                // Its record was lost.
                (Call::Gap { side, len }, ..) => {
                    let inbound = (*side == Side::Request) == (self.role == Role::Server);
                    self.positions[usize::from(!inbound)] += len;
                }
            }
        }
        while let Some(deadline) = self.engine.next_deadline() {
            self.engine.tick(deadline);
            self.poll();
        }
        self.spans.sort_by_key(|span| span.end_unix_ns);
        self.spans.iter().filter(|span| span.attribute("rpc.method").is_none()).map(line).collect()
    }
}

/// A server's view has the path, a client's the URL.
fn as_seen_by(role: Role, lines: &[String]) -> Vec<String> {
    let url = |line: &String| {
        if role == Role::Server { line.clone() } else { line.replacen(" /", " ", 1).replacen(" * ", "  ", 1) }
    };
    lines.iter().map(url).collect()
}

fn check(recording: &Recording, calls: &[Call], how: &str) {
    let mut expected = expected(&Driver::play(recording.middle, &recording.calls));
    expected.sort();
    for role in [Role::Server, Role::Client] {
        let mut spans = End::new(role, false).play(calls);
        spans.sort();
        let mut expected = as_seen_by(role, &expected);
        expected.sort();
        assert_eq!(spans, expected, "{} at the {role:?} {how}", recording.name());
    }
}

#[test]
fn spans_have_what_the_streams_had() {
    assert_eq!(Direction::Inbound as usize, 0);
    let mut compared = 0;
    // Calls of gRPC have other attributes, and a CONNECT has no path.
    for recording in
        recordings().iter().filter(|recording| !(recording.name().contains("grpc") || recording.name() == "unusual"))
    {
        check(recording, &recording.calls, "as it is");
        compared += 1;
        if recording.middle || recording.name().starts_with("loss") {
            continue;
        }
        // Each piece is a call of its own: frames need not start where calls do.
        let split = |call: &Call| call.split_at(call.len() / 3 + 1);
        let whole = |call: Call| match call {
            Call::Bytes { side, bytes, .. } => Call::Bytes { side, bytes, start: true, end: true },
            gap => gap,
        };
        let pieces: Vec<_> = recording.calls.iter().flat_map(split).map(whole).collect();
        check(recording, &pieces, "in pieces");
    }
    assert!(compared >= 10, "only {compared} recordings were compared");
}
