//! Spans wait here until their trace looks complete. Bounded: when there are too many, all of them go out as they are.

use crate::export::{ExportSpan, limits};
use autospan_core::span::{Parent, TraceId};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// A trace with its root is complete when nothing was added for this long.
const QUIET: Duration = Duration::from_millis(300);
/// One without, when nothing was added for this long: its root may be a request that still runs.
const QUIET_WITHOUT_ROOT: Duration = Duration::from_secs(2);
/// A trace that keeps growing after its root ended is shown in parts.
const WAIT_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Pending {
    traces: HashMap<TraceId, Trace>,
    /// Of all traces.
    spans: usize,
    /// To tell a late span from a new trace. The queue says which to forget first.
    shown: HashSet<TraceId>,
    shown_order: VecDeque<TraceId>,
}

/// What is known of a trace.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) spans: Vec<ExportSpan>,
    /// A part of this trace was shown before.
    pub(super) late: bool,
    last_added: Instant,
    root_added: Option<Instant>,
}

// === impl Pending ===

impl Pending {
    pub(super) fn add(&mut self, span: ExportSpan, now: Instant) {
        let id = span.span.trace_id;
        let late = self.shown.contains(&id);
        self.traces.entry(id).or_insert_with(|| Trace::new(late, now)).add(span, now);
        self.spans += 1;
    }

    /// Whether there is no room for another span until [`Pending::rest`] is taken.
    pub(super) fn is_full(&self) -> bool {
        self.spans >= limits::TERMINAL_SPANS_MAX
    }

    /// When the next trace is complete, if nothing is added.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.traces.values().map(Trace::deadline).min()
    }

    /// Traces complete by `now`, by the time of their first span.
    pub(super) fn complete(&mut self, now: Instant) -> Vec<Trace> {
        let complete = self.traces.iter().filter(|(_, trace)| trace.deadline() <= now);
        let ids = complete.map(|(id, _)| *id).collect();
        self.take(ids)
    }

    /// Everything, complete or not.
    pub(super) fn rest(&mut self) -> Vec<Trace> {
        let ids = self.traces.keys().copied().collect();
        self.take(ids)
    }

    fn take(&mut self, ids: Vec<TraceId>) -> Vec<Trace> {
        ids.iter().for_each(|id| self.remember(*id));
        let mut traces: Vec<Trace> = ids.iter().filter_map(|id| self.traces.remove(id)).collect();
        self.spans -= traces.iter().map(|trace| trace.spans.len()).sum::<usize>();
        traces.sort_by_key(|trace| trace.spans.iter().map(|span| span.span.start_unix_ns).min());
        traces
    }

    fn remember(&mut self, id: TraceId) {
        if self.shown.insert(id) {
            self.shown_order.push_back(id);
        }
        if self.shown_order.len() > limits::TERMINAL_TRACES_REMEMBERED {
            let forgotten = self.shown_order.pop_front();
            forgotten.map(|id| self.shown.remove(&id));
        }
    }
}

// === impl Trace ===

impl Trace {
    fn new(late: bool, now: Instant) -> Self {
        // The root of a trace that was shown is not waited for.
        Self { spans: Vec::new(), late, last_added: now, root_added: late.then_some(now) }
    }

    fn add(&mut self, span: ExportSpan, now: Instant) {
        if matches!(span.span.parent, None | Some(Parent { remote: true, .. })) {
            self.root_added.get_or_insert(now);
        }
        self.last_added = now;
        self.spans.push(span);
    }

    fn deadline(&self) -> Instant {
        match self.root_added {
            Some(root_added) => (self.last_added + QUIET).min(root_added + WAIT_MAX),
            None => self.last_added + QUIET_WITHOUT_ROOT,
        }
    }
}
