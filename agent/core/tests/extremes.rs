//! Records that no kernel writes: found by fuzzing, kept as tests.

use autospan_abi::{Direction, Role};
use autospan_core::counter::Counter;
use autospan_core::engine::{Engine, EngineConfig};
use autospan_core::event::{Data, Ends, Event, EventKind, Opened};
use std::net::{IpAddr, Ipv4Addr};

fn feed(engine: &mut Engine, at: u64, kind: EventKind<'_>) {
    let mut record = Vec::new();
    Event { at, tgid: 1, tid: 1, kind }.encode(&mut record);
    engine.feed(&record);
}

/// A connection, a request, and the record of a request to come.
fn with_request(engine: &mut Engine) -> Data<'static> {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ends = Ends::Inet { local: (ip, 80), remote: (ip, 81) };
    let (role, connect_seen) = (Role::Server, false);
    let opened =
        Opened { connection: 1, sock: 1, peer_sock: 0, inode: 1, netns: 1, role, connect_seen, tls: None, ends };
    let request = Data {
        connection: 1,
        direction: Direction::Inbound,
        turn: 1,
        position: 0,
        entered: 1,
        token: 1,
        cause: 0,
        trail: autospan_abi::Trail::Thread,
        sequence: None,
        total: 27,
        head: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        tail: b"",
    };
    feed(engine, 1, EventKind::Opened(opened));
    feed(engine, 2, EventKind::Data(request));
    request
}

#[test]
fn losses_and_idleness_at_the_end_of_time() {
    let mut engine = Engine::new(EngineConfig::default());
    let request = with_request(&mut engine);
    feed(&mut engine, u64::MAX, EventKind::Data(Data { position: 50, ..request }));
    engine.tick(u64::MAX);
    engine.tick(u64::MAX);
}

#[test]
fn more_bytes_are_lost_than_there_are_numbers() {
    let mut engine = Engine::new(EngineConfig::default());
    let request = with_request(&mut engine);
    let far = Data { position: u64::MAX - 27, ..request };
    feed(&mut engine, 3, EventKind::Data(far));
    feed(&mut engine, 4, EventKind::Data(Data { direction: Direction::Outbound, ..far }));
    let lost = engine.counters().find(|(counter, _)| *counter == Counter::StreamGapBytes).map(|(_, n)| n);
    assert_eq!(lost, Some(u64::MAX));
}
