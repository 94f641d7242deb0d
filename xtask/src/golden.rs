//! `cargo xtask golden`: writes the expectations of all goldens anew, and shows what changed; or has them judged by Wireshark.

use crate::program::{cargo, find, run};
use crate::root;
use anyhow::{Result, ensure};
use std::process::Command;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Writes nothing: do Wireshark's dissectors see the same requests and responses? Of these protocols; of all where none
    /// is named.
    #[arg(long, value_name = "NAME", num_args = 0..)]
    dissect: Option<Vec<String>>,
}

pub(crate) fn golden(args: &Args) -> Result<()> {
    match &args.dissect {
        None => update(),
        Some(protocols) => dissect(protocols),
    }
}

fn update() -> Result<()> {
    let mut tests = cargo();
    run(tests.args(["test", "--quiet", "--package", "autospan-core", "--test", "ordered"]).env("UPDATE", "1"))?;
    run(Command::new("git").args(["--no-pager", "diff", "--stat", "--", "tests/golden"]).current_dir(root()))
}

/// An end-to-end test (tests/e2e/dissector) does it.
fn dissect(protocols: &[String]) -> Result<()> {
    ensure!(find("tshark").is_some(), "tshark is missing: `cargo xtask setup` installs it");
    let mut test = cargo();
    test.args(["test", "--quiet", "--package", "autospan-tests", "--test", "e2e", "--locked", "--"]);
    test.args(["--nocapture", "--exact", "dissector::agrees_on_every_golden"]);
    run(test.env("AUTOSPAN_DISSECT", protocols.join(" ")))
}
