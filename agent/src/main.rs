use anyhow::{Result, anyhow};
use autospan::cli::{Cli, Command, DoctorArgs, KernelArgs, RecordArgs, ReplayArgs, RunArgs, WatchArgs};
use autospan::export::InvalidVariable;
use autospan::replay::{Replayed, replay};
use autospan::run::RunConfig;
use autospan::stats;
use clap::Parser;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use tokio::runtime::Runtime;

/// The command line or an `OTEL_*` variable is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(&cli);
    dispatch(cli).unwrap_or_else(|error| {
        // Errors say their cause themselves.
        eprintln!("error: {error}");
        if error.is::<InvalidVariable>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
    })
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        None => run(&cli.run),
        Some(Command::Record(args)) => record(&args),
        Some(Command::Replay(args)) => show(&args),
        Some(Command::Doctor(args)) => doctor(&args),
    }
}

fn run(args: &RunArgs) -> Result<ExitCode> {
    let config = RunConfig {
        export: Some(args.output.export()?),
        record: None,
        stats: args.output.stats.is_some(),
        stats_interval: args.output.stats_interval(),
        ..watch(&args.watch, &args.kernel)
    };
    trace(config)
}

fn record(args: &RecordArgs) -> Result<ExitCode> {
    let record = Some((args.file.clone(), args.max_bytes));
    trace(RunConfig { record, ..watch(&args.watch, &args.kernel) })
}

fn watch(watch: &WatchArgs, kernel: &KernelArgs) -> RunConfig {
    RunConfig {
        selector: watch.selector(),
        engine: watch.capture.engine(),
        bpf_object: kernel.bpf_object.clone(),
        debug_kernel_log: kernel.debug_kernel_log,
        export: None,
        record: None,
        stats: false,
        stats_interval: None,
    }
}

fn trace(config: RunConfig) -> Result<ExitCode> {
    runtime()?.block_on(autospan::run::run(config))?;
    Ok(ExitCode::SUCCESS)
}

fn doctor(args: &DoctorArgs) -> Result<ExitCode> {
    let report = autospan::doctor::examine(args.kernel.bpf_object.clone());
    // Whoever reads this may have seen enough.
    let _ = std::io::stdout().write_all(report.text.as_bytes());
    Ok(if report.can_trace { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
    let built = builder.worker_threads(1).enable_all().build();
    built.map_err(|error| anyhow!("cannot start the thread that exports spans: {error}"))
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
