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
    /// The same inputs each time, as far as the time allows, for the same code.
    #[arg(long)]
    seed: Option<u32>,
    /// No more inputs than that for each target.
    #[arg(long)]
    runs: Option<u32>,
    /// Targets to run; all of them where none is named.
    targets: Vec<String>,
}

impl Args {
    /// All targets, shortly.
    pub(crate) fn briefly() -> Self {
        Self { seconds: 20, seed: None, runs: None, targets: Vec::new() }
    }

    /// All targets; the same inputs on each machine that is not too slow for them.
    pub(crate) fn same_each_time() -> Self {
        Self { seconds: 180, seed: Some(1), runs: Some(1_000_000), targets: Vec::new() }
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
/// test forbids unsafe, and runs several times as fast without. No part of memory lies in another place each time: hashes
/// depend on that, and what a target does with an input on hashes.
fn cargo_fuzz(command: &str) -> Command {
    let mut fuzz = Command::new("setarch");
    fuzz.args(["--addr-no-randomize", "cargo", "fuzz", command, "--fuzz-dir", ".", "--sanitizer", "none"]);
    fuzz.current_dir(folder()).env("RUSTC_BOOTSTRAP", "1");
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

/// In front of the path of an input that is a finding. Whoever reads of it elsewhere has no files: its bytes are printed as well.
const WRITTEN: &str = "Test unit written to ";

impl Running {
    fn start(target: &str, args: &Args) -> Result<Self> {
        let corpus = corpus(target, args.seed)?;
        let log = folder().join("corpus").join(format!("{target}.log"));
        let (binary, protocol) = binary(target)?;
        let mut fuzz = cargo_fuzz("run");
        fuzz.envs(protocol.map(|protocol| (PROTOCOL, protocol)));
        fuzz.arg(binary).arg(&corpus).arg("--");
        fuzz.arg(format!("-seed_inputs=@{}", seeds(target)?.display()));
        fuzz.arg(format!("-max_total_time={}", args.seconds));
        // What was written to the corpus is known, and not to be read again in whatever order the folder has it.
        fuzz.arg("-reload=0");
        fuzz.args(args.seed.map(|seed| format!("-seed={seed}")));
        fuzz.args(args.runs.map(|runs| format!("-runs={runs}")));
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
        let told = ["panicked at", "ERROR:", WRITTEN];
        let lines: Vec<_> = text.lines().filter(|line| told.iter().any(|part| line.contains(part))).collect();
        let input = text.lines().find_map(|line| Some(line.split_once(WRITTEN)?.1.trim()));
        let input = input.map(|path| fs::read(folder().join(path))).transpose()?.unwrap_or_default();
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!(
            "{}: {}\n    whole log: {}\n    input: {hex}",
            self.target,
            lines.join("\n    "),
            self.log.display()
        ))
    }
}

/// What a target found in earlier runs, to go on from; nothing where `seed` chooses what is done.
fn corpus(target: &str, seed: Option<u32>) -> Result<PathBuf> {
    let name = seed.map_or_else(|| target.to_owned(), |seed| format!("{target}-{seed}"));
    let corpus = folder().join("corpus").join(name);
    if seed.is_some() && corpus.exists() {
        fs::remove_dir_all(&corpus)?;
    }
    fs::create_dir_all(&corpus)?;
    Ok(corpus)
}

/// The file that lists the target's seeds, in an order that does not depend on the file system.
fn seeds(target: &str) -> Result<PathBuf> {
    let folder = folder().join("seeds");
    let files = fs::read_dir(folder.join(target))?.collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<_> = files.iter().map(|file| format!("seeds/{target}/{}", file.file_name().display())).collect();
    names.sort();
    let list = folder.join(format!("{target}.list"));
    fs::write(&list, names.join(","))?;
    Ok(list)
}

fn executions(log: &Path) -> Result<u64> {
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    let value = |line: &str| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok();
    Ok(text.lines().find_map(value).unwrap_or(0))
}
