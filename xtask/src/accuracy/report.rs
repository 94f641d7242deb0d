//! The tables: parents per app and concurrency, evidence, reasons, losses.

use super::apps::App;
use super::cell::Cell;
use super::mode::Mode;
use super::verdict::{Judged, Verdict};
use anyhow::{Error, Result, ensure};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::path::Path;

/// Wrong parents that are shown one by one.
const EXAMPLES_MAX: usize = 5;

#[derive(Debug, Default)]
pub(super) struct Report {
    cells: Vec<Cell>,
    skipped: Vec<String>,
    failures: Vec<Error>,
}

/// How many calls got which verdict.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    right: usize,
    wrong: usize,
    no_parent: usize,
    parent_missing: usize,
    missing: usize,
}

impl Tally {
    fn of<'a>(calls: impl IntoIterator<Item = &'a Judged>) -> Self {
        let mut tally = Self::default();
        for call in calls {
            *match call.verdict {
                Verdict::Right { .. } => &mut tally.right,
                Verdict::Wrong { .. } => &mut tally.wrong,
                Verdict::NoParent { .. } => &mut tally.no_parent,
                Verdict::ParentMissing { .. } => &mut tally.parent_missing,
                Verdict::Missing => &mut tally.missing,
            } += 1;
        }
        tally
    }

    fn total(&self) -> usize {
        self.right + self.wrong + self.no_parent + self.parent_missing + self.missing
    }
}

/// `398 / 0 / 2 / 0 (99.5 %)`; a call whose parent's span never came counts as missing.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.missing + self.parent_missing;
        let share = percent(self.right, self.total());
        write!(f, "{} / {} / {} / {missing} ({share})", self.right, self.wrong, self.no_parent)
    }
}

fn percent(part: usize, whole: usize) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
}

impl Report {
    /// Takes a cell, and says on standard error what came of it.
    pub(super) fn add(&mut self, cell: Cell) {
        eprintln!("{}, {}, c={}: {}", cell.app.name, cell.app.runtime, cell.concurrency, Tally::of(&cell.calls));
        for judged in cell.calls.iter().filter(|call| matches!(call.verdict, Verdict::Wrong { .. })).take(EXAMPLES_MAX)
        {
            eprintln!(
                "  wrong: call {} of request {:?} ({}): {:?}",
                judged.call.code,
                judged.call.n,
                judged.mode.name(),
                judged.verdict
            );
        }
        self.cells.push(cell);
    }

    pub(super) fn skip(&mut self, app: &App, why: &str) {
        let line = format!("{}, {}: skipped: {why}", app.name, app.runtime);
        eprintln!("{line}");
        self.skipped.push(line);
    }

    pub(super) fn fail(&mut self, error: Error) {
        eprintln!("FAILED: {error:#}");
        self.failures.push(error);
    }

    /// An error where a parent is wrong, or an app failed.
    pub(super) fn verdict(&self) -> Result<()> {
        let failures: Vec<_> = self.failures.iter().map(ToString::to_string).collect();
        ensure!(failures.is_empty(), "cells failed: {}", failures.join("; "));
        let wrong = Tally::of(self.calls()).wrong;
        ensure!(wrong == 0, "{wrong} wrong parents");
        Ok(())
    }

    pub(super) fn print(&self, by_mode: bool, markdown: bool) {
        let style = if markdown { Style::Markdown } else { Style::Plain };
        println!("Calls with the right parent / a wrong one / none / no span (right of all):\n");
        println!("{}", style.show(&self.parents(by_mode)));
        println!("By evidence (`autospan.parent.evidence`), over all calls:\n");
        println!("{}", style.show(&self.evidence()));
        let reasons = self.reasons();
        if reasons.len() > 1 {
            println!(
                "Calls without a parent (`autospan.parent.reason`), and what is missing beside the agent's counters:\n"
            );
            println!("{}", style.show(&reasons));
        }
        for line in &self.skipped {
            println!("{line}");
        }
    }

    fn calls(&self) -> impl Iterator<Item = &Judged> {
        self.cells.iter().flat_map(|cell| &cell.calls)
    }

    fn concurrencies(&self) -> BTreeSet<usize> {
        self.cells.iter().map(|cell| cell.concurrency).collect()
    }

    /// A row per app (and mode), a column per concurrency.
    fn parents(&self, by_mode: bool) -> Vec<Vec<String>> {
        let columns: Vec<_> = self.concurrencies().into_iter().collect();
        let heads = ["app", "runtime"].into_iter().map(str::to_owned);
        let mut rows = vec![heads.chain(columns.iter().map(|c| format!("c={c}"))).collect()];
        for cells in self.cells.chunk_by(|a, b| std::ptr::eq(a.app, b.app)) {
            let calls = || cells.iter().flat_map(|cell| &cell.calls);
            let modes: BTreeSet<_> = calls().map(|call| by_mode.then_some(call.mode)).collect();
            rows.extend(modes.into_iter().map(|mode| row(cells, mode, &columns)));
        }
        rows
    }

    fn evidence(&self) -> Vec<Vec<String>> {
        let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for call in self.calls() {
            match &call.verdict {
                // No parent, as it should be.
                Verdict::Right { evidence } if evidence.is_empty() => {}
                Verdict::Right { evidence } => kinds.entry(evidence).or_default().0 += 1,
                Verdict::Wrong { evidence, .. } => kinds.entry(evidence).or_default().1 += 1,
                _ => {}
            }
        }
        let all = self.calls().count();
        let tally = Tally::of(self.calls());
        let rows = kinds.into_iter().chain([("all", (tally.right, tally.wrong))]);
        let rows = rows.map(|(kind, (right, wrong))| {
            let precision = percent(right, right + wrong);
            vec![kind.to_owned(), right.to_string(), wrong.to_string(), precision, percent(right, all)]
        });
        let heads = ["evidence", "right", "wrong", "precision", "recall"].map(str::to_owned).to_vec();
        std::iter::once(heads).chain(rows).collect()
    }

    /// A row for each cell with something to explain.
    fn reasons(&self) -> Vec<Vec<String>> {
        let heads = ["app", "runtime", "c", "no parent", "no span", "counters"].map(str::to_owned).to_vec();
        std::iter::once(heads).chain(self.cells.iter().filter_map(explained)).collect()
    }

    pub(super) fn write_verdicts(&self, path: &Path) -> Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for cell in &self.cells {
            for judged in &cell.calls {
                let verdict = format!("{:?}", judged.verdict);
                let line = json!({
                    "app": cell.app.name, "runtime": cell.app.runtime, "concurrency": cell.concurrency,
                    "mode": judged.mode.name(), "code": judged.call.code, "request": judged.call.n, "verdict": verdict,
                });
                writeln!(file, "{line}")?;
            }
        }
        Ok(file.flush()?)
    }
}

/// `cells` of one app; `mode`: of these calls alone.
fn row(cells: &[Cell], mode: Option<Mode>, columns: &[usize]) -> Vec<String> {
    let app = cells[0].app;
    let name = mode.map_or_else(|| app.name.to_owned(), |mode| format!("{}: {}", app.name, mode.name()));
    let tally = |concurrency: &usize| {
        let cell = cells.iter().find(|cell| cell.concurrency == *concurrency)?;
        Some(Tally::of(cell.calls.iter().filter(|call| mode.is_none_or(|mode| call.mode == mode))).to_string())
    };
    let tallies = columns.iter().map(|concurrency| tally(concurrency).unwrap_or_else(|| "–".to_owned()));
    [name, app.runtime.to_owned()].into_iter().chain(tallies).collect()
}

fn explained(cell: &Cell) -> Option<Vec<String>> {
    let tally = Tally::of(&cell.calls);
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for call in &cell.calls {
        if let Verdict::NoParent { reason } = &call.verdict {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    let missing = [("calls", tally.missing), ("requests", cell.requests_missing), ("parents", tally.parent_missing)];
    let missing: BTreeMap<_, _> = missing.into_iter().filter(|(_, count)| *count > 0).collect();
    if reasons.is_empty() && missing.is_empty() {
        return None;
    }
    let names = [cell.app.name.to_owned(), cell.app.runtime.to_owned(), cell.concurrency.to_string()];
    Some(names.into_iter().chain([list(&reasons), list(&missing), list(&cell.losses)]).collect())
}

/// `ambiguous 12, answered 3`
fn list<K: fmt::Display, V: fmt::Display>(counts: &BTreeMap<K, V>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

#[derive(Clone, Copy, Debug)]
enum Style {
    Plain,
    Markdown,
}

impl Style {
    /// `rows`: the heads, then all of the same length.
    fn show(self, rows: &[Vec<String>]) -> String {
        let Some((heads, _)) = rows.split_first() else { return String::new() };
        match self {
            Self::Plain => {
                let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
                let widths: Vec<_> = (0..heads.len()).map(width).collect();
                rows.iter().map(|row| plain(row, &widths)).collect()
            }
            Self::Markdown => {
                let rule = std::iter::repeat_n("---".to_owned(), heads.len()).collect::<Vec<_>>();
                let lines = [heads, &rule].into_iter().chain(&rows[1..]);
                lines.map(|row| format!("| {} |\n", row.join(" | "))).collect()
            }
        }
    }
}

fn plain(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
}
