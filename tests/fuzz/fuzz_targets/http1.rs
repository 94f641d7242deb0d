//! The HTTP/1 parser: any bytes, gaps and closes on both sides, and the same in other pieces.
#![no_main]

use autospan_core::protocol::Side;
use autospan_fuzz::dialog::{Dialog, Turn};
use autospan_fuzz::driver::{Driver, Seen};
use autospan_fuzz::script;
use libfuzzer_sys::fuzz_target;

fn play(dialog: &Dialog, turns: &[Turn]) -> Driver {
    let mut driver = Driver::new(dialog.config.clone());
    for turn in turns {
        match turn {
            Turn::Bytes { side, bytes, call_end } => driver.bytes(*side, bytes, *call_end),
            Turn::Gap { side, len } => driver.gap(*side, *len),
            Turn::Close { side } => driver.close(*side),
            Turn::Assume => driver.assume_request(),
        }
    }
    driver
}

fn of(driver: &Driver, side: Side) -> Vec<&Seen> {
    driver.seen.iter().filter(|(of, _)| *of == side).map(|(_, seen)| seen).collect()
}

fuzz_target!(|input: &[u8]| {
    // The first byte chooses where the pieces end.
    let Some((cut, input)) = input.split_first() else { return };
    let dialog = script::decode(input);
    let whole = play(&dialog, &dialog.turns);
    let pieces: Vec<_> =
        dialog.turns.iter().flat_map(|turn| turn.split_at(usize::from(*cut) % turn.places().max(1))).collect();
    let split = play(&dialog, &pieces);
    for side in [Side::Request, Side::Response] {
        assert_eq!(of(&whole, side), of(&split, side));
    }
});
