//! Header compression: the examples of RFC 7541 appendix C, bad input, and tables of which a part is not known.

use crate::calls::unhex;
use autospan_core::protocol::http2::hpack::{Decoder, Fault, List};
use proptest::prelude::*;

pub(crate) type Fields = Vec<(Option<Vec<u8>>, Option<Vec<u8>>)>;

pub(crate) fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<(Fields, List), Fault> {
    let mut fields = Vec::new();
    let list = decoder.decode(block, |field| fields.push((field.name.map(Vec::from), field.value.map(Vec::from))))?;
    Ok((fields, list))
}

/// One `name: value` per line; `?` for what is not known.
fn shown(fields: &Fields) -> String {
    let text = |text: &Option<Vec<u8>>| text.as_ref().map_or("?".into(), |t| String::from_utf8_lossy(t).into_owned());
    fields.iter().map(|(name, value)| format!("{}: {}\n", text(name), text(value))).collect()
}

#[track_caller]
fn check(decoder: &mut Decoder, block: &str, expected: &str) {
    let (fields, _) = decode(decoder, &unhex(block)).expect("a block");
    let expected: String = expected.lines().map(|line| format!("{}\n", line.trim())).collect();
    assert_eq!(shown(&fields), expected);
}

#[test]
fn literals_of_appendix_c2() {
    let decoder = &mut Decoder::default();
    check(decoder, "400a637573746f6d2d6b65790d637573746f6d2d686561646572", "custom-key: custom-header");
    check(decoder, "040c2f73616d706c652f70617468", ":path: /sample/path");
    check(decoder, "100870617373776f726406736563726574", "password: secret");
    check(decoder, "82be", ":method: GET\ncustom-key: custom-header");
}

#[test]
fn requests_of_appendix_c3_and_c4() {
    let plain = [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ];
    let huffman = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ];
    for blocks in [plain, huffman] {
        let decoder = &mut Decoder::default();
        check(decoder, blocks[0], ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com");
        let second = ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache";
        check(decoder, blocks[1], second);
        let third =
            ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value";
        check(decoder, blocks[2], third);
    }
}

#[test]
fn responses_of_appendix_c5_and_c6_with_evictions() {
    let plain = [
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
    ];
    let huffman = [
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ];
    for blocks in [plain, huffman] {
        let decoder = &mut Decoder::default();
        // The examples have a table of 256 bytes.
        let first = format!("3fe101{}", blocks[0]);
        let common = "cache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com";
        check(decoder, &first, &format!(":status: 302\n{common}"));
        check(decoder, blocks[1], &format!(":status: 307\n{common}"));
        let third = ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\nlocation: https://www.example.com\n\
                     content-encoding: gzip\nset-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
        check(decoder, blocks[2], third);
        // Four entries did not leave room for the first ones.
        assert_eq!(decode(decoder, &[0xc1]), Err(Fault::Index));
    }
}

#[test]
fn integers_have_an_end() {
    let decode = |hex: &str| decode(&mut Decoder::default(), &unhex(hex)).map(|_| ());
    // C.1.2: 1337 behind five bits, here a size update.
    assert_eq!(decode("3f9a0a"), Ok(()));
    assert_eq!(decode("3f9a"), Err(Fault::Truncated));
    assert_eq!(decode("3fffffff7f"), Ok(()), "as large as they get");
    assert_eq!(decode("3fffffffff01"), Err(Fault::Integer));
    assert_eq!(decode("3f80808080808080808000"), Err(Fault::Integer), "zeros without end");
    assert_eq!(decode("80"), Err(Fault::Index), "index 0 is none");
    assert_eq!(decode("be"), Err(Fault::Index), "nothing was added yet");
    assert_eq!(decode("00"), Err(Fault::Truncated));
    assert_eq!(decode("000161"), Err(Fault::Truncated), "no value");
    assert_eq!(decode("0001610562"), Err(Fault::Truncated), "a short value");
}

#[test]
fn bad_huffman_is_found() {
    let value = |bytes: &[u8]| {
        let block = [&[0x04, 0x80 | bytes.len() as u8][..], bytes].concat();
        decode(&mut Decoder::default(), &block).map(|(fields, _)| fields[0].1.clone().unwrap_or_default())
    };
    assert_eq!(value(&[]), Ok(b"".to_vec()));
    assert_eq!(value(&[0x1f]), Ok(b"a".to_vec()), "a and three bits of padding");
    assert_eq!(value(&[0x18]), Err(Fault::Huffman), "padding that is not ones");
    assert_eq!(value(&[0x1f, 0xff]), Err(Fault::Huffman), "padding of more than a byte");
    assert_eq!(value(&[0xff]), Err(Fault::Huffman), "a byte of padding");
    assert_eq!(value(&[0xff, 0xff, 0xff, 0xff]), Err(Fault::Huffman), "the end of the string, coded");
    assert_eq!(value(&[0x1f, 0xff, 0xff, 0xff, 0xfc]), Err(Fault::Huffman), "the same behind an a");
}

#[test]
fn sizes_are_updated_in_front_of_fields_only() {
    let decoder = &mut Decoder::default();
    check(decoder, "4001610162", "a: b");
    assert_eq!(decode(decoder, &unhex("8220")), Err(Fault::SizeUpdate));
    // To 0 and back: nothing is left.
    check(decoder, "203fe11f82", ":method: GET");
    assert_eq!(decode(decoder, &unhex("be")), Err(Fault::Index));
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let decoder = &mut Decoder::default();
    let large = [unhex("400162"), unhex("7fe11f"), vec![b'x'; 4_192]].concat();
    check(decoder, "4001610162", "a: b");
    assert_eq!(decode(decoder, &large).expect("a block").0.len(), 1);
    assert_eq!(decode(decoder, &unhex("be")), Err(Fault::Index));
}

#[test]
fn a_bomb_is_cut_off_and_its_table_kept() {
    let decoder = &mut Decoder::default();
    // One entry of 4,000 bytes, and 10,000 references to it.
    let entry = [unhex("400161"), unhex("7fa11e"), vec![b'x'; 4_000], vec![0xbe; 10_000]].concat();
    let (fields, list) = decode(decoder, &entry).expect("a block");
    assert!(list.too_long);
    let bytes: usize = fields
        .iter()
        .map(|(name, value)| [name, value].map(|t| t.as_ref().map_or(0, Vec::len)).iter().sum::<usize>())
        .sum();
    assert!(bytes < 65_536 + 4_096, "{bytes} bytes were handed out");
    assert_eq!(decode(decoder, &[0xbe]).expect("a block").0.len(), 1, "the entry is still there");
}

#[test]
fn a_table_of_any_size_is_kept_within_limits() {
    // The sender says 1 GB, and fills 400 KB.
    let decoder = &mut Decoder::default();
    assert!(decode(decoder, &unhex("3fffffff7f")).is_ok());
    for i in 0..400u32 {
        let block = [unhex("400161"), unhex("7fe906"), format!("{i:01000}").into_bytes()].concat();
        assert!(decode(decoder, &block).is_ok(), "entry {i}");
    }
    assert!(decoder.held_bytes() <= 65_536, "{} bytes are held", decoder.held_bytes());
    let (fields, _) = decode(decoder, &[0xbf]).expect("a block");
    assert_eq!(fields[0].1.as_deref(), Some(format!("{:01000}", 398).as_bytes()));
    // The first is in the sender's table yet: it is not known, and not taken for another.
    let (fields, list) = decode(decoder, &unhex("ffcc02")).expect("a block");
    assert_eq!((fields, list.unknown), (vec![(None, None)], 1));
}

#[test]
fn in_the_middle_what_was_added_before_is_unknown() {
    let decoder = &mut Decoder::in_the_middle();
    check(decoder, "82be", ":method: GET\n?: ?");
    check(decoder, "4001610162be", "a: b\na: b");
    check(decoder, "bf", "?: ?");
    // A new entry with the name of an unknown one, and a literal that becomes none.
    check(decoder, "7f000163", "?: c");
    check(decoder, "bebfc0", "?: c\na: b\n?: ?");
    check(decoder, "0f300164", "a: d");
    // Emptied by a size update, it is as good as new.
    check(decoder, "203fe11f", "");
    assert_eq!(decode(decoder, &[0xbe]), Err(Fault::Index));
}

#[test]
fn in_the_middle_an_entry_that_may_have_been_too_large_shifts_nothing() {
    let decoder = &mut Decoder::in_the_middle();
    let large = [unhex("400162"), unhex("7fe15c"), vec![b'x'; 12_000]].concat();
    check(decoder, "4001610162", "a: b");
    assert!(decode(decoder, &large).is_ok());
    check(decoder, "4001630164", "c: d");
    check(decoder, "be", "c: d");
}

#[test]
fn what_was_known_before_a_loss_is_not_known_after_it() {
    let decoder = &mut Decoder::default();
    check(decoder, "4001610162", "a: b");
    decoder.forget();
    check(decoder, "be", "?: ?");
}

proptest! {
    #[test]
    fn any_block_is_decoded_or_refused(block in prop::collection::vec(any::<u8>(), 0..300), middle in any::<bool>()) {
        let mut decoder = if middle { Decoder::in_the_middle() } else { Decoder::default() };
        for _ in 0..3 {
            let _ = decode(&mut decoder, &block);
            prop_assert!(decoder.held_bytes() <= 65_536);
        }
    }
}
