//! Records: what is encoded is what is parsed, and nothing else is accepted silently.

use autospan_abi::{Direction, Role};
use autospan_core::event::{Data, Ends, Event, EventKind, Opened, RecordError};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn bytes_of(event: &Event<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    event.encode(&mut out);
    out
}

fn event(kind: EventKind<'_>) -> Event<'_> {
    Event { at: 1_000, tgid: 42, tid: 43, kind }
}

fn opened(ends: Ends<'_>) -> Opened<'_> {
    Opened {
        connection: 7,
        sock: 1,
        peer_sock: 2,
        inode: 3,
        netns: 4,
        role: Role::Server,
        connect_seen: true,
        tls: None,
        ends,
    }
}

#[track_caller]
fn check_round_trip(kind: EventKind<'_>) {
    let event = event(kind);
    assert_eq!(Event::parse(&bytes_of(&event)), Ok(event));
}

#[test]
fn every_kind_round_trips() {
    let v4 = |n| IpAddr::V4(Ipv4Addr::new(127, 0, 0, n));
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    check_round_trip(EventKind::Opened(opened(Ends::Inet { local: (v4(1), 80), remote: (v4(2), 40_000) })));
    check_round_trip(EventKind::Opened(opened(Ends::Inet { local: (v6, 80), remote: (v6, 40_000) })));
    check_round_trip(EventKind::Opened(opened(Ends::Unix { path: b"\0abstract" })));
    check_round_trip(EventKind::Opened(opened(Ends::Unix { path: &[b'x'; 108] })));
    check_round_trip(EventKind::Closed {
        connection: 7,
        inbound_bytes: 10,
        outbound_bytes: u64::MAX,
        turn: 3,
        decrypted: false,
    });
    check_round_trip(EventKind::Forked { child_tgid: 99 });
    check_round_trip(EventKind::Executed);
    check_round_trip(EventKind::Exited);
    check_round_trip(EventKind::Listening { netns: 4, port: 80, inode: 3 });
}

#[test]
fn a_cut_record_is_truncated() {
    let whole = bytes_of(&event(EventKind::Closed {
        connection: 7,
        inbound_bytes: 1,
        outbound_bytes: 2,
        turn: 3,
        decrypted: false,
    }));
    for cut in 0..whole.len() {
        assert_eq!(Event::parse(&whole[..cut]), Err(RecordError::Truncated), "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn data_round_trips(
        head in prop::collection::vec(any::<u8>(), 0..300),
        tail in prop::collection::vec(any::<u8>(), 0..100),
        gap in 0u32..1_000_000,
        position in 0u64..1 << 60,
        entered in 1u64..=1_000,
        sequence in any::<Option<u32>>(),
        outbound in any::<bool>(),
        turn in any::<u16>(),
    ) {
        let data = Data {
            connection: 7,
            direction: if outbound { Direction::Outbound } else { Direction::Inbound },
            turn,
            position,
            entered,
            token: 5,
            cause: 6,
            trail: autospan_abi::Trail::Turn,
            sequence,
            total: (head.len() + tail.len()) as u32 + gap,
            head: &head,
            tail: &tail,
        };
        let event = event(EventKind::Data(data));
        let encoded = bytes_of(&event);
        prop_assert_eq!(Event::parse(&encoded), Ok(event));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..9) {
        if bytes.len() >= 6 {
            let len = (bytes.len() as u32).to_le_bytes();
            bytes[..4].copy_from_slice(&len);
            bytes[4..6].copy_from_slice(&[kind, 0]);
        }
        if let Ok(event) = Event::parse(&bytes) {
            // What was accepted survives a second pass unchanged.
            let encoded = bytes_of(&event);
            prop_assert_eq!(Event::parse(&encoded), Ok(event));
        }
    }
}
