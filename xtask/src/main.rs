//! Every chore of the repository: `cargo xtask …`.

mod build_ebpf;
mod program;
mod setup;
mod test;
mod tidy;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Every chore of the repository", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds the kernel programs into agent/bpf/, or compares what is there with a fresh build.
    BuildEbpf(build_ebpf::Args),
    /// Installs what the tests, the demo and the benchmark need.
    Setup(setup::Args),
    /// Everything that must hold.
    Test(test::Args),
    /// Rules about the repository that no compiler checks.
    Tidy,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::BuildEbpf(args) => build_ebpf::run(&args),
        Command::Setup(args) => setup::install(&args),
        Command::Test(args) => test::test(&args),
        Command::Tidy => tidy::check(),
    }
}

/// Root of the repository.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}
