//! The two toolchains that build for `bpfel-unknown-none`: Debian's rustc-web, which ships a core library for it, and
//! rustup's nightly, which builds one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::succeed;

/// LLVM release that Debian's rustc-web is built with; the linker must read its bitcode.
const DEBIAN_LLVM: &str = "22";
const DEBIAN_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none";
const DEBIAN_PACKAGES: [&str; 7] =
    ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf", "llvm-22", "llvm-22-dev", "libpolly-22-dev", "libzstd-dev"];
const BPF_LINKER_VERSION: &str = "0.13.0";

const MISSING: &str = "no toolchain for BPF found. Either of these works:
  Debian:  cargo xtask build-ebpf --install
           (as root; needs the -security suite: rustc-web, libstd-rust-web-dev-bpf, llvm-22, bpf-linker)
  rustup:  rustup toolchain install nightly --component rust-src && cargo install bpf-linker && apt install llvm
The committed object in agent/bpf/ needs none of them.";

#[derive(Debug)]
pub(crate) struct Toolchain {
    kind: Kind,
    linker: PathBuf,
    objcopy: PathBuf,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Debian,
    Nightly,
}

impl Toolchain {
    pub(crate) fn find_or_install(install: bool) -> Result<Self> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        ensure!(install, MISSING);
        install_debian()?;
        Self::find().context("the toolchain was installed, but its parts are not where they were expected")
    }

    fn find() -> Option<Self> {
        let linker = in_path("bpf-linker")?;
        let objcopy = objcopy()?;
        let kind = if debian_is_there() {
            Kind::Debian
        } else if nightly_is_there() {
            Kind::Nightly
        } else {
            return None;
        };
        Some(Self { kind, linker, objcopy })
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Debian => "Debian's rustc-web",
            Kind::Nightly => "rustup's nightly",
        }
    }

    /// `cargo` of the toolchain, ready for its subcommand.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = match self.kind {
            Kind::Debian => debian_cargo(),
            Kind::Nightly => nightly("cargo"),
        };
        // Inherited from the cargo that runs us; they would redirect the inner one.
        for name in ["RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
            command.env_remove(name);
        }
        command.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker);
        command
    }

    pub(crate) fn cargo_flags(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Debian => &[],
            Kind::Nightly => &["-Zbuild-std=core"],
        }
    }

    pub(crate) fn objcopy(&self) -> &Path {
        &self.objcopy
    }

    /// One line per tool that has a say in the object's bytes.
    pub(crate) fn versions(&self) -> Result<String> {
        let rustc = match self.kind {
            Kind::Debian => first_line(Command::new("/usr/bin/rustc").arg("--version"))?,
            Kind::Nightly => first_line(nightly("rustc").arg("--version"))?,
        };
        let linker = first_line(Command::new(&self.linker).arg("--version"))?;
        Ok(format!("{rustc}\n{linker}\n"))
    }
}

fn debian_cargo() -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    // rustc-web is a stable compiler; the target needs inline assembly that is not.
    command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
    command
}

fn nightly(tool: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", tool]).env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC").env_remove("CARGO");
    command
}

fn debian_is_there() -> bool {
    [DEBIAN_CORE, "/usr/bin/rustc", "/usr/bin/cargo"].iter().all(|path| Path::new(path).exists())
}

fn nightly_is_there() -> bool {
    let Ok(sysroot) = first_line(nightly("rustc").args(["--print", "sysroot"])) else { return false };
    Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").exists()
}

/// `llvm-objcopy` of any recent LLVM.
fn objcopy() -> Option<PathBuf> {
    let versioned = (15..=30).rev().map(|version| PathBuf::from(format!("/usr/lib/llvm-{version}/bin/llvm-objcopy")));
    in_path("llvm-objcopy").or_else(|| versioned.into_iter().find(|path| path.exists()))
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let home = std::env::home_dir().map(|home| home.join(".cargo/bin"));
    std::env::split_paths(&path).chain(home).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn first_line(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{} failed: {}", command.get_program().display(), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

fn install_debian() -> Result<()> {
    if in_path("apt-get").is_none() {
        bail!(MISSING);
    }
    let mut apt = Command::new("apt-get");
    apt.args(["install", "--yes", "--no-install-recommends"]).args(DEBIAN_PACKAGES);
    succeed(Command::new("apt-get").args(["update", "--quiet"]))?;
    succeed(apt.env("DEBIAN_FRONTEND", "noninteractive"))?;
    install_linker()
}

/// The linker is built against the LLVM that made the compiler, by whichever cargo is the default one.
fn install_linker() -> Result<()> {
    if in_path("bpf-linker").is_some() {
        return Ok(());
    }
    let prefix = format!("/usr/lib/llvm-{DEBIAN_LLVM}");
    let mut cargo = Command::new("cargo");
    cargo.args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked"]);
    cargo.args(["--no-default-features", "--features", &format!("llvm-{DEBIAN_LLVM}")]);
    cargo.env("LLVM_PREFIX", &prefix).env("LLVM_SYS_221_PREFIX", &prefix);
    succeed(&mut cargo)
}
