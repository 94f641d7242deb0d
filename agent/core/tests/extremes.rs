//! Records that no kernel writes: found by fuzzing, kept as tests.

use autospan_abi::{Direction, Role};
use autospan_core::engine::{Engine, EngineConfig};
use autospan_core::event::{Data, Ends, Event, EventKind, Opened};
use std::net::{IpAddr, Ipv4Addr};

fn feed(engine: &mut Engine, at: u64, kind: EventKind<'_>) {
    let mut record = Vec::new();
    Event { at, tgid: 1, tid: 1, kind }.encode(&mut record);
    engine.feed(&record);
}

#[test]
fn losses_and_idleness_at_the_end_of_time() {
    let mut engine = Engine::new(EngineConfig::default());
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ends = Ends::Inet { local: (ip, 80), remote: (ip, 81) };
    let opened = Opened {
        connection: 1,
        sock: 1,
        peer_sock: 0,
        inode: 1,
        netns: 1,
        role: Role::Server,
        connect_seen: false,
        ends,
    };
    let request = Data {
        connection: 1,
        direction: Direction::Inbound,
        position: 0,
        entered: 1,
        token: 1,
        cause: 0,
        sequence: None,
        total: 27,
        head: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        tail: b"",
    };
    feed(&mut engine, 1, EventKind::Opened(opened));
    feed(&mut engine, 2, EventKind::Data(request));
    feed(&mut engine, u64::MAX, EventKind::Data(Data { position: 50, ..request }));
    engine.tick(u64::MAX);
    engine.tick(u64::MAX);
}
