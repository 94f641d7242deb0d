//! The agent's side of a world: the engine, fed as the agent does it, and a log of all it was told.

use crate::kernel::Record;
use crate::plan::Model;
use autospan_abi::Policy;
use autospan_core::engine::{Engine, EngineConfig, Output};
use autospan_core::fact::{Fact, Threads};
use autospan_core::limits::EXIT_AWAITED_NS;
use autospan_core::span::SpanKind;
use std::collections::HashMap;

#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Fact(Fact),
    Record(Vec<u8>),
    Tick(u64),
}

/// What one run of the agent was told, and the truth about it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) secret: [u8; 16],
    pub(crate) entries: Vec<Entry>,
    pub(crate) outputs: Vec<Output>,
    /// (connection, position) → the request that starts there and the kind of its span.
    pub(crate) origins: HashMap<(u64, u64), (usize, SpanKind)>,
}

pub(crate) struct Agent {
    engine: Engine,
    session: Session,
    now: u64,
}

impl Agent {
    pub(crate) fn new(secret: [u8; 16], now: u64, services: impl Iterator<Item = (u32, Model)>) -> Self {
        let session = Session { secret, entries: Vec::new(), outputs: Vec::new(), origins: HashMap::new() };
        let mut agent = Self { engine: Engine::new(EngineConfig::default()), session, now };
        let clock = Fact::Clock { monotonic_ns: 0, unix_ns: 0 };
        let processes = services.map(|(tgid, model)| Fact::Process { tgid, threads: threads(model) });
        for fact in [Fact::Session { secret }, clock].into_iter().chain(processes) {
            agent.tell(Entry::Fact(fact));
        }
        agent
    }

    /// Takes what lies in the ring. Returns what the kernel side is to be told.
    pub(crate) fn take(&mut self, records: &[Record], now: u64) -> Vec<(u64, Policy)> {
        records.iter().for_each(|record| self.tell(Entry::Record(record.bytes.clone())));
        self.now = now;
        self.tell(Entry::Tick(now));
        let mut policies = Vec::new();
        while let Some(output) = self.engine.poll() {
            if let Output::Policy { connection, policy } = output {
                policies.push((connection, policy));
            }
            self.session.outputs.push(output);
        }
        policies
    }

    pub(crate) fn finish(mut self, origins: HashMap<(u64, u64), (usize, SpanKind)>) -> Session {
        // Everything has settled, even what waited for a thread to end.
        self.take(&[], self.now + EXIT_AWAITED_NS + 1_000_000_000);
        Session { origins, ..self.session }
    }

    fn tell(&mut self, entry: Entry) {
        entry.tell(&mut self.engine);
        self.session.entries.push(entry);
    }
}

impl Entry {
    pub(crate) fn tell(&self, engine: &mut Engine) {
        match self {
            Self::Fact(fact) => engine.fact(fact.clone()),
            Self::Record(bytes) => engine.feed(bytes),
            Self::Tick(now) => engine.tick(*now),
        }
    }

    pub(crate) fn is_record(&self) -> bool {
        matches!(self, Self::Record(_))
    }
}

/// What recognition of the executable says.
fn threads(model: Model) -> Threads {
    match model {
        Model::Goroutines { .. } => Threads::Multiplexed,
        Model::UnknownThreads | Model::UnknownTasks | Model::Foreign => Threads::Unproven,
        Model::Threads | Model::Pool { .. } | Model::Tasks { .. } | Model::Turns => Threads::Owned,
    }
}
