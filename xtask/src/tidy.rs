//! `cargo xtask tidy`: rules about the repository that no compiler checks.

use crate::program::read;
use crate::{build_ebpf, root};
use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE_LINES_MAX: usize = 800;

/// Which workspace crates each may name. Everything points one way: `abi ← core ← agent ← tests ← xtask`.
const DIRECTION: &[(&str, &[&str])] = &[
    ("autospan-abi", &[]),
    ("autospan-core", &["autospan-abi"]),
    ("autospan", &["autospan-abi", "autospan-core"]),
    ("autospan-tests", &["autospan-abi", "autospan-core", "autospan"]),
    ("xtask", &["autospan-abi", "autospan-core", "autospan", "autospan-tests"]),
];

/// Crates that cannot name the standard library.
const WITHOUT_STD: &[&str] = &["autospan-abi", "autospan-core"];

pub(crate) fn check() -> Result<()> {
    let mut findings = dependencies()?;
    for path in tracked()? {
        findings.extend(file(&path)?);
    }
    findings.extend(build_ebpf::hash_mismatches()?);
    ensure!(findings.is_empty(), "tidy:\n  {}", findings.join("\n  "));
    Ok(())
}

fn dependencies() -> Result<Vec<String>> {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec()?;
    let packages = metadata.workspace_packages();
    let members: Vec<_> = packages.iter().map(|package| package.name.to_string()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let allowed = DIRECTION.iter().find(|(name, _)| package.name == *name);
        match allowed {
            Some((_, allowed)) => findings.extend(wrong_direction(package, allowed, &members)),
            None => findings.push(format!("{}: not in the table of xtask/src/tidy.rs", package.name)),
        }
        if WITHOUT_STD.contains(&package.name.as_str()) {
            findings.extend(needs_std(package));
        }
    }
    Ok(findings)
}

fn wrong_direction(package: &Package, allowed: &[&str], members: &[String]) -> Vec<String> {
    let inner = package.dependencies.iter().filter(|dependency| members.contains(&dependency.name));
    let wrong = inner.filter(|dependency| !allowed.contains(&dependency.name.as_str()));
    wrong.map(|dependency| format!("{} must not depend on {}", package.name, dependency.name)).collect()
}

fn needs_std(package: &Package) -> Vec<String> {
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
    let outer = normal.filter(|dependency| !dependency.optional && dependency.path.is_none());
    let std =
        outer.filter(|dependency| dependency.uses_default_features || dependency.features.iter().any(|f| f == "std"));
    std.map(|dependency| format!("{}: {} brings the standard library along", package.name, dependency.name)).collect()
}

/// Files of the repository, relative to its root.
fn tracked() -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    // The checkout may belong to another user than the root that tests it.
    git.args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let list = read(git.current_dir(root()))?;
    let paths = list.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from);
    Ok(paths.filter(|path| root().join(path).is_file()).collect())
}

/// What a text must not contain, in which files, and why. In two halves each, so that this file does not contain it.
const FORBIDDEN: &[(&str, &str, &[&str], &str)] = &[
    ("TO", "DO", &[], "open ends go into an issue"),
    ("FIX", "ME", &[], "open ends go into an issue"),
    ("#[ign", "ore", &["rs"], "a test that cannot run says so as a skip"),
    ("#[all", "ow(", &["rs"], "expect() with a reason"),
    ("dbg", "!(", &["rs"], "left from debugging"),
    ("/ro", "ot/", &[], "a path of somebody's machine"),
    ("/wo", "rk/", &[], "a path of somebody's machine"),
    ("\"reso", "lved\":", &["json"], "a lock file must not name a registry's host"),
];

fn file(path: &Path) -> Result<Vec<String>> {
    let bytes = fs::read(root().join(path)).with_context(|| path.display().to_string())?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let concerned = |only: &[&str]| only.is_empty() || only.contains(&extension);
    let mut findings: Vec<_> = FORBIDDEN
        .iter()
        .filter(|(start, end, only, _)| concerned(only) && text.contains(&format!("{start}{end}")))
        .map(|(start, end, _, why)| format!("{}: {start}{end}: {why}", path.display()))
        .collect();
    let lines = text.lines().count();
    if ["rs", "py", "js", "go", "lua"].contains(&extension) && lines > FILE_LINES_MAX {
        findings.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", path.display()));
    }
    if extension == "lock" {
        findings.extend(foreign_sources(path, &text));
    }
    Ok(findings)
}

/// Crates come from crates.io, named as such.
fn foreign_sources(path: &Path, text: &str) -> Vec<String> {
    let sources = text.lines().filter_map(|line| line.strip_prefix("source = "));
    let foreign = sources.filter(|source| *source != "\"registry+https://github.com/rust-lang/crates.io-index\"");
    foreign.map(|source| format!("{}: {source} is not crates.io", path.display())).collect()
}
