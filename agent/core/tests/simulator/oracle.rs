//! What must hold of everything the engine says, whatever was done to its input.

use crate::agent::Entry;
use crate::truth::{Known, Truth, hex};
use autospan_core::engine::{Engine, EngineConfig, Output};
use autospan_core::limits::{CONNECTIONS_MAX, EXCHANGES_MAX, PROCESSES_MAX, ROUTINES_MAX};
use autospan_core::span::{Span, SpanId, SpanKind, Value};
use std::collections::BTreeMap;

/// What the input was spared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing was lost, and nothing came before the agent.
    Whole,
    /// Records may be missing.
    Faulty,
}

/// How many calls got their parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) right: u64,
    pub(crate) none: u64,
    /// Of the right ones: those given to the only request in flight.
    pub(crate) by_only_request: u64,
    /// Spans that begin in the middle of a request, since the start of it was lost.
    pub(crate) damaged: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.right += other.right;
        self.none += other.none;
        self.by_only_request += other.by_only_request;
        self.damaged += other.damaged;
    }
}

pub(crate) fn outputs(engine: &mut Engine) -> Vec<Output> {
    std::iter::from_fn(|| engine.poll()).collect()
}

/// Replays what an agent was told and looks at what comes of it.
pub(crate) fn judge<'e>(
    entries: impl Iterator<Item = &'e Entry>,
    truth: &Truth,
    input: Input,
) -> Result<Tally, String> {
    let (mut engine, mut fed, mut out) = (Engine::new(EngineConfig::default()), 0, Vec::new());
    for entry in entries {
        fed += u64::from(entry.is_record());
        entry.tell(&mut engine);
        tables_are_bounded(&engine)?;
        out.extend(outputs(&mut engine));
    }
    let counted = counter(&engine, "engine.records") + counter(&engine, "engine.records_invalid");
    if counted != fed {
        return Err(format!("{fed} records went in, {counted} are accounted for"));
    }
    let is_empty = tables_are_empty(&mut engine, input);
    out.extend(outputs(&mut engine));
    let tally = judge_outputs(&out, truth, input)?;
    is_empty.map(|()| tally)
}

pub(crate) fn judge_outputs(outputs: &[Output], truth: &Truth, input: Input) -> Result<Tally, String> {
    let spans: BTreeMap<SpanId, &Span> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Span(span) => Some((span.span_id, &**span)),
            Output::Policy { .. } | Output::WatchJobs { .. } => None,
        })
        .collect();
    let mut tally = Tally::default();
    for span in spans.values() {
        let Some(known) = truth.0.get(&span.span_id) else {
            if input == Input::Whole {
                return Err(format!("no such request: {span:?}"));
            }
            tally.damaged += 1;
            continue;
        };
        judge_span(span, known, &spans, truth, input).map_err(|why| format!("{}: {why}", show(span, known)))?;
        if known.kind == SpanKind::Client && known.parent.is_some() {
            tally += Tally {
                right: u64::from(span.parent.is_some()),
                none: u64::from(span.parent.is_none()),
                by_only_request: u64::from(evidence(span) == "only_request"),
                ..Tally::default()
            };
        }
    }
    if input == Input::Whole
        && let Some((_, known)) = truth.0.iter().find(|(id, _)| !spans.contains_key(*id))
    {
        return Err(format!("no span came of the {:?} end of request {}", known.kind, known.request));
    }
    Ok(tally)
}

fn judge_span(
    span: &Span,
    known: &Known,
    spans: &BTreeMap<SpanId, &Span>,
    truth: &Truth,
    input: Input,
) -> Result<(), String> {
    let right = known.parent.and_then(|id| spans.get(&id));
    let Some(parent) = span.parent else {
        // Of a call that outlives its request, the record may come after the answer.
        let missed = right.is_some_and(|p| p.start_unix_ns <= span.start_unix_ns && span.end_unix_ns <= p.end_unix_ns);
        let must = input == Input::Whole && known.is_exact && missed;
        return if must { Err("it has a parent that nothing hid".into()) } else { Ok(()) };
    };
    if known.parent != Some(parent.span_id) {
        let wrong = truth.0.get(&parent.span_id);
        if wrong.is_none() && input == Input::Faulty {
            // A damaged one, that may be anybody's.
            return Ok(());
        }
        let wrong = wrong.map_or(hex(parent.span_id), |k| format!("the {:?} end of request {}", k.kind, k.request));
        let right = known.parent.and_then(|id| truth.0.get(&id)).map(|k| k.request);
        return Err(format!("FALSE PARENT {wrong}, the right one is {right:?}"));
    }
    let Some(parent) = right else { return Ok(()) };
    if parent.trace_id != span.trace_id {
        return Err("it is in another trace than its parent".into());
    }
    if parent.start_unix_ns > span.start_unix_ns {
        return Err("its parent starts after it".into());
    }
    if known.kind == SpanKind::Client && span.start_unix_ns > parent.end_unix_ns {
        return Err("its parent was answered before it starts".into());
    }
    Ok(())
}

pub(crate) fn evidence(span: &Span) -> String {
    let text = |key| match span.attribute(key) {
        Some(Value::String(text)) => Some(text.to_string()),
        _ => None,
    };
    text("autospan.parent.evidence").or(text("autospan.parent.reason")).unwrap_or_default()
}

fn show(span: &Span, known: &Known) -> String {
    let why = evidence(span);
    format!("the {:?} end of request {} at {} [{why}]", known.kind, known.request, span.start_unix_ns)
}

fn counter(engine: &Engine, name: &str) -> u64 {
    engine.counters().find(|(c, _)| c.name() == name).expect("a counter of that name").1
}

fn tables_are_bounded(engine: &Engine) -> Result<(), String> {
    for (table, size) in engine.table_sizes() {
        let max = match table {
            "connections" => CONNECTIONS_MAX,
            "processes" => PROCESSES_MAX,
            "routines" => ROUTINES_MAX,
            _ => EXCHANGES_MAX,
        };
        if size > max {
            return Err(format!("{table} has {size} entries, more than {max}"));
        }
    }
    Ok(())
}

/// What was lost is given up.
pub(crate) fn let_idle(engine: &mut Engine) {
    const HOURS: u64 = 3_600_000_000_000;
    (1..=20).for_each(|hour| engine.tick(hour * HOURS));
}

/// After all connections were closed and all processes have ended; where the news of that was lost, after they idled.
fn tables_are_empty(engine: &mut Engine, input: Input) -> Result<(), String> {
    if input == Input::Faulty {
        let_idle(engine);
    }
    for (table, size) in engine.table_sizes() {
        let lost = input == Input::Faulty && matches!(table, "processes" | "routines");
        if size > 0 && !lost {
            return Err(format!("{table} has {size} entries at rest"));
        }
    }
    Ok(())
}
