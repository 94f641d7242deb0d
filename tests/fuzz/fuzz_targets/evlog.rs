//! evlog files: every entry can be written and read again, and the engine bears them all.
#![no_main]

use autospan_core::engine::{Engine, EngineConfig};
use autospan_core::evlog::{Entry, read_entry, read_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(mut rest) = read_header(input) else { return };
    let mut engine = Engine::new(EngineConfig::default());
    while let Ok(Some((entry, after))) = read_entry(rest) {
        let mut again = Vec::new();
        entry.write(&mut again);
        assert_eq!(read_entry(&again).map(|read| read.map(|(entry, _)| entry)), Ok(Some(entry.clone())));
        match entry {
            Entry::Record(record) => engine.feed(record),
            Entry::Fact(fact) => engine.fact(fact),
            Entry::Tick(now) => engine.tick(now),
        }
        while engine.poll().is_some() {}
        assert!(after.len() < rest.len());
        rest = after;
    }
});
