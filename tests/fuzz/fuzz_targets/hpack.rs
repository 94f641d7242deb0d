//! Header compression: any blocks, and the same ones joined in the middle, where each field is what it was or unknown.
#![no_main]

use autospan_core::protocol::http2::hpack::{Decoder, Fault};
use libfuzzer_sys::fuzz_target;

type Fields = Vec<(Option<Vec<u8>>, Option<Vec<u8>>)>;

const HELD_BYTES_MAX: usize = 65_536;
/// Between two blocks. It is no start of a field that a sender would write.
const END: [u8; 2] = [0x00, 0x80];

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, Fault> {
    let mut fields = Vec::new();
    decoder.decode(block, |field| fields.push((field.name.map(Vec::from), field.value.map(Vec::from))))?;
    assert!(decoder.held_bytes() <= HELD_BYTES_MAX);
    Ok(fields)
}

/// Known and different.
fn contradicts(seen: &Option<Vec<u8>>, said: &Option<Vec<u8>>) -> bool {
    seen.is_some() && said.is_some() && seen != said
}

fn blocks(input: &[u8]) -> Vec<&[u8]> {
    let (mut blocks, mut from) = (Vec::new(), 0);
    for at in 0..input.len().saturating_sub(1) {
        if at >= from && input[at..at + 2] == END {
            blocks.push(&input[from..at]);
            from = at + 2;
        }
    }
    blocks.push(&input[from..]);
    blocks
}

fuzz_target!(|input: &[u8]| {
    let Some((start, input)) = input.split_first() else { return };
    let (mut whole, mut joined) = (Decoder::default(), None);
    for (i, block) in blocks(input).into_iter().enumerate() {
        if i == usize::from(*start) % 8 {
            joined = Some(Decoder::in_the_middle());
        }
        let said = decode(&mut whole, block);
        let seen = joined.as_mut().map(|joined| decode(joined, block));
        let Ok(said) = said else { return };
        let Some(seen) = seen else { continue };
        let seen = seen.expect("what is a block from the start on is one in the middle");
        assert!(seen.len() <= said.len() || said.len() > 1_000, "fields came from nowhere");
        for (seen, said) in seen.iter().zip(&said) {
            assert!(!contradicts(&seen.0, &said.0) && !contradicts(&seen.1, &said.1), "{seen:?} is {said:?}");
        }
    }
});
