//! The engine on plausible records: bounded, and the same outputs however the records are cut into feeds.
#![no_main]

use autospan_core::engine::{Engine, EngineConfig, Output};
use autospan_core::evlog::Entry;
use autospan_fuzz::records::Maker;
use libfuzzer_sys::fuzz_target;

/// An engine and what it put out.
struct Run {
    engine: Engine,
    outputs: Vec<Output>,
    feed_bytes: usize,
}

impl Run {
    fn new(feed_bytes: usize) -> Self {
        Self { engine: Engine::new(EngineConfig::default()), outputs: Vec::new(), feed_bytes }
    }

    fn entry(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Record(record) => record.chunks(self.feed_bytes).for_each(|bytes| self.engine.feed(bytes)),
            Entry::Fact(fact) => self.engine.fact(fact.clone()),
            Entry::Tick(now) => self.engine.tick(*now),
        }
        self.outputs.extend(std::iter::from_fn(|| self.engine.poll()));
    }
}

fuzz_target!(|input: &[u8]| {
    let (mut whole, mut cut) = (Run::new(usize::MAX), Run::new(13));
    Maker::default().play(input, |entry| {
        whole.entry(&entry);
        cut.entry(&entry);
    });
    assert_eq!(whole.outputs, cut.outputs);
    let counters = |run: &Run| run.engine.counters().map(|(_, n)| n).collect::<Vec<_>>();
    assert_eq!(counters(&whole), counters(&cut));
    for span in
        whole.outputs.iter().filter_map(|output| if let Output::Span(span) = output { Some(span) } else { None })
    {
        assert!(span.end_unix_ns >= span.start_unix_ns, "{span:?}");
    }
});
