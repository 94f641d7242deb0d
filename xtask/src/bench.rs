//! `cargo xtask bench`: what the agent costs, measured off, on, off, on in one run, beside the budgets of the design.

mod databases;
mod engine;
mod footprint;
mod load;
mod pair;
mod pipe;
mod probes;
mod report;
mod server;
mod zero_code;

use crate::program::{cargo, run, target};
use crate::setup;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use nix::unistd::geteuid;
use report::Table;
use rig::Agent;
use rig::agent::Options;
use server::{Serve, Server};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these measurements.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Measurement>,
    /// Seconds of each run of the load generator.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Be one of the servers; for the benchmark itself.
    #[arg(long, hide = true, value_enum)]
    serve: Option<Serve>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measurement {
    /// write + read on a pipe of a process that is no target.
    Pipe,
    /// A request and its response, seen from the server's end.
    Pair,
    /// Requests per second of real servers.
    Load,
    /// Requests per second of databases, and of one that is excluded.
    Databases,
    /// Requests per second with probes on user code, and how many of them fire per request.
    Probes,
    /// Exchanges per second through the engine.
    Engine,
    /// Memory, map bytes, binary size, time to the first span.
    Footprint,
    /// The OpenTelemetry zero-code agents on the same services.
    ZeroCode,
}

/// Rounds of off and on.
const ROUNDS: usize = 2;

pub(crate) fn bench(args: &Args) -> Result<()> {
    if let Some(serve) = args.serve {
        return serve.run();
    }
    ensure!(geteuid().is_root(), "the agent needs root: run the benchmark as root");
    let wanted = |measurement: &Measurement| args.only.is_empty() || args.only.contains(measurement);
    let zero_code = wanted(&Measurement::ZeroCode);
    setup::install(&setup::Args { zero_code })?;
    run(cargo().args(["build", "--release", "--package", "autospan", "--locked"]))?;
    // The rig takes the newest build, which must not be somebody's debug one.
    ensure!(target().join("release/autospan").exists(), "cargo built no release binary");
    let bench = Bench { collector: Server::start(Serve::Collector)?, seconds: args.seconds };
    let mut table = Table::default();
    for measurement in Measurement::value_variants().iter().filter(|measurement| wanted(measurement)) {
        eprintln!("measuring: {measurement:?}");
        let measured = match measurement {
            Measurement::Pipe => pipe::measure(&bench, &mut table),
            Measurement::Pair => pair::measure(&bench, &mut table),
            Measurement::Load => load::measure(&bench, &mut table),
            Measurement::Databases => databases::measure(&bench, &mut table),
            Measurement::Probes => probes::measure(&bench, &mut table),
            Measurement::Engine => engine::measure(&mut table),
            Measurement::Footprint => footprint::measure(&bench, &mut table),
            Measurement::ZeroCode => zero_code::measure(&bench, &mut table),
        };
        measured.with_context(|| format!("{measurement:?}"))?;
    }
    print!("{table}");
    Ok(())
}

/// What every measurement shares.
struct Bench {
    collector: Server,
    seconds: u32,
}

impl Bench {
    /// The agent as most users run it, exporting to a collector that costs nothing.
    fn agent(&self) -> Result<Agent> {
        self.options().start()
    }

    fn options(&self) -> Options {
        Options::new()
            .environment("OTEL_EXPORTER_OTLP_ENDPOINT", &self.collector.url())
            .environment("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    }

    /// `measure` without and with the agent, in turns.
    fn off_on(&self, measure: impl FnMut() -> Result<f64>) -> Result<OffOn> {
        self.off_on_with(&self.options(), ROUNDS, measure)
    }

    /// The same with an agent that is told something else.
    fn off_on_with(&self, options: &Options, rounds: usize, mut measure: impl FnMut() -> Result<f64>) -> Result<OffOn> {
        let mut result = OffOn::default();
        for _ in 0..rounds {
            result.off.push(measure()?);
            let agent = options.start()?;
            result.on.push(measure()?);
            agent.stop()?;
        }
        Ok(result)
    }
}

/// The same thing measured without and with an agent.
#[derive(Debug, Default)]
struct OffOn {
    off: Vec<f64>,
    on: Vec<f64>,
}

impl OffOn {
    fn off(&self) -> f64 {
        mean(&self.off)
    }

    fn on(&self) -> f64 {
        mean(&self.on)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
