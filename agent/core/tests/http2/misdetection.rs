//! What is HTTP/2 is recognised, from its preface or from the middle; what is not never is.

use crate::calls::{Call, recordings, unhex};
use crate::foreign::FOREIGN;
use autospan_core::protocol::http1;
use autospan_core::protocol::http2::{Http2, PREFACE};
use autospan_core::protocol::{Side, Sniff};
use proptest::prelude::*;

#[test]
fn the_preface_is_recognised_from_its_first_byte_on() {
    for len in 0..PREFACE.len() {
        assert_eq!(Http2::sniff(&PREFACE[..len]), Sniff::Undecided, "{len} bytes");
    }
    assert_eq!(Http2::sniff(PREFACE), Sniff::Yes);
    assert_eq!(Http2::sniff(b"PRI * HTTP/2.1"), Sniff::No);
    assert_eq!(Http2::sniff(b"PRICE"), Sniff::No);
}

#[test]
fn foreign_bytes_are_not_http2() {
    for (name, bytes) in FOREIGN.iter().filter(|(name, _)| !name.starts_with("HTTP/2 preface")) {
        assert_eq!(Http2::sniff(&[bytes, &[0; 24][..]].concat()), Sniff::No, "{name}");
        assert!(!Http2::may_be_settings(bytes) || *name == "HTTP/2 settings", "{name}");
        for len in 0..=bytes.len() {
            for (call, whole) in
                [(bytes[..len].to_vec(), true), (bytes[..len].repeat(4), true), (bytes.repeat(8), false)]
            {
                assert_eq!(Http2::sniff_middle(&call, whole), None, "{len} bytes of {name}");
            }
        }
    }
}

/// Calls with a header list in them that says whose it is, from their first byte on.
#[test]
fn calls_with_heads_are_recognised_on_their_side_only() {
    let mut recognised = 0;
    for recording in recordings() {
        for call in &recording.calls {
            let Call::Bytes { side, bytes, start: true, end } = call else { continue };
            let found = Http2::sniff_middle(bytes, *end);
            assert!(found.is_none_or(|found| found == *side), "{}: {found:?} is {side:?}", recording.name());
            recognised += usize::from(found.is_some());
            for of in [Side::Request, Side::Response] {
                assert_ne!((http1::DEFINITION.sniff)(of, bytes), Sniff::Yes, "{} is HTTP/1", recording.name());
            }
        }
    }
    assert!(recognised >= 60, "only {recognised} calls were recognised");
}

#[test]
fn frames_without_a_head_or_an_end_prove_nothing() {
    let head = "00000b010500000001 8286c2448560 72a4b67fc1";
    assert_eq!(Http2::sniff_middle(&unhex(head), true), Some(Side::Request));
    assert_eq!(Http2::sniff_middle(&unhex(head), false), None, "one frame, and more that nobody saw");
    let cases = [
        ("more behind it", format!("{head} 00")),
        ("cut off", head[..head.len() - 2].to_owned()),
        ("a ping", "000008060000000000 0102030405060708".to_owned()),
        ("data only", "000003000100000001 616263".to_owned()),
        ("a head of unknown fields only", "000003010500000001 c0c1c2".to_owned()),
        ("both sides' fields", "000002010500000001 8288".to_owned()),
        ("pseudo-header fields behind others", "000006010500000001 0001610162 82".to_owned()),
        ("a method of spaces", "000007010500000001 02052020202020".to_owned()),
        ("an upper-case name", "000006010500000001 82 0001410162".to_owned()),
        ("a block that goes on", "000002010100000001 8286".to_owned()),
        ("a block that is none", "000002010500000001 8280".to_owned()),
        ("one side's head, then the other's", "000001010500000001 82 000001010500000003 88".to_owned()),
    ];
    for (name, hex) in cases {
        assert_eq!(Http2::sniff_middle(&unhex(&hex), true), None, "{name}");
    }
    let three = format!("{} {head} {}", "000008060100000000 0102030405060708", "000004080000000000 00008000");
    assert_eq!(Http2::sniff_middle(&unhex(&three), false), Some(Side::Request), "three frames are enough");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_are_not_http2(
        bytes in prop::collection::vec(prop_oneof![Just(0u8), 0u8..10, any::<u8>()], 0..200), whole in any::<bool>(),
    ) {
        prop_assert_eq!(Http2::sniff_middle(&bytes, whole), None);
    }
}
