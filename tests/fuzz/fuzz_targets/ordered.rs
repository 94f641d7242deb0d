//! The parser of the protocol that `AUTOSPAN_PROTOCOL` names: any bytes, gaps and closes on both sides, and the same in other
//! pieces.
#![no_main]

use autospan_core::protocol::{Definition, PROTOCOLS, Side};
use autospan_fuzz::driver::{Driver, Seen};
use autospan_fuzz::script;
use autospan_fuzz::transcript::play;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static PROTOCOL: LazyLock<&Definition> = LazyLock::new(|| {
    let name = std::env::var("AUTOSPAN_PROTOCOL").expect("AUTOSPAN_PROTOCOL names the protocol");
    PROTOCOLS.iter().find(|protocol| protocol.name == name).expect("a protocol of the registry")
});

fn of(driver: &Driver, side: Side) -> Vec<&Seen> {
    driver.seen.iter().filter(|(of, _)| *of == side).map(|(_, seen)| seen).collect()
}

fuzz_target!(|input: &[u8]| {
    // The first byte chooses where the pieces end.
    let Some((cut, input)) = input.split_first() else { return };
    let dialog = script::decode(input);
    let whole = play(&PROTOCOL, &dialog, &dialog.turns);
    let pieces: Vec<_> =
        dialog.turns.iter().flat_map(|turn| turn.split_at(usize::from(*cut) % turn.places().max(1))).collect();
    let split = play(&PROTOCOL, &dialog, &pieces);
    for side in [Side::Request, Side::Response] {
        assert_eq!(of(&whole, side), of(&split, side));
    }
});
