//! Frames: what their headers say, what they hold, and what no frame looks like.

use crate::calls::unhex;
use autospan_core::protocol::http2::frame::{Fault, HEADER_BYTES, Header, Kind, settings, word};

/// Stream, kind and content in hex.
type Read = Result<(u32, Kind, &'static str), Fault>;

/// A frame in hex, and what its receiver makes of it. The cases are those of
/// <https://github.com/http2jp/http2-frame-test-case> and of RFC 9113 section 6, in bytes of our own.
const FRAMES: &[(&str, &str, Read)] = &[
    ("data", "000005000000000003 48656c6c6f", Ok((3, Kind::Data, "48656c6c6f"))),
    ("data, empty and the last", "000000000100000001", Ok((1, Kind::Data, ""))),
    ("data, padded", "000009000800000003 03 48656c6c6f 000000", Ok((3, Kind::Data, "48656c6c6f"))),
    ("data, padding only", "000004000800000003 03 000000", Ok((3, Kind::Data, ""))),
    ("data, more padding than data", "000004000800000003 04 000000", Err(Fault::Protocol)),
    ("data, padded and nothing there", "000000000800000003", Err(Fault::Size)),
    ("data on the connection", "000001000000000000 61", Err(Fault::Protocol)),
    ("headers", "000002010500000001 8284", Ok((1, Kind::Headers, "8284"))),
    ("headers with a priority", "000007012500000001 80000003 10 8284", Ok((1, Kind::Headers, "8284"))),
    ("headers, padded with a priority", "00000a012d00000001 02 00000003 10 8284 0000", Ok((1, Kind::Headers, "8284"))),
    ("headers, priority cut off", "000004012400000001 00000000", Err(Fault::Size)),
    ("headers, padding in the priority", "000007012c00000001 02 00000003 10 82", Err(Fault::Protocol)),
    ("headers on the connection", "000001010400000000 82", Err(Fault::Protocol)),
    ("priority", "000005020000000003 00000000 ff", Ok((3, Kind::Priority, "00000000ff"))),
    ("priority, too short", "000004020000000003 00000000", Err(Fault::Size)),
    ("priority on the connection", "000005020000000000 00000000 ff", Err(Fault::Protocol)),
    ("reset", "000004030000000005 00000008", Ok((5, Kind::RstStream, "00000008"))),
    ("reset, too long", "000005030000000005 0000000800", Err(Fault::Size)),
    ("reset of the connection", "000004030000000000 00000008", Err(Fault::Protocol)),
    ("settings", "00000c040000000000 000100002000 000300000064", Ok((0, Kind::Settings, "000100002000000300000064"))),
    ("settings, none", "000000040000000000", Ok((0, Kind::Settings, ""))),
    ("settings, acknowledged", "000000040100000000", Ok((0, Kind::Settings, ""))),
    ("settings, acknowledged with some", "000006040100000000 000100002000", Err(Fault::Size)),
    ("settings, one and a half", "000009040000000000 000100002000 000300", Err(Fault::Size)),
    ("settings of a stream", "000006040000000001 000100002000", Err(Fault::Protocol)),
    ("push promise", "000005050400000003 00000002 82", Ok((3, Kind::PushPromise, "82"))),
    ("push promise, padded", "000007050c00000003 01 00000002 82 00", Ok((3, Kind::PushPromise, "82"))),
    ("push promise, no stream", "000003050400000003 000000", Err(Fault::Size)),
    ("push promise, padding", "000006050c00000003 03 00000002 82", Err(Fault::Protocol)),
    ("ping", "000008060000000000 0102030405060708", Ok((0, Kind::Ping, "0102030405060708"))),
    ("ping, too short", "000006060000000000 010203040506", Err(Fault::Size)),
    ("ping of a stream", "000008060000000001 0102030405060708", Err(Fault::Protocol)),
    ("goaway", "00000a070000000000 00000005 00000002 6869", Ok((0, Kind::GoAway, "00000005000000026869"))),
    ("goaway, too short", "000007070000000000 00000005 000000", Err(Fault::Size)),
    ("goaway of a stream", "000008070000000001 00000005 00000002", Err(Fault::Protocol)),
    ("window update", "000004080000000000 00008000", Ok((0, Kind::WindowUpdate, "00008000"))),
    ("window update of a stream", "000004080000000009 00008000", Ok((9, Kind::WindowUpdate, "00008000"))),
    ("window update, too short", "000003080000000000 008000", Err(Fault::Size)),
    ("continuation", "000001090400000001 82", Ok((1, Kind::Continuation, "82"))),
    ("continuation, empty", "000000090000000032", Ok((50, Kind::Continuation, ""))),
    ("continuation of the connection", "000001090400000000 82", Err(Fault::Protocol)),
    ("an extension", "0000020a7700000001 6162", Ok((1, Kind::Unknown(10), "6162"))),
    ("the reserved bit", "000008060080000000 0102030405060708", Ok((0, Kind::Ping, "0102030405060708"))),
];

fn read(bytes: &[u8]) -> Result<(u32, Kind, Vec<u8>), Fault> {
    let header = Header::parse(bytes).expect("a header");
    assert_eq!(header.frame_bytes(), bytes.len(), "the length says how long it is");
    header.check()?;
    Ok((header.stream, header.kind, header.content(&bytes[HEADER_BYTES..])?.to_vec()))
}

#[test]
fn frames_are_read() {
    for (name, hex, expected) in FRAMES {
        let expected = expected.map(|(stream, kind, content)| (stream, kind, unhex(content)));
        assert_eq!(read(&unhex(hex)), expected, "{name}");
    }
}

#[test]
fn a_header_has_nine_bytes() {
    let bytes = unhex("010203 01 05 80000007");
    let header = Header::parse(&bytes).expect("a header");
    assert_eq!((header.length, header.kind, header.flags), (0x01_0203, Kind::Headers, 5));
    assert_eq!((header.stream, header.reserved), (7, true));
    for len in 0..HEADER_BYTES {
        assert_eq!(Header::parse(&bytes[..len]), None);
    }
}

#[test]
fn values_of_frames() {
    assert_eq!(settings(&unhex("000100002000 000300000064 00")).collect::<Vec<_>>(), [(1, 0x2000), (3, 100)]);
    assert_eq!(word(&unhex("0000000861")), Some(8));
    assert_eq!(word(&unhex("000000")), None);
}

/// Nine bytes that other data is full of.
#[test]
fn what_is_common_elsewhere_is_not_plausible() {
    let common = [
        ("zeros", "000000000000000000"),
        ("ones", "ffffffffffffffffff"),
        ("small numbers", "000000000000000001"),
        ("a message of gRPC", "000000000b0a09776f"),
        ("a longer one", "00000001050a807661"),
        ("text", "48656c6c6f2c20776f"),
        ("a request of Kafka", "0000001c0012000300"),
        ("a packet of MySQL", "0900000003 53454c45"),
        ("a message of PostgreSQL", "510000000d53454c45"),
        ("a TLS record", "170303001000000000"),
        ("an even stream", "000004000000000002"),
        ("unknown flags", "000004000400000001"),
        ("an unknown kind", "000004100000000001"),
        ("a long frame", "004001000000000001"),
    ];
    for (name, hex) in common {
        let header = Header::parse(&unhex(hex)).expect("a header");
        assert!(!header.is_plausible(), "{name}: {header:?}");
    }
}
