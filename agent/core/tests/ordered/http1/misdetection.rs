//! What is HTTP/1 is recognised from every prefix on; what is not never is.

use crate::foreign::FOREIGN;
use crate::goldens::of;
use autospan_core::protocol::http1::DEFINITION;
use autospan_core::protocol::{Side, Sniff};

const SNIFF: fn(Side, &[u8]) -> Sniff = DEFINITION.sniff;

#[test]
fn foreign_bytes_are_not_http1() {
    for (name, bytes) in FOREIGN {
        for side in [Side::Request, Side::Response] {
            let verdicts: Vec<_> = (0..=bytes.len()).map(|len| SNIFF(side, &bytes[..len])).collect();
            assert!(!verdicts.contains(&Sniff::Yes), "{name} as {side:?}: {verdicts:?}");
            let with_more = [bytes, &[b'\n'; 64]].concat();
            assert_eq!(SNIFF(side, &with_more), Sniff::No, "{name} as {side:?}");
        }
    }
}

#[test]
fn goldens_are_recognised_on_their_side_only() {
    let foreign = ["http2", "tls"];
    for golden in of(&DEFINITION).iter().filter(|golden| !foreign.contains(&golden.name())) {
        for (side, other) in [(Side::Request, Side::Response), (Side::Response, Side::Request)] {
            let bytes = golden.dialog.start_of(side);
            if bytes.is_empty() {
                continue;
            }
            let name = golden.name();
            let mut decided = false;
            for len in 0..=bytes.len().min(100) {
                let verdict = SNIFF(side, &bytes[..len]);
                assert_ne!(verdict, Sniff::No, "{name}: {side:?} of {len} bytes");
                assert!(!decided || verdict == Sniff::Yes, "{name}: {side:?} of {len} bytes is undecided again");
                decided = verdict == Sniff::Yes;
                assert_ne!(SNIFF(other, &bytes[..len]), Sniff::Yes, "{name}: {other:?} of {len} bytes");
            }
        }
    }
}

#[test]
fn a_long_target_needs_a_known_method() {
    let line = |method: &str| format!("{method} /{} HTTP/1.1\r\n", "a".repeat(100)).into_bytes();
    assert_eq!(SNIFF(Side::Request, &line("PATCH")), Sniff::Yes);
    assert_eq!(SNIFF(Side::Request, &line("FROB")), Sniff::No);
    assert_eq!(SNIFF(Side::Request, b"FROB /short HTTP/1.1\r\n"), Sniff::Yes);
}

#[test]
fn a_boundary_is_found_at_the_start_of_a_line() {
    let find = |side, bytes: &str| (DEFINITION.parser)().resync(side, bytes.as_bytes());
    assert_eq!(find(Side::Request, "GET / HTTP/1.1\r\n"), Some(0));
    assert_eq!(find(Side::Request, "tail of a body\r\nGET / HTTP/1.1\r\n"), Some(16));
    assert_eq!(find(Side::Request, "body GET / HTTP/1.1\r\n"), None);
    assert_eq!(find(Side::Request, "abc\nPOST"), Some(4));
    assert_eq!(find(Side::Request, "abc\nP"), None);
    assert_eq!(find(Side::Response, "abc\r\n\r\nHTTP/1.1 200 OK\r\n"), Some(7));
    assert_eq!(find(Side::Response, "GET / HTTP/1.1\r\n"), None);
    assert_eq!(find(Side::Response, ""), None);
}
