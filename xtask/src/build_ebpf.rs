//! `cargo xtask build-ebpf`: the kernel programs, built the same everywhere.
//!
//! The object is committed with its sha256 and the versions of the tools that made it, so that users need nothing but
//! stable cargo. The tools' versions are part of what the hash depends on: `--check` fails on a different hash only
//! where the versions are the same.

mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use toolchain::Toolchain;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rebuild beside the committed object and compare. The fresh object stays at target/bpf/ARCH/.
    #[arg(long)]
    check: bool,
    /// Install Debian's BPF toolchain first where none is found (as root, from the security suite).
    #[arg(long)]
    install: bool,
    /// Architecture of the machines that will load the object, as in `uname -m`; both by default.
    #[arg(long, value_parser = ARCHITECTURES)]
    arch: Option<String>,
}

impl Args {
    /// Compare the object of this machine's architecture, with a toolchain installed where there is none.
    pub(crate) fn check_here() -> Self {
        Self { check: true, install: true, arch: Some(std::env::consts::ARCH.to_owned()) }
    }
}

/// Architectures that have a committed object.
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

/// A freshly built object and what made it.
#[derive(Debug)]
struct Built {
    object: PathBuf,
    sha256: String,
    toolchain: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.check {
        return check(args).map(drop);
    }
    args.architectures().try_for_each(|arch| commit(&build(args, arch)?, arch))
}

impl Args {
    fn architectures(&self) -> impl Iterator<Item = &str> {
        let chosen = self.arch.as_deref();
        ARCHITECTURES.into_iter().filter(move |arch| chosen.is_none_or(|chosen| chosen == *arch))
    }
}

/// Compares the committed objects with fresh builds.
///
/// Returns the fresh object for this machine where the tools differ from those of the committed one: tests then belong
/// to it.
///
/// # Errors
/// Same tools, other bytes: a committed object is not built from this source.
pub(crate) fn check(args: &Args) -> Result<Option<PathBuf>> {
    let mut here = None;
    for arch in args.architectures() {
        let fresh = check_one(args, arch)?;
        if arch == std::env::consts::ARCH {
            here = fresh;
        }
    }
    Ok(here)
}

fn check_one(args: &Args, arch: &str) -> Result<Option<PathBuf>> {
    let built = build(args, arch)?;
    let committed = Committed::at(arch);
    let same_tools = fs::read_to_string(&committed.toolchain).is_ok_and(|text| text == built.toolchain);
    ensure_hash_file(&committed)?;
    if digest(&committed.object)? == built.sha256 {
        println!("{} matches its source", committed.object.display());
        return Ok(None);
    }
    if same_tools {
        bail!(
            "{} is not what its source builds into: run `cargo xtask build-ebpf` and commit",
            committed.object.display()
        );
    }
    println!(
        "the toolchain here is not the one in {}: the hashes differ, test the fresh object with AUTOSPAN_BPF_OBJECT={}",
        committed.toolchain.display(),
        built.object.display()
    );
    Ok(Some(built.object))
}

/// The three committed files of one architecture.
struct Committed {
    object: PathBuf,
    sha256: PathBuf,
    toolchain: PathBuf,
}

impl Committed {
    fn at(arch: &str) -> Self {
        let file = |suffix: &str| crate::root().join("agent/bpf").join(format!("autospan-{arch}.{suffix}"));
        Self { object: file("bpf.o"), sha256: file("bpf.o.sha256"), toolchain: file("toolchain") }
    }
}

fn ensure_hash_file(committed: &Committed) -> Result<()> {
    let said = fs::read_to_string(&committed.sha256).context("read the committed hash")?;
    let is = digest(&committed.object)?;
    ensure!(said.trim() == is, "{} says {}, the object is {is}", committed.sha256.display(), said.trim());
    Ok(())
}

/// Committed objects that are not those their hash files speak of.
pub(crate) fn hash_mismatches() -> Result<Vec<String>> {
    let files = fs::read_dir(crate::root().join("agent/bpf")).context("read agent/bpf")?;
    let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
    let architectures =
        names.filter_map(|name| Some(name.strip_prefix("autospan-")?.strip_suffix(".bpf.o")?.to_owned()));
    let checks = architectures.map(|arch| ensure_hash_file(&Committed::at(&arch)));
    Ok(checks.filter_map(Result::err).map(|error| format!("{error:#}")).collect())
}

fn commit(built: &Built, arch: &str) -> Result<()> {
    let committed = Committed::at(arch);
    fs::create_dir_all(crate::root().join("agent/bpf"))?;
    fs::copy(&built.object, &committed.object).context("copy the object")?;
    fs::write(&committed.sha256, format!("{}\n", built.sha256))?;
    fs::write(&committed.toolchain, &built.toolchain)?;
    println!("{} sha256 {}", committed.object.display(), built.sha256);
    Ok(())
}

fn digest(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn build(args: &Args, arch: &str) -> Result<Built> {
    let toolchain = Toolchain::find_or_install(args.install)?;
    println!("building the kernel programs with {}", toolchain.name());
    let target_dir = crate::root().join("target/bpf").join(arch);
    compile(&toolchain, arch, &target_dir)?;
    let object = target_dir.join(format!("autospan-{arch}.bpf.o"));
    strip(&toolchain, &target_dir.join("bpfel-unknown-none/release/autospan-ebpf"), &object)?;
    let sha256 = digest(&object)?;
    Ok(Built { object, sha256, toolchain: toolchain.versions()? })
}

fn compile(toolchain: &Toolchain, arch: &str, target_dir: &Path) -> Result<()> {
    let mut cargo = toolchain.cargo();
    cargo.current_dir(crate::root().join("agent-ebpf")).args(["build", "--quiet", "--release", "--locked"]);
    cargo.args(["--target", "bpfel-unknown-none"]).arg("--target-dir").arg(target_dir);
    cargo.args(toolchain.cargo_flags());
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags(arch)?.join("\u{1f}"));
    succeed(&mut cargo)
}

/// Flags that make the object the same wherever the repository and the registry live.
fn rustflags(arch: &str) -> Result<Vec<String>> {
    let mut flags = vec![
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("--remap-path-prefix={}=autospan", crate::root().display()),
    ];
    for registry in registries()? {
        flags.push(format!("--remap-path-prefix={}=registry", registry.display()));
    }
    Ok(flags)
}

/// Folders that cargo unpacks crates into: one per registry, the name depends on the registry's address.
fn registries() -> Result<Vec<PathBuf>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).context("no home folder")?;
    let Ok(entries) = fs::read_dir(home.join("registry/src")) else { return Ok(Vec::new()) };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    Ok(folders)
}

/// Drops the debug sections: the loader needs BTF only, and DWARF is ten times the programs.
fn strip(toolchain: &Toolchain, from: &Path, to: &Path) -> Result<()> {
    succeed(Command::new(toolchain.objcopy()).arg("--strip-debug").arg(from).arg(to))
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("run {}", command.get_program().display()))?;
    ensure!(status.success(), "{} failed: {status}", command.get_program().display());
    Ok(())
}
