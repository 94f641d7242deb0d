//! Every chore of the repository: `cargo xtask …`.

mod accuracy;
mod bench;
mod build_ebpf;
mod demo;
mod docs;
mod fuzz;
mod golden;
mod program;
mod setup;
mod simulate;
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
    /// Writes the reference tables, or compares them with the code.
    Docs(docs::Args),
    /// Installs what the tests, the demo and the benchmark need.
    Setup(setup::Args),
    /// Everything that must hold.
    Test(test::Args),
    /// A few real services with gentle traffic, and the agent watching them.
    Demo(demo::Args),
    /// What the agent costs, beside its budgets.
    Bench(bench::Args),
    /// How many calls of real apps get their right parent, a wrong one, or none.
    Accuracy(accuracy::Args),
    /// Bends inputs until something breaks: each fuzz target for some minutes.
    Fuzz(fuzz::Args),
    /// Worlds of services from seeds, with faults: no call may get a wrong parent.
    Simulate(simulate::Args),
    /// Writes the expectations of all goldens anew, or has them judged by Wireshark.
    Golden(golden::Args),
    /// Rules about the repository that no compiler checks.
    Tidy,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::BuildEbpf(args) => build_ebpf::run(&args),
        Command::Docs(args) => docs::docs(&args),
        Command::Setup(args) => setup::install_for_tests(&args),
        Command::Test(args) => test::test(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Accuracy(args) => accuracy::accuracy(&args),
        Command::Fuzz(args) => fuzz::fuzz(&args),
        Command::Simulate(args) => simulate::simulate(&args),
        Command::Golden(args) => golden::golden(&args),
        Command::Tidy => tidy::check(),
    }
}

/// Root of the repository.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}
