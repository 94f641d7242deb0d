//! What `cargo xtask accuracy` needs beyond the tests' services, below target/rig/accuracy.

use super::{Args, Package, Part, debian_packages, go_build, go_toolchain, newest_go, node, python, python3};
use crate::program::{cargo, find, run, target};
use crate::root;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const REQUIREMENTS: &str = "tests/apps/accuracy/requirements.txt";

const PACKAGES: &[Package] = &[
    Package { name: "default-jdk-headless", present: || find("javac").is_some() },
    Package { name: "php-curl", present: has_php_curl },
    Package { name: "php-fpm", present: has_php_fpm },
    Package { name: "puma", present: || find("puma").is_some() },
];

/// Debian names it after its version.
fn has_php_fpm() -> bool {
    let entries = fs::read_dir("/usr/sbin").into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("php-fpm"))
}

fn has_php_curl() -> bool {
    let php = find("php").map(|php| Command::new(php).args(["-r", "exit(extension_loaded('curl') ? 0 : 1);"]).output());
    php.is_some_and(|output| output.is_ok_and(|output| output.status.success()))
}

pub(crate) fn install() -> Result<()> {
    super::install(&Args::default())?;
    debian_packages(PACKAGES)?;
    python("accuracy/venv", &python3(), REQUIREMENTS)?;
    if let Some(interpreter) = unstripped_python() {
        python("accuracy/venv-unstripped", &interpreter, REQUIREMENTS)?;
    }
    node("accuracy/node", NODE, &NODE_SOURCES)?;
    go()?;
    rust()
}

/// The first python3 of the path that still has its symbols, by its real path.
fn unstripped_python() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let candidates = std::env::split_paths(&path).map(|place| place.join("python3")).filter(|path| path.exists());
    candidates.filter_map(|path| executable(&path)).find(|path| has_symbols(path))
}

/// What an interpreter runs from; the one on the path may be a script that starts another.
fn executable(python: &Path) -> Option<PathBuf> {
    let code = "import os, sys; print(os.path.realpath(sys.executable))";
    let output = Command::new(python).args(["-c", code]).output().ok().filter(|output| output.status.success())?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end()))
}

/// Is there a section of that name? Section names are plain text in the file.
fn has_symbols(executable: &Path) -> bool {
    let name = b"\0.symtab\0";
    fs::read(executable).is_ok_and(|bytes| bytes.windows(name.len()).any(|window| window == name))
}

const NODE: &str = "tests/apps/accuracy/node";
const NODE_SOURCES: [&str; 4] = [
    "tests/apps/accuracy/node/work.js",
    "tests/apps/accuracy/node/http_app.js",
    "tests/apps/accuracy/node/express_app.js",
    "tests/apps/accuracy/node/fastify_app.js",
];

/// Name of a build, release of the toolchain on PyPI (`None`: the one that the tests have), and flags of the linker.
const GO: &[(&str, Option<&str>, &str)] =
    &[("1.21", Some("1.21.13"), ""), ("1.27", None, ""), ("1.27-stripped", None, "-s -w")];
const GO_DOWNSTREAM: &str = "1.27";

/// The Go app by each toolchain, and the service that all apps call.
fn go() -> Result<()> {
    let folder = root().join("tests/apps/accuracy/go");
    let source = |name: &str| fs::read_to_string(folder.join(name).join("main.go"));
    let pins = format!("{GO:?}\n{}{}", source("server")?, source("downstream")?);
    Part::new("accuracy/go").install(&pins, |directory| {
        for (name, release, flags) in GO {
            let compiler = match release {
                Some(release) => go_toolchain(name, release)?,
                None => newest_go(),
            };
            fs::create_dir_all(directory.join(name))?;
            go_build(&compiler, &folder, &["-ldflags", flags], &directory.join(name), "./...")?;
        }
        let downstream = directory.join(GO_DOWNSTREAM).join("downstream");
        fs::copy(&downstream, directory.join("downstream")).map(drop).with_context(|| downstream.display().to_string())
    })
}

/// The tokio app: a crate of its own, by its own lock file.
fn rust() -> Result<()> {
    let folder = root().join("tests/apps/accuracy/rust");
    let read = |name: &str| fs::read_to_string(folder.join(name));
    Part::new("accuracy/rust").install(&format!("{}{}", read("Cargo.lock")?, read("src/main.rs")?), |directory| {
        let built = target().join("rig/accuracy-target");
        let mut build = cargo();
        build.args(["build", "--quiet", "--release", "--locked", "--target-dir"]).arg(&built).current_dir(&folder);
        run(&mut build)?;
        let executable = "accuracy-axum";
        Ok(fs::copy(built.join("release").join(executable), directory.join(executable)).map(drop)?)
    })
}
