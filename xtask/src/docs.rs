//! `cargo xtask docs`: the tables under `docs/reference`, written from the code or compared with it.

use crate::program::{cargo, run};
use anyhow::Result;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only say whether they are up to date.
    #[arg(long)]
    check: bool,
}

/// The generator is a test of the agent, so that `cargo test` compares without being told to.
pub(crate) fn docs(args: &Args) -> Result<()> {
    let mut test = cargo();
    test.args(["test", "--quiet", "--package", "autospan", "--test", "reference"]);
    if !args.check {
        test.env("UPDATE", "1");
    }
    run(&mut test)
}
