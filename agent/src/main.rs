use anyhow::{Context, Result};
use autospan::cli::{Cli, Command, ReplayArgs};
use autospan::export::InvalidVariable;
use autospan::replay::{Replayed, replay};
use autospan::stats;
use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;
use tokio::runtime::Runtime;

/// The command line or an `OTEL_*` variable is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(&cli);
    dispatch(cli).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        if error.is::<InvalidVariable>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
    })
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Some(Command::Replay(args)) => show(&args),
        _ => anyhow::bail!("waits for the kernel side"),
    }
}

fn show(args: &ReplayArgs) -> Result<ExitCode> {
    let export = args.output.export(args.color)?;
    let runtime = runtime()?;
    let replayed = replay(&args.file, args.capture.engine(), export, &runtime)?;
    if args.stats {
        eprint!("{}", stats::table("counters of the replay", &replayed.figures));
    }
    let Replayed { spans, damage, figures } = replayed;
    eprintln!("{}", stats::summary(spans, &figures));
    Ok(match damage {
        Some(damage) => {
            eprintln!("error: {damage}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    })
}

/// The engine runs on the main thread; what is sent and written, on one other.
fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().context("cannot start the threads that export spans")
}

/// Our own lines at the level asked for; those of libraries only when something is wrong.
fn start_log(cli: &Cli) {
    let filter = format!("warn,autospan={}", cli.log.name());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
