//! Where things are.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// Top of the repository.
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// Cargo's target directory.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// What `cargo xtask setup` installed.
pub fn installed(relative: &str) -> Result<PathBuf> {
    let path = target().join("rig").join(relative);
    ensure!(path.exists(), "{} is missing: run `cargo xtask setup` first", path.display());
    Ok(path)
}

/// A source file of the test services.
pub fn app(relative: &str) -> PathBuf {
    repository().join("tests/apps").join(relative)
}

/// The agent under test: `AUTOSPAN_BIN`, else the newest of the release and debug builds.
pub fn agent() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("AUTOSPAN_BIN") {
        return Ok(PathBuf::from(path));
    }
    let built = ["release", "debug"].map(|profile| target().join(profile).join("autospan"));
    let age = |path: &PathBuf| path.metadata().and_then(|meta| meta.modified()).ok();
    built
        .into_iter()
        .filter(|path| path.exists())
        .max_by_key(age)
        .context("no autospan binary: run `cargo build --release --package autospan` first")
}
