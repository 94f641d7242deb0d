//! The engine at work on a live machine: records, facts and time in; spans to the exporter, policies to the kernel side,
//! all of it into a recording where one is made.

use crate::export::{ExportSpan, Exporter, is_own_export};
use crate::process::runtime::Language;
use crate::process::{Identity, Processes, Resource};
use crate::record::Recording;
use crate::stats::{self, Figure};
use autospan_abi::{Policy, RecordKind};
use autospan_core::engine::{Engine, Output};
use autospan_core::event::{Event, EventKind, record_len};
use autospan_core::evlog::Entry;
use autospan_core::fact::Fact;
use autospan_core::span::{Attribute, Span};
use std::sync::Arc;

/// Something that happened to a process, for discovery to judge once the records at hand are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// Its first connection was seen, and nothing else of it before.
    Appeared {
        pid: u32,
    },
    Executed {
        pid: u32,
    },
    Listening {
        pid: u32,
        port: u16,
    },
    /// It loaded a library, or several.
    Mapped {
        pid: u32,
    },
    Forked {
        parent: u32,
        pid: u32,
    },
    Exited {
        pid: u32,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Tracer {
    engine: Engine,
    processes: Processes,
    exporter: Option<Exporter>,
    recording: Option<Recording>,
    lifecycle: Vec<Lifecycle>,
    policies: Vec<(u64, Policy)>,
    jobs: Vec<(u32, bool)>,
    own_exports: u64,
}

// === impl Tracer ===

impl Tracer {
    pub fn new(engine: Engine, processes: Processes, exporter: Option<Exporter>, recording: Option<Recording>) -> Self {
        let (lifecycle, policies, jobs) = (Vec::new(), Vec::new(), Vec::new());
        Self { engine, processes, exporter, recording, lifecycle, policies, jobs, own_exports: 0 }
    }

    /// Takes a record as it lies in the ring: its slot may be longer than it.
    pub fn record(&mut self, slot: &[u8]) {
        let record = match record_len(slot) {
            Some(Ok(len)) => &slot[..len.min(slot.len())],
            // The engine counts it.
            _ => slot,
        };
        if !is_data(record)
            && let Ok(event) = Event::parse(record)
        {
            self.process_event(&event);
        }
        self.keep(&Entry::Record(record));
        self.engine.feed(record);
        self.collect();
    }

    pub fn fact(&mut self, fact: Fact) {
        self.keep(&Entry::Fact(fact.clone()));
        self.engine.fact(fact);
    }

    /// `now`: `CLOCK_MONOTONIC` ns; every record up to then has been taken.
    pub fn tick(&mut self, now: u64) {
        self.keep(&Entry::Tick(now));
        self.engine.tick(now);
        self.processes.sweep(now);
        self.collect();
    }

    /// Runs every timer that is still set, as if the time had come.
    pub fn settle(&mut self) {
        while let Some(deadline) = self.engine.next_deadline() {
            self.tick(deadline);
        }
    }

    /// Looks at a process that became a target, or another program, and says so in the log.
    pub fn attached(&mut self, pid: u32) -> Option<Arc<Identity>> {
        let before = self.processes.get(pid).cloned();
        let identity = self.inspect(pid)?;
        if !before.is_some_and(|before| before.is_same_program(&identity)) {
            announce(pid, &identity);
        }
        Some(identity)
    }

    /// Says in the log that a process is watched that was looked at when it appeared.
    pub fn announce(&self, pid: u32) {
        if let Some(identity) = self.processes.get(pid) {
            announce(pid, identity);
        }
    }

    /// As [`Tracer::attached`], for a process that may be known already.
    pub fn sighted(&mut self, pid: u32) {
        if self.processes.get(pid).is_none() {
            self.attached(pid);
        }
    }

    /// The process loaded a library: one that changes how it works on requests makes it another one.
    pub fn has_mapped(&mut self, pid: u32) {
        let is_plain =
            |identity: &Identity| identity.runtime.language == Language::CPython && !identity.runtime.has_greenlets;
        if self.processes.get(pid).is_some_and(|identity| is_plain(identity)) && self.processes.has_greenlets(pid) {
            self.inspect(pid);
        }
    }

    /// A process that is no target any more: should it become one again, it will be another program.
    pub fn detached(&mut self, pid: u32) {
        self.processes.forget(pid);
    }

    /// What was to be judged since the last call.
    pub fn take_lifecycle(&mut self) -> Vec<Lifecycle> {
        std::mem::take(&mut self.lifecycle)
    }

    /// Policies to set since the last call, by connection.
    pub fn take_policies(&mut self) -> Vec<(u64, Policy)> {
        std::mem::take(&mut self.policies)
    }

    /// Processes of which it is to be seen from now on how threads leave work for one another, or no more.
    pub fn take_jobs(&mut self) -> Vec<(u32, bool)> {
        std::mem::take(&mut self.jobs)
    }

    /// Counters of the engine, and of spans that were left out.
    pub fn figures(&self) -> Vec<Figure> {
        let mut figures = stats::engine_figures(&self.engine);
        figures.push((stats::OWN_EXPORTS.to_owned(), self.own_exports));
        figures
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    pub fn exporter(&self) -> Option<&Exporter> {
        self.exporter.as_ref()
    }

    pub fn recording(&self) -> Option<&Recording> {
        self.recording.as_ref()
    }

    pub fn into_sinks(self) -> (Option<Exporter>, Option<Recording>) {
        (self.exporter, self.recording)
    }

    fn process_event(&mut self, event: &Event<'_>) {
        match event.kind {
            EventKind::Opened(_) => self.appeared(event.tgid),
            EventKind::Forked { child_tgid } => {
                self.forked(event.tgid, child_tgid);
                self.lifecycle.push(Lifecycle::Forked { parent: event.tgid, pid: child_tgid });
            }
            EventKind::Executed => self.lifecycle.push(Lifecycle::Executed { pid: event.tgid }),
            EventKind::Listening { port, .. } => self.lifecycle.push(Lifecycle::Listening { pid: event.tgid, port }),
            EventKind::Exited => {
                self.processes.exited(event.tgid, event.at);
                self.lifecycle.push(Lifecycle::Exited { pid: event.tgid });
            }
            EventKind::CodeMapped => self.mapped(event.tgid),
            EventKind::Data(_)
            | EventKind::Closed { .. }
            | EventKind::ThreadExited
            | EventKind::CallStarted
            | EventKind::CallReturned
            | EventKind::Multiplexed { .. }
            | EventKind::StreamAsked { .. } => {}
        }
    }

    /// A program maps its libraries in a burst: one look at them will do.
    fn mapped(&mut self, pid: u32) {
        let mapped = Lifecycle::Mapped { pid };
        if !self.lifecycle.contains(&mapped) {
            self.lifecycle.push(mapped);
        }
    }

    /// Its connection's records come next: the engine must know what it is before them.
    fn appeared(&mut self, pid: u32) {
        if self.processes.get(pid).is_none() && self.inspect(pid).is_some() {
            self.lifecycle.push(Lifecycle::Appeared { pid });
        }
    }

    fn inspect(&mut self, pid: u32) -> Option<Arc<Identity>> {
        let identity = self.processes.inspect(pid)?;
        self.state(pid, &identity);
        Some(identity)
    }

    /// Workers come and go by the thousand: no line in the log for each.
    fn forked(&mut self, parent: u32, child: u32) {
        if let Some(identity) = self.processes.forked(parent, child) {
            tracing::debug!(pid = child, parent, service = identity.resource.service_name, "watching a forked process");
            self.state(child, &identity);
        }
    }

    fn state(&mut self, pid: u32, identity: &Identity) {
        self.fact(Fact::Process { tgid: pid, threads: identity.runtime.threads() });
        if self.recording.is_some() {
            self.keep(&Entry::Fact(Fact::Service { tgid: pid, name: identity.resource.service_name.clone() }));
        }
    }

    fn keep(&mut self, entry: &Entry<'_>) {
        if let Some(recording) = &mut self.recording {
            recording.push(entry);
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Span(span) => self.export(*span),
                Output::Policy { connection, policy } => self.policies.push((connection, policy)),
                Output::WatchJobs { tgid, watch } => self.jobs.push((tgid, watch)),
            }
        }
    }

    /// Spans about export requests of this agent are left out: each would make another export.
    fn export(&mut self, span: Span) {
        if is_own_export(&span) {
            self.own_exports += 1;
            return;
        }
        if let Some(exporter) = &self.exporter {
            let resource = self.processes.resource(span.tgid);
            exporter.push(with_thread(span, resource));
        }
    }
}

fn announce(pid: u32, identity: &Identity) {
    tracing::info!(pid, service = identity.resource.service_name, runtime = %identity.runtime, "watching");
}

fn is_data(record: &[u8]) -> bool {
    record.get(4..6) == Some(&(RecordKind::Data as u16).to_le_bytes())
}

/// The resource is shared by all processes of a service, so the span says which process and thread it was.
pub fn with_thread(mut span: Span, resource: Arc<Resource>) -> ExportSpan {
    if span.tgid != 0 {
        span.attributes.push(Attribute::new("process.pid", u64::from(span.tgid)));
        span.attributes.push(Attribute::new("thread.id", u64::from(span.tid)));
    }
    ExportSpan { span, resource }
}
