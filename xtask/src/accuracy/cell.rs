//! One cell of the table: one app, so many requests at a time; service and agent are started for it.

use super::Args;
use super::apps::App;
use super::downstream::Downstream;
use super::driver::Load;
use super::mode::Mode;
use super::service::TRUTH;
use super::verdict::{self, Call, Judged, Spans, Verdict};
use anyhow::{Context, Result, ensure};
use rig::agent::Options;
use rig::{Address, Kind, Receiver, Span};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long nothing new must come before what is missing is called missing.
const QUIET: Duration = Duration::from_secs(2);
/// How long after the last call that a request made there may be another.
const LATECOMERS: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(20);

/// What all cells share.
#[derive(Debug)]
pub(super) struct Bench {
    receiver: Receiver,
    downstream: Downstream,
    requests: usize,
    ids: bool,
    traps: bool,
    /// The next request's number.
    next: u64,
}

/// What came of a cell.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) app: &'static App,
    pub(super) concurrency: usize,
    pub(super) calls: Vec<Judged>,
    /// Requests without a server span.
    pub(super) requests_missing: usize,
    /// The agent's counters of what was lost and dropped, where something was.
    pub(super) losses: BTreeMap<String, u64>,
}

impl Bench {
    pub(super) fn new(args: &Args) -> Result<Self> {
        let Args { requests, ids, traps, tls, .. } = *args;
        Ok(Self {
            receiver: Receiver::start()?,
            downstream: Downstream::start(tls)?,
            requests,
            ids,
            traps,
            next: 1_000,
        })
    }

    pub(super) fn cell(&mut self, app: &'static App, modes: &[Mode], concurrency: usize) -> Result<Cell> {
        let numbers = self.next..self.next + self.requests.max(concurrency) as u64;
        self.next = numbers.end;
        let address = Address::loopback()?;
        let service = app.start(&address, &self.downstream, self.traps)?;
        self.receiver.clear();
        let agent = Options::new().grpc(&self.receiver).arguments(&["--stats"]).start()?;
        let load = Load { address: &address, connections: concurrency, modes, numbers: numbers.clone(), ids: self.ids };
        load.drive().with_context(|| service.logs())?;
        let calls = self.settle(&service.directory().join(TRUTH))?;
        ensure!(!calls.is_empty(), "the service made no calls");
        let losses = agent.stop()?.counters().into_iter().filter(is_loss).collect();
        self.receiver.catch_up()?;
        let spans = self.receiver.spans(|_| true);
        let index = Spans::new(&spans);
        let mode = |call: &Call| call.n.map_or(Mode::Heartbeat, |n| load.mode(n));
        let judge = |call: Call| Judged { mode: mode(&call), verdict: index.judge(&call), call };
        let calls = calls.into_iter().map(judge).filter(|judged| !is_cut_short(judged)).collect();
        Ok(Cell { app, concurrency, calls, requests_missing: requests_missing(&spans, numbers), losses })
    }

    /// Returns the calls that were made, when no request makes another and there is a span of each, or nothing new comes.
    fn settle(&self, truth: &Path) -> Result<Vec<Call>> {
        let (mut seen, mut last) = ((0, 0), Instant::now());
        loop {
            let calls = verdict::truth(truth)?;
            let wanted: HashSet<_> = calls.iter().filter(|call| call.n.is_some()).map(|call| &*call.code).collect();
            let found = self.receiver.spans(|span| verdict::code(span).is_some_and(|code| wanted.contains(code))).len();
            if seen != (wanted.len(), found) {
                (seen, last) = ((wanted.len(), found), Instant::now());
            }
            if last.elapsed() > if found < wanted.len() { QUIET } else { LATECOMERS } {
                return Ok(calls);
            }
            std::thread::sleep(POLL);
        }
    }
}

/// A heartbeat goes on until the service ends: the last one may not be over.
fn is_cut_short(judged: &Judged) -> bool {
    judged.mode == Mode::Heartbeat && judged.verdict == Verdict::Missing
}

fn is_loss((name, value): &(String, u64)) -> bool {
    *value > 0 && (name.starts_with("lost.") || name.starts_with("dropped."))
}

fn requests_missing(spans: &[Span], numbers: Range<u64>) -> usize {
    let servers = spans.iter().filter(|span| span.kind == Kind::Server);
    let seen: HashSet<_> = servers.filter_map(|span| verdict::number(span.text("url.path"))).collect();
    numbers.filter(|n| !seen.contains(n)).count()
}
