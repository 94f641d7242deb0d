//! `cargo xtask fuzz`: every fuzz target of tests/fuzz for some time, two at once, seeded from the goldens.

use crate::program::run;
use crate::root;
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long each target runs.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Chooses the same inputs each time, as far as the code and the time allow.
    #[arg(long)]
    seed: Option<u32>,
    /// Targets to run; all of them where none is named.
    targets: Vec<String>,
}

impl Args {
    /// All targets.
    pub(crate) fn all(seconds: u32, seed: Option<u32>) -> Self {
        Self { seconds, seed, targets: Vec::new() }
    }
}

const AT_ONCE: usize = 2;
/// An input that takes longer is a finding.
const INPUT_SECONDS_MAX: u32 = 20;
const INPUT_BYTES_MAX: u32 = 8_192;

pub(crate) fn fuzz(args: &Args) -> Result<()> {
    let targets = chosen(args)?;
    install_cargo_fuzz()?;
    run(cargo().args(["run", "--quiet", "--example", "seeds", "--", "seeds"]))?;
    println!("fuzz: building {}", targets.join(", "));
    let binaries = targets.iter().map(|target| Ok(binary(target)?.0)).collect::<Result<BTreeSet<_>>>()?;
    binaries.iter().try_for_each(|binary| run(cargo_fuzz("build").arg(binary)))?;
    let findings = run_all(&targets, args)?;
    ensure!(findings.is_empty(), "findings:\n  {}", findings.join("\n  "));
    Ok(())
}

fn folder() -> PathBuf {
    root().join("tests/fuzz")
}

/// The target that fuzzes the parser of any protocol whose responses come in order; the environment says which.
const ORDERED: &str = "ordered";
const PROTOCOL: &str = "AUTOSPAN_PROTOCOL";

/// Targets are the files of fuzz_targets/; [`ORDERED`] is one for each protocol.
fn chosen(args: &Args) -> Result<Vec<String>> {
    let files = fs::read_dir(folder().join("fuzz_targets"))?.collect::<Result<Vec<_>, _>>()?;
    let mut known: Vec<_> =
        files.iter().filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned())).collect();
    known.retain(|target| target != ORDERED);
    known.extend(protocols()?);
    known.sort();
    if let Some(unknown) = args.targets.iter().find(|target| !known.contains(target)) {
        bail!("no target {unknown}; there are {}", known.join(", "));
    }
    Ok(if args.targets.is_empty() { known } else { args.targets.clone() })
}

/// The folders of tests/golden with a probe for parsers whose responses come in order.
fn protocols() -> Result<Vec<String>> {
    let folders = fs::read_dir(root().join("tests/golden"))?.collect::<Result<Vec<_>, _>>()?;
    let is_protocol = |folder: &fs::DirEntry| folder.path().join("recovery.probe").exists();
    Ok(folders.iter().filter(|f| is_protocol(f)).filter_map(|f| f.file_name().into_string().ok()).collect())
}

/// The binary that a target is, and the protocol that it is to fuzz.
fn binary(target: &str) -> Result<(&str, Option<&str>)> {
    Ok(if protocols()?.iter().any(|protocol| protocol == target) { (ORDERED, Some(target)) } else { (target, None) })
}

fn install_cargo_fuzz() -> Result<()> {
    let there = cargo().args(["fuzz", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    println!("fuzz: installing cargo-fuzz");
    run(cargo().args(["install", "--quiet", "--locked", "cargo-fuzz"])).context("cargo-fuzz is needed")
}

/// The cargo that the fuzz targets are built with, in their workspace.
fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(folder());
    command
}

/// Coverage instrumentation is a compiler pass that stable has as well, behind a flag. No sanitizer: the code under
/// test forbids unsafe, and runs several times as fast without.
fn cargo_fuzz(command: &str) -> Command {
    let mut fuzz = cargo();
    fuzz.args(["fuzz", command, "--fuzz-dir", ".", "--sanitizer", "none"]).env("RUSTC_BOOTSTRAP", "1");
    fuzz
}

/// A target under way.
struct Running {
    target: String,
    log: PathBuf,
    child: Child,
}

fn run_all(targets: &[String], args: &Args) -> Result<Vec<String>> {
    let mut waiting: VecDeque<_> = targets.iter().collect();
    let (mut running, mut findings) = (VecDeque::new(), Vec::new());
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < AT_ONCE
            && let Some(target) = waiting.pop_front()
        {
            running.push_back(Running::start(target, args)?);
        }
        // All run equally long: the first to start is the first to end.
        if let Some(first) = running.pop_front() {
            findings.extend(first.finish()?);
        }
    }
    Ok(findings)
}

impl Running {
    fn start(target: &str, args: &Args) -> Result<Self> {
        let corpus = folder().join("corpus").join(target);
        fs::create_dir_all(&corpus)?;
        let log = folder().join("corpus").join(format!("{target}.log"));
        let (binary, protocol) = binary(target)?;
        let mut fuzz = cargo_fuzz("run");
        fuzz.envs(protocol.map(|protocol| (PROTOCOL, protocol)));
        fuzz.arg(binary).arg(&corpus).arg(folder().join("seeds").join(target)).arg("--");
        fuzz.arg(format!("-max_total_time={}", args.seconds));
        fuzz.args(args.seed.map(|seed| format!("-seed={seed}")));
        fuzz.arg(format!("-timeout={INPUT_SECONDS_MAX}")).arg(format!("-max_len={INPUT_BYTES_MAX}"));
        fuzz.args(["-print_final_stats=1"]);
        let output = File::create(&log)?;
        fuzz.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = fuzz.spawn().context("cargo fuzz")?;
        Ok(Self { target: target.to_owned(), log, child })
    }

    /// Waits, prints the number of executions, and returns what was found.
    fn finish(mut self) -> Result<Option<String>> {
        let status = self.child.wait()?;
        let executions = executions(&self.log)?;
        println!("fuzz: {:<14} {executions:>12} executions, {status}", self.target);
        (!status.success()).then(|| self.finding()).transpose()
    }

    /// The panic, or what else libFuzzer says, and where the whole log is.
    fn finding(&self) -> Result<String> {
        let text = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        let told = ["panicked at", "ERROR:", "Test unit written to"];
        let lines: Vec<_> = text.lines().filter(|line| told.iter().any(|part| line.contains(part))).collect();
        Ok(format!("{}: {}\n    whole log: {}", self.target, lines.join("\n    "), self.log.display()))
    }
}

fn executions(log: &Path) -> Result<u64> {
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    let value = |line: &str| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok();
    Ok(text.lines().find_map(value).unwrap_or(0))
}
