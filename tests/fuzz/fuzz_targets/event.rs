//! Records: what is accepted can be written and read again.
#![no_main]

use autospan_core::event::Event;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(event) = Event::parse(input) else { return };
    let mut again = Vec::new();
    event.encode(&mut again);
    assert_eq!(Event::parse(&again), Ok(event));
});
