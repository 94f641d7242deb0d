//! `cargo xtask simulate`: seeded worlds of services, faults, and what must hold of the spans (agent/core/tests/simulator).

use crate::program::{cargo, run};
use anyhow::Result;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    pub(crate) from: u64,
    /// Databases are Redis instead of PostgreSQL. Two of 10,000 worlds fail still (ADR 26).
    #[arg(long)]
    pub(crate) redis: bool,
}

pub(crate) fn simulate(args: &Args) -> Result<()> {
    let mut tests = cargo();
    tests.args(["test", "--quiet", "--profile", "simulate", "--package", "autospan-core", "--test", "simulator"]);
    tests.args(["--locked", "--", "--exact", "seeds", "--nocapture"]);
    tests.env("AUTOSPAN_SIM_SEEDS", args.seeds.to_string()).env("AUTOSPAN_SIM_FROM", args.from.to_string());
    tests.env("AUTOSPAN_SIM_KEEP", "1");
    tests.envs(args.redis.then_some(("AUTOSPAN_SIM_REDIS", "1")));
    run(&mut tests)
}
