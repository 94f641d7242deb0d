//! What no peer may send (RFC 9113), and what would cost memory or time without end.

use crate::calls::unhex;
use crate::driver::{Driver, Seen};
use autospan_core::protocol::http2::{Broken, PREFACE};
use autospan_core::protocol::{Side, StreamStep};

/// A driver behind the preface.
fn begun() -> Driver {
    let mut driver = Driver::new(false);
    driver.bytes(Side::Request, PREFACE, true, true);
    driver.bytes(Side::Request, &unhex("000000040000000000"), true, true);
    driver.bytes(Side::Response, &unhex("000000040000000000"), true, true);
    driver
}

fn broken(driver: &Driver) -> Option<Broken> {
    driver.seen.iter().find_map(|(_, seen)| if let Seen::Broken(why) = seen { Some(*why) } else { None })
}

fn steps(driver: &Driver) -> Vec<&StreamStep> {
    driver
        .seen
        .iter()
        .filter_map(|(_, seen)| if let Seen::Stream(_, step) = seen { Some(step) } else { None })
        .collect()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[test]
fn illegal_frames_end_the_connection() {
    let get = "000003010500000001 828684";
    let cases = [
        ("no settings but text", "474554202f20485454502f312e310d0a", Broken::FrameSize),
        ("data on the connection", "000001000000000000 61", Broken::Protocol),
        ("headers on the connection", "000003010500000000 828684", Broken::Protocol),
        ("headers on a server's stream", "000003010500000002 828684", Broken::Protocol),
        ("settings of a stream", "000000040000000001", Broken::Protocol),
        ("settings of five bytes", "000005040000000000 0001000010", Broken::FrameSize),
        ("acknowledged settings with some", "000006040100000000 000100001000", Broken::FrameSize),
        ("a ping of a stream", "000008060000000001 0000000000000000", Broken::Protocol),
        ("a ping of seven bytes", "000007060000000000 00000000000000", Broken::FrameSize),
        ("a priority of four bytes", "000004020000000001 00000000", Broken::FrameSize),
        ("a reset of three bytes", "000003030000000001 000000", Broken::FrameSize),
        ("a reset of the connection", "000004030000000000 00000000", Broken::Protocol),
        ("a window update of five bytes", "000005080000000000 0000000100", Broken::FrameSize),
        ("goaway of a stream", "000008070000000001 0000000000000000", Broken::Protocol),
        ("goaway of four bytes", "000004070000000000 00000000", Broken::FrameSize),
        ("a continuation of nothing", "000001090400000001 82", Broken::Protocol),
        ("a continuation behind the end", "000003010500000001 828684 000001090400000001 82", Broken::Protocol),
        ("data inside a block", "000001010000000001 82 000001000000000001 61", Broken::Protocol),
        ("another stream inside a block", "000001010000000001 82 000001090400000003 86", Broken::Protocol),
        ("a ping inside a block", "000001010000000001 82 000008060000000000 0000000000000000", Broken::Protocol),
        ("more padding than payload", "000002010d00000001 0382", Broken::Protocol),
        ("padding as long as the data", "000002000800000001 0261", Broken::Protocol),
        ("a frame longer than agreed", "004001000000000001", Broken::FrameSize),
        ("index 0", "000001010500000001 80", Broken::Compression),
        ("an index past the table", "000001010500000001 be", Broken::Compression),
        ("a late size update", "000002010500000001 8220", Broken::Compression),
        ("a block cut off", "000002010500000001 4101", Broken::Compression),
        ("bad padding of a string", "000003010500000001 418100", Broken::Compression),
    ];
    for (name, hex, expected) in cases {
        let mut driver = begun();
        driver.bytes(Side::Request, &unhex(hex), true, true);
        assert_eq!(broken(&driver), Some(expected), "{name}: {:?}", driver.seen);
        let before = driver.seen.len();
        driver.bytes(Side::Request, &unhex(get), true, true);
        assert_eq!(driver.seen.len(), before, "{name}: nothing is said behind it");
    }
}

#[test]
fn heads_that_are_none_end_their_stream_only() {
    let cases = [("no method", "8684"), ("no path", "8286"), ("a status", "82868488"), ("nothing", "")];
    for (name, block) in cases {
        let mut driver = begun();
        driver.bytes(Side::Request, &frame(1, 5, 1, &unhex(block)), true, true);
        driver.bytes(Side::Response, &frame(1, 5, 1, &unhex("88")), true, true);
        assert_eq!(steps(&driver), [&StreamStep::Malformed], "{name}");
        driver.bytes(Side::Request, &frame(1, 5, 3, &unhex("828684")), true, true);
        assert_eq!(broken(&driver), None, "{name}");
        assert_eq!(steps(&driver).len(), 3, "{name}: the next stream has its head and end");
    }
}

#[test]
fn frames_of_streams_that_are_over_say_nothing() {
    let mut driver = begun();
    driver.bytes(Side::Request, &frame(1, 5, 3, &unhex("828684")), true, true);
    driver.bytes(Side::Response, &frame(1, 5, 3, &unhex("88")), true, true);
    let before = driver.seen.len();
    let again = [
        frame(1, 5, 3, &unhex("828684")),
        frame(0, 1, 3, b"x"),
        frame(3, 0, 3, &[0; 4]),
        frame(1, 5, 1, &unhex("828684")),
    ];
    driver.bytes(Side::Request, &again.concat(), true, true);
    driver.bytes(Side::Response, &[frame(0, 1, 3, b"x"), frame(1, 5, 3, &unhex("88"))].concat(), true, true);
    assert_eq!(&driver.seen[before..], []);
}

#[test]
fn a_flood_of_continuations_is_cut_off() {
    for (name, piece) in [("empty", &b""[..]), ("small", b"\x82"), ("large", &[0x82; 16_000])] {
        let mut driver = begun();
        driver.bytes(Side::Request, &frame(1, 0, 1, b"\x82"), true, true);
        let mut sent = 0;
        while broken(&driver).is_none() {
            driver.bytes(Side::Request, &frame(9, 0, 1, piece), true, true);
            sent += 1;
            assert!(sent < 100, "{name}: {sent} were taken");
        }
        assert_eq!(broken(&driver), Some(Broken::HeadTooLong), "{name}");
    }
}

#[test]
fn a_bomb_of_references_costs_its_stream_only() {
    let mut driver = begun();
    let entry = [&unhex("828684 400161 7fa11e")[..], &[b'x'; 4_000]].concat();
    driver.bytes(Side::Request, &frame(1, 5, 1, &entry), true, true);
    driver.bytes(Side::Request, &frame(1, 5, 3, &[&unhex("828684")[..], &[0xbe; 16_000]].concat()), true, true);
    driver.bytes(Side::Request, &frame(1, 5, 5, &unhex("828684be")), true, true);
    let requests = steps(&driver).iter().filter(|step| matches!(step, StreamStep::Request(_))).count();
    assert_eq!((requests, broken(&driver)), (2, None), "{:?}", driver.seen.len());
    assert!(steps(&driver).contains(&&StreamStep::Malformed));
}

#[test]
fn streams_in_flight_have_a_limit_and_streams_that_end_do_not() {
    let request = |n: u32| frame(1, 5, 2 * n + 1, &unhex("828684"));
    let mut driver = begun();
    for n in 0..5_000 {
        driver.bytes(Side::Request, &[request(n), frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat(), true, true);
    }
    assert_eq!(broken(&driver), None, "each of them is reset at once");
    let mut driver = begun();
    for n in 0..1_024 {
        driver.bytes(Side::Request, &request(n), true, true);
    }
    assert_eq!(broken(&driver), None);
    driver.bytes(Side::Request, &request(1_024), true, true);
    assert_eq!(broken(&driver), Some(Broken::TooManyStreams));
}

#[test]
fn a_response_waits_for_its_request_until_that_is_given_up() {
    let mut driver = begun();
    driver.bytes(Side::Response, &frame(1, 5, 1, &unhex("88")), true, true);
    assert!(driver.awaits());
    driver.bytes(Side::Request, &frame(1, 5, 1, &unhex("828684")), true, true);
    assert!(!driver.awaits());
    assert_eq!(steps(&driver).len(), 4, "heads and ends: {:?}", driver.seen);
    driver.bytes(Side::Response, &frame(1, 5, 3, &unhex("88")), true, true);
    driver.release();
    assert_eq!(steps(&driver)[4..], [&StreamStep::Orphan]);
}
