//! Packet captures: never a panic, and only records that can be read, in the order of time and of positions.
#![no_main]

use autospan_core::event::{Event, EventKind};
use autospan_core::evlog::Entry;
use autospan_fuzz::pcap::read_from;
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;

fuzz_target!(|input: &[u8]| {
    let mut now = 0;
    let mut positions = HashMap::new();
    let _ = read_from(&mut &input[..], &mut |entry| {
        let Entry::Record(record) = entry else { return };
        let event = Event::parse(record).expect("a record");
        assert!(event.at >= now, "time goes back");
        now = event.at;
        if let EventKind::Data(data) = event.kind {
            let next = positions.entry((data.connection, data.direction as u8)).or_insert(0);
            assert!(data.position >= *next, "bytes out of order");
            *next = data.position + u64::from(data.total);
        }
    });
});
