//! The table that the benchmark prints.

use super::OffOn;
use std::fmt;

/// Rows of a result and, where the design sets one, its budget.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<Row>);

#[derive(Debug)]
struct Row {
    what: String,
    result: String,
    budget: String,
}

/// A limit from the design.
#[derive(Clone, Copy, Debug)]
pub(super) enum Budget {
    AtMost(f64),
    AtLeast(f64),
    None,
}

impl Table {
    /// A single number.
    pub(super) fn number(&mut self, what: &str, value: f64, unit: &str, budget: Budget) {
        self.push(what, format!("{} {unit}", rounded(value)), &budget.verdict(value, unit));
    }

    /// A time per operation in ns; the budget is about the difference.
    pub(super) fn added_ns(&mut self, what: &str, times: &OffOn, budget: Budget) {
        let added = times.on() - times.off();
        let result = format!("off {:.0} ns, on {:.0} ns: {added:+.0} ns ({})", times.off(), times.on(), turns(times));
        self.push(what, result, &budget.verdict(added, "ns"));
    }

    /// A rate per second; what counts is the ratio.
    pub(super) fn rate(&mut self, what: &str, rates: &OffOn) {
        let ratio = rates.on() / rates.off();
        let result = format!("off {:.0}/s, on {:.0}/s: ×{ratio:.2} ({})", rates.off(), rates.on(), turns(rates));
        self.push(what, result, "");
    }

    /// The same where a difference is looked for that is smaller than the machine's moods: the median of many rounds.
    pub(super) fn median_rate(&mut self, what: &str, rates: &OffOn) {
        let ratios = rates.off.iter().zip(&rates.on).map(|(off, on)| on / off).collect();
        let (off, on) = (median(rates.off.clone()), median(rates.on.clone()));
        let ratio = median(ratios);
        self.push(what, format!("median off {off:.0}/s, on {on:.0}/s: ×{ratio:.3} ({})", turns(rates)), "");
    }

    pub(super) fn push(&mut self, what: &str, result: String, budget: &str) {
        eprintln!("  {what}: {result} {budget}");
        self.0.push(Row { what: what.to_owned(), result, budget: budget.to_owned() });
    }
}

/// off on off on, as they were measured.
fn turns(values: &OffOn) -> String {
    let pairs = values.off.iter().zip(&values.on);
    pairs.map(|(off, on)| format!("{off:.0} {on:.0}")).collect::<Vec<_>>().join(" ")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn rounded(value: f64) -> String {
    if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

impl Budget {
    fn verdict(self, value: f64, unit: &str) -> String {
        let (word, limit, holds) = match self {
            Self::None => return String::new(),
            Self::AtMost(limit) => ("≤", limit, value <= limit),
            Self::AtLeast(limit) => ("≥", limit, value >= limit),
        };
        let verdict = if holds { "held".to_owned() } else { format!("MISSED, ×{:.2}", value / limit) };
        format!("budget {word} {} {unit}: {verdict}", rounded(limit))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        self.0.iter().try_for_each(|row| {
            let budget = if row.budget.is_empty() { String::new() } else { format!("  [{}]", row.budget) };
            writeln!(f, "{:width$}  {}{budget}", row.what, row.result)
        })
    }
}
