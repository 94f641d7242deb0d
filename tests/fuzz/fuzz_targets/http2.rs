//! The HTTP/2 machine: any calls and gaps on both sides, from the preface or the middle, and the same in other pieces.
#![no_main]

use autospan_core::protocol::Side;
use autospan_core::protocol::http2::Http2;
use autospan_fuzz::http2::calls::Call;
use autospan_fuzz::http2::decode;
use autospan_fuzz::http2::driver::{Driver, Seen};
use libfuzzer_sys::fuzz_target;

fn of(driver: &Driver, side: Side) -> Vec<&Seen> {
    driver.seen.iter().filter(|(of, _)| *of == side).map(|(_, seen)| seen).collect()
}

fuzz_target!(|input: &[u8]| {
    // The first bytes choose where the pieces end, and where it starts.
    let [cut, middle, input @ ..] = input else { return };
    let calls = decode(input);
    let middle = middle & 1 != 0;
    for call in &calls {
        if let Call::Bytes { bytes, end, .. } = call {
            let _ = Http2::sniff_middle(bytes, *end);
        }
    }
    let whole = Driver::play(middle, &calls);
    let pieces: Vec<_> = calls.iter().flat_map(|call| call.split_at(usize::from(*cut) % call.len().max(1))).collect();
    let split = Driver::play(middle, &pieces);
    for side in [Side::Request, Side::Response] {
        assert_eq!(of(&whole, side), of(&split, side));
    }
});
