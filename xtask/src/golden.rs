//! `cargo xtask golden`: writes the expectations of all goldens anew, and shows what changed.

use crate::program::{cargo, run};
use crate::root;
use anyhow::Result;
use std::process::Command;

pub(crate) fn update() -> Result<()> {
    let mut tests = cargo();
    run(tests.args(["test", "--quiet", "--package", "autospan-core", "--test", "http1"]).env("UPDATE", "1"))?;
    run(Command::new("git").args(["--no-pager", "diff", "--stat", "--", "tests/golden"]).current_dir(root()))
}
