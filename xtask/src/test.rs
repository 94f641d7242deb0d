//! `cargo xtask test`: everything that must hold, cheapest first, ending with cargo's own result lines.

use crate::program::{cargo, run, target};
use crate::{build_ebpf, fuzz, root, setup, simulate, tidy};
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these sections, in the usual order.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Section>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// rustfmt.
    Fmt,
    /// Rules that no compiler checks.
    Tidy,
    /// The kernel object is what its source builds into.
    Ebpf,
    /// Lints of all targets.
    Clippy,
    /// rustdoc without warnings.
    Docs,
    /// Unit, golden and property tests; these with the same cases each time where CI is set.
    Unit,
    /// Seeded worlds with faults: 2,000, or 10,000 where CI is set.
    Simulate,
    /// Each fuzz target, shortly; a million inputs, the same each time, where CI is set.
    Fuzz,
    /// Real services, the real agent, a real receiver.
    E2e,
}

pub(crate) fn test(args: &Args) -> Result<()> {
    let sections =
        Section::value_variants().iter().filter(|section| args.only.is_empty() || args.only.contains(section));
    let mut object = None;
    for section in sections {
        println!("== {section:?}");
        let start = Instant::now();
        section.run(&mut object).with_context(|| format!("section {section:?} failed"))?;
        // The last section's output is cargo's verdict; it stays last.
        if *section != Section::E2e {
            println!("== {section:?}: {:.1} s", start.elapsed().as_secs_f32());
        }
    }
    Ok(())
}

impl Section {
    /// `object`: the kernel object under test where it is not the committed one, because other tools built it here.
    fn run(self, object: &mut Option<PathBuf>) -> Result<()> {
        match self {
            Self::Fmt => fmt(),
            Self::Tidy => tidy::check(),
            Self::Ebpf => {
                *object = build_ebpf::check(&build_ebpf::Args::check_here())?;
                Ok(())
            }
            Self::Clippy => {
                run(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--locked", "--", "-Dwarnings"]))
            }
            Self::Docs => run(cargo()
                .args(["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items", "--locked"])
                .env("RUSTDOCFLAGS", "-Dwarnings -Arustdoc::private_intra_doc_links")),
            Self::Unit => {
                let mut tests = cargo();
                tests.args(["test", "--quiet", "--workspace", "--exclude", "autospan-tests", "--locked"]);
                tests.envs(seed().map(|seed| ("PROPTEST_RNG_SEED", seed.to_string())));
                run(with_object(&mut tests, object.as_deref()))
            }
            Self::Simulate => simulate::simulate(&simulate::Args { seeds: simulated_seeds(), from: 0, redis: false }),
            Self::Fuzz => fuzz::fuzz(&if is_ci() { fuzz::Args::same_each_time() } else { fuzz::Args::briefly() }),
            Self::E2e => e2e(object.as_deref()),
        }
    }
}

fn fmt() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    for workspace in ["agent-ebpf", "tests/fuzz", "tests/apps/accuracy/rust"] {
        run(Command::new("cargo").args(["fmt", "--check"]).current_dir(root().join(workspace)))?;
    }
    Ok(())
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// CI judges a change, and must not fail one for what chance finds in another place. Whoever works on the code looks
/// elsewhere each time.
fn seed() -> Option<u32> {
    is_ci().then_some(1)
}

fn simulated_seeds() -> u64 {
    if is_ci() { 10_000 } else { 2_000 }
}

/// The agent as it is released, alone on its services: one test at a time.
fn e2e(object: Option<&Path>) -> Result<()> {
    setup::install_for_tests(&setup::Args::default())?;
    run(cargo().args(["build", "--quiet", "--release", "--package", "autospan", "--locked"]))?;
    let mut tests = cargo();
    tests.args([
        "test",
        "--quiet",
        "--package",
        "autospan-tests",
        "--test",
        "e2e",
        "--locked",
        "--",
        "--test-threads=1",
    ]);
    tests.env("AUTOSPAN_BIN", target().join("release/autospan"));
    run(with_object(&mut tests, object))
}

fn with_object<'a>(tests: &'a mut Command, object: Option<&Path>) -> &'a mut Command {
    match object {
        Some(object) => tests.env("AUTOSPAN_BPF_OBJECT", object),
        None => tests,
    }
}
