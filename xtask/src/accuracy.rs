//! `cargo xtask accuracy`: how many calls get their right parent, a wrong one, or none.
//!
//! Real services serve c requests at a time; each request makes calls to one downstream service over pooled connections. Only
//! the service knows which call it made for which request: it draws a random code for each call and keeps a list of its own.
//! The verdict is made of that list and of what the OTLP receiver received, and nothing else.

mod apps;
mod cell;
mod downstream;
mod driver;
mod mode;
mod report;
mod service;
mod verdict;

use crate::program::{cargo, run};
use crate::setup;
use anyhow::{Context, Result, ensure};
use apps::App;
use cell::Bench;
use mode::Mode;
use nix::unistd::geteuid;
use report::Report;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only apps whose name contains one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Requests at a time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    concurrency: Vec<usize>,
    /// Only these ways to make calls.
    #[arg(long, value_delimiter = ',', value_enum)]
    mode: Vec<Mode>,
    /// Requests of each cell of the table; at least one per connection.
    #[arg(long, default_value_t = 200)]
    requests: usize,
    /// Each request has an id in a header, which the app repeats in its calls: second evidence.
    #[arg(long)]
    ids: bool,
    /// Traps: calls that a request leaves behind when it is answered, and calls for no request at all (heartbeats), whose right
    /// parent is none.
    #[arg(long)]
    traps: bool,
    /// The downstream service is called by TLS.
    #[arg(long)]
    tls: bool,
    /// A row for each way to make calls.
    #[arg(long)]
    by_mode: bool,
    /// The tables in Markdown.
    #[arg(long)]
    markdown: bool,
    /// Write each call's verdict to this file, one JSON object per line.
    #[arg(long, value_name = "FILE")]
    verdicts: Option<std::path::PathBuf>,
    /// List the apps and end.
    #[arg(long)]
    list: bool,
}

impl Args {
    fn wants(&self, app: &App) -> bool {
        if self.traps && !app.traps {
            return false;
        }
        let named = self.only.is_empty() || self.only.iter().any(|part| app.name.contains(part.as_str()));
        named && self.modes(app).next().is_some()
    }

    fn modes(&self, app: &App) -> impl Iterator<Item = Mode> {
        let modes = app.modes.iter().chain(self.traps.then_some(&Mode::After));
        modes.copied().filter(|mode| self.mode.is_empty() || self.mode.contains(mode))
    }
}

pub(crate) fn accuracy(args: &Args) -> Result<()> {
    let apps: Vec<_> = apps::ALL.iter().filter(|app| args.wants(app)).collect();
    if args.list {
        apps.iter().for_each(|app| println!("{:28} {}", app.name, app.runtime));
        return Ok(());
    }
    ensure!(!apps.is_empty(), "no such app: see --list");
    ensure!(geteuid().is_root(), "the agent needs root: run this as root");
    setup::accuracy::install()?;
    // An agent that is named is not built.
    if std::env::var_os("AUTOSPAN_BIN").is_none() {
        run(cargo().args(["build", "--release", "--package", "autospan", "--locked"]))?;
    }
    let report = measure(args, &apps)?;
    report.print(args.by_mode, args.markdown);
    if let Some(path) = &args.verdicts {
        report.write_verdicts(path)?;
    }
    report.verdict()
}

/// Every cell of the table. An app that fails costs its own row.
fn measure(args: &Args, apps: &[&'static App]) -> Result<Report> {
    let mut bench = Bench::new(args)?;
    let mut report = Report::default();
    for app in apps {
        if let Some(missing) = app.missing(args.tls) {
            report.skip(app, missing);
            continue;
        }
        let modes: Vec<_> = args.modes(app).collect();
        for concurrency in &args.concurrency {
            let measured = bench.cell(app, &modes, *concurrency);
            let measured = measured.with_context(|| format!("{} at c={concurrency}", app.name));
            match measured {
                Ok(cell) => report.add(cell),
                Err(error) => report.fail(error),
            }
        }
    }
    Ok(report)
}
