//! One cell of the table: one app, so many requests at a time; service and agent are started for it.

use super::apps::App;
use super::downstream::Downstream;
use super::driver::Load;
use super::mode::Mode;
use super::service::TRUTH;
use super::verdict::{self, Call, Judged, Spans};
use anyhow::{Context, Result, ensure};
use rig::agent::Options;
use rig::{Address, Kind, Receiver, Span};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long nothing new must come before what is missing is called missing.
const QUIET: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// What all cells share.
#[derive(Debug)]
pub(super) struct Bench {
    receiver: Receiver,
    downstream: Downstream,
    requests: usize,
    ids: bool,
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
    pub(super) fn new(requests: usize, ids: bool, tls: bool) -> Result<Self> {
        Ok(Self { receiver: Receiver::start()?, downstream: Downstream::start(tls)?, requests, ids, next: 1_000 })
    }

    pub(super) fn cell(&mut self, app: &'static App, modes: &[Mode], concurrency: usize) -> Result<Cell> {
        let numbers = self.next..self.next + self.requests.max(concurrency) as u64;
        self.next = numbers.end;
        let address = Address::loopback()?;
        let service = app.start(&address, &self.downstream)?;
        self.receiver.clear();
        let agent = Options::new().grpc(&self.receiver).arguments(&["--stats"]).start()?;
        let load = Load { address: &address, connections: concurrency, modes, numbers: numbers.clone(), ids: self.ids };
        load.drive().with_context(|| service.logs())?;
        let truth = service.directory().join(TRUTH);
        self.settle(&verdict::truth(&truth)?);
        let losses = agent.stop()?.counters().into_iter().filter(is_loss).collect();
        self.receiver.catch_up()?;
        // Anew: nginx writes a line after its answer.
        let calls = verdict::truth(&truth)?;
        ensure!(!calls.is_empty(), "the service made no calls");
        let spans = self.receiver.spans(|_| true);
        let index = Spans::new(&spans);
        let judge = |call: Call| Judged { mode: load.mode(call.n), verdict: index.judge(&call), call };
        let calls = calls.into_iter().map(judge).collect();
        Ok(Cell { app, concurrency, calls, requests_missing: requests_missing(&spans, numbers), losses })
    }

    /// Returns when a span of each call is here, or nothing new comes any more.
    fn settle(&self, calls: &[Call]) {
        let wanted: HashSet<_> = calls.iter().map(|call| call.code.as_str()).collect();
        let is_wanted =
            |span: &Span| span.kind == Kind::Client && verdict::code(span).is_some_and(|c| wanted.contains(c));
        let (mut seen, mut last) = (0, Instant::now());
        while seen < calls.len() && last.elapsed() < QUIET {
            let now = self.receiver.spans(is_wanted).len();
            if now > seen {
                (seen, last) = (now, Instant::now());
            }
            std::thread::sleep(POLL);
        }
    }
}

fn is_loss((name, value): &(String, u64)) -> bool {
    *value > 0 && (name.starts_with("lost.") || name.starts_with("dropped."))
}

fn requests_missing(spans: &[Span], numbers: Range<u64>) -> usize {
    let servers = spans.iter().filter(|span| span.kind == Kind::Server);
    let seen: HashSet<_> = servers.filter_map(|span| verdict::number(span.text("url.path"))).collect();
    numbers.filter(|n| !seen.contains(n)).count()
}
