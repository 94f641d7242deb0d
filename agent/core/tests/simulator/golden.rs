//! Worlds that failed, at their smallest, and what the engine makes of them since.
//!
//! `tests/golden/simulator/*.world` is what an agent was told (see `words`), after lines that name the request that each
//! call was made for: `for r7 r3`. `*.expect` are the spans that come of it.

use crate::plan::Plan;
use crate::{Failure, message, oracle, words};
use autospan_core::engine::{Engine, EngineConfig, Output};
use autospan_core::span::{Span, SpanId, SpanKind, Value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/simulator")
}

/// Keeps a world that failed, where `AUTOSPAN_SIM_KEEP` says so. Returns what it is called.
pub(crate) fn keep(plan: &Plan, failure: &Failure) -> String {
    let name = format!("seed-{}.world", plan.seed);
    if env::var_os("AUTOSPAN_SIM_KEEP").is_some() {
        let world = words::write(&failure.entries);
        let callers = plan.requests.iter().enumerate().filter_map(|(id, request)| Some((id, request.parent?)));
        let callers = callers.filter(|(id, _)| world.contains(&format!("/r{id} ")));
        let callers: String = callers.map(|(id, caller)| format!("for r{id} r{caller}\n")).collect();
        fs::create_dir_all(folder()).expect("the golden folder");
        fs::write(folder().join(&name), callers + &world).expect("write the world");
    }
    name
}

/// A world of the folder.
struct Golden {
    path: PathBuf,
    /// The request that each call was made for.
    callers: HashMap<usize, usize>,
    spans: Vec<Span>,
}

impl Golden {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).expect("a world");
        let callers = text.lines().map_while(caller).collect::<HashMap<_, _>>();
        let told: Vec<&str> = text.lines().skip(callers.len()).collect();
        let mut engine = Engine::new(EngineConfig::default());
        words::read(&told.join("\n")).iter().for_each(|entry| entry.tell(&mut engine));
        oracle::let_idle(&mut engine);
        let spans = oracle::outputs(&mut engine).into_iter().filter_map(|output| match output {
            Output::Span(span) => Some(*span),
            Output::Policy { .. } | Output::WatchJobs { .. } => None,
        });
        Self { path, callers, spans: spans.collect() }
    }

    /// Spans in the order of their start, with their parents.
    fn lines(&self) -> String {
        let mut spans: Vec<&Span> = self.spans.iter().collect();
        spans.sort_by_key(|span| (span.start_unix_ns, span.span_id));
        let named: HashMap<SpanId, String> = spans.iter().map(|span| (span.span_id, name(span))).collect();
        let line = |span: &&Span| {
            let parent = span.parent.map(|p| format!(" of {}", named.get(&p.span_id).map_or("?", String::as_str)));
            format!("{}{} [{}]\n", name(span), parent.unwrap_or_default(), oracle::evidence(span))
        };
        spans.iter().map(line).collect()
    }

    /// Spans whose parent is another one than that which the world knows.
    fn false_parents(&self) -> Vec<String> {
        let known: HashMap<SpanId, &Span> = self.spans.iter().map(|span| (span.span_id, span)).collect();
        let is_false = |span: &&Span| {
            let parent = span.parent.and_then(|parent| known.get(&parent.span_id));
            let (Some(parent), Some(id)) = (parent, number(span)) else { return false };
            let right = match span.kind {
                SpanKind::Server => Some(id),
                SpanKind::Client => self.callers.get(&id).copied(),
            };
            parent.kind == span.kind || number(parent) != right
        };
        self.spans.iter().filter(is_false).map(name).collect()
    }
}

/// `for r7 r3`: request 7 was made for request 3.
fn caller(line: &str) -> Option<(usize, usize)> {
    let (call, request) = line.strip_prefix("for r")?.split_once(" r")?;
    Some((call.parse().ok()?, request.parse().ok()?))
}

fn number(span: &Span) -> Option<usize> {
    let text = |key| match span.attribute(key) {
        Some(Value::String(text)) => Some(text.as_ref()),
        _ => None,
    };
    let column = text("db.query.text").and_then(|text| text.split(' ').nth(1));
    message::number_of(text("url.path").or(text("url.full")).or(column)?)
}

fn name(span: &Span) -> String {
    let kind = if span.kind == SpanKind::Server { "server" } else { "client" };
    number(span).map_or(format!("{kind} of a part"), |id| format!("{kind} r{id}"))
}

#[test]
fn worlds_that_failed_do_not_fail_again() {
    let files = fs::read_dir(folder()).expect("the golden folder").map(|entry| entry.expect("an entry").path());
    let worlds: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|ext| ext == "world")).collect();
    assert!(worlds.len() >= GOLDENS_MIN, "only {} worlds", worlds.len());
    for golden in worlds.into_iter().map(Golden::read) {
        assert_eq!(golden.false_parents(), Vec::<String>::new(), "false parents in {:?}", golden.path);
        let (actual, path) = (golden.lines(), golden.path.with_extension("expect"));
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &actual).expect("write the expectation");
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(actual, expected, "{:?} (UPDATE=1 rewrites the expectations)", golden.path);
    }
}

const GOLDENS_MIN: usize = 5;
