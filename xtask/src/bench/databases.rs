//! Commands and transactions per second of databases under full load, without and with the agent.

use super::Bench;
use super::report::Table;
use anyhow::{Context, Result, ensure};
use rig::database::{PASSWORD, postgres_program};
use rig::process::output;
use rig::{Database, Server, Transport};
use std::process::Command;
use std::time::Duration;

const CONNECTIONS: u32 = 16;
/// Commands of one run of redis-benchmark for each second that it should last, about; it knows no seconds.
const COMMANDS_PER_SECOND: u32 = 60_000;
/// What is to be shown of an excluded service is less than what one round differs from the next.
const ROUNDS_EXCLUDED: usize = 16;
/// The fastest of these runs in each round counts: the rest had company on their CPU.
const SHARES: u32 = 5;
/// In which the processes of connections that were closed have ended.
const ENDS: Duration = Duration::from_millis(200);

pub(super) fn measure(bench: &Bench, table: &mut Table) -> Result<()> {
    let redis = Database::start(Server::Redis)?;
    for depth in [1, 16] {
        let commands = bench.seconds * COMMANDS_PER_SECOND * if depth > 1 { 6 } else { 1 };
        let rates = bench.off_on(|| redis_benchmark(&redis, commands, depth))?;
        table.rate(&format!("commands/s, Redis, {depth} at once"), &rates);
    }
    for depth in [1, 16] {
        let commands = bench.seconds * COMMANDS_PER_SECOND / SHARES * if depth > 1 { 6 } else { 1 };
        let run = || redis_benchmark(&redis, commands, depth).map(|_| f64::from(commands));
        let what = format!("commands/s of the server's CPU, Redis, {depth} at once, excluded");
        excluded(bench, "redis-server", &what, table, run, || thread_seconds(&redis))?;
    }
    drop(redis);
    let postgres = Database::start(Server::Postgres)?;
    for protocol in ["simple", "extended", "prepared"] {
        let rates = bench.off_on(|| pgbench(&postgres, bench.seconds, protocol, RATE))?;
        table.rate(&format!("transactions/s, PostgreSQL, {protocol}"), &rates);
    }
    let run = || pgbench(&postgres, 1, "prepared", COUNT);
    let what = "transactions/s of the server's CPU, PostgreSQL, prepared, excluded";
    excluded(bench, "postgres", what, table, run, || children_seconds(&postgres))
}

/// What a server that is to be ignored costs shows in its own CPU time, in seconds, whatever its client and the machine do meanwhile. `run`
/// returns how much it has done.
fn excluded(
    bench: &Bench,
    executable: &str,
    what: &str,
    table: &mut Table,
    run: impl Fn() -> Result<f64>,
    cpu_seconds: impl Fn() -> Result<f64>,
) -> Result<()> {
    let options = bench.options().arguments(&["--exclude-exe", executable]);
    let per_cpu_second = || -> Result<f64> {
        let before = cpu_seconds()?;
        let done = run()?;
        Ok(done / (cpu_seconds()? - before))
    };
    let fastest = || (0..SHARES).try_fold(0.0, |best, _| Ok(f64::max(best, per_cpu_second()?)));
    let rates = bench.off_on_with(&options, ROUNDS_EXCLUDED, fastest)?;
    table.median_rate(what, &rates);
    Ok(())
}

/// Time that the thread which serves commands has run.
fn thread_seconds(redis: &Database) -> Result<f64> {
    let schedstat = std::fs::read_to_string(format!("/proc/{}/schedstat", redis.pid()))?;
    let ns: f64 = schedstat.split_whitespace().next().context("the kernel keeps schedstat")?.parse()?;
    Ok(ns / 1e9)
}

/// Time that the server's processes have run which are over: one for each connection, which ends with it.
fn children_seconds(postgres: &Database) -> Result<f64> {
    std::thread::sleep(ENDS);
    let stat = procfs::process::Process::new(postgres.pid().try_into()?)?.stat()?;
    Ok((stat.cutime + stat.cstime) as f64 / procfs::ticks_per_second() as f64)
}

/// GETs per second.
fn redis_benchmark(redis: &Database, commands: u32, depth: u32) -> Result<f64> {
    let port = redis.port(Transport::Tcp).context("Redis listens on TCP")?.to_string();
    let (commands, connections, depth) = (commands.to_string(), CONNECTIONS.to_string(), depth.to_string());
    let numbers = ["-p", &port, "-n", &commands, "-c", &connections, "-P", &depth];
    let report = output("redis-benchmark", numbers.into_iter().chain(["-a", PASSWORD, "-t", "get", "--csv"]))?;
    let line = report.lines().find(|line| line.starts_with("\"GET\""));
    let rate = line.and_then(|line| line.split(',').nth(1)?.trim_matches('"').parse().ok());
    rate.with_context(|| format!("redis-benchmark: {report}"))
}

/// What pgbench reports: transactions per second, and all of them.
const RATE: &str = "tps = ";
const COUNT: &str = "transactions actually processed: ";

/// Transactions of one SELECT: what is reported behind `name`.
fn pgbench(postgres: &Database, seconds: u32, protocol: &str, name: &str) -> Result<f64> {
    let mut pgbench = Command::new(postgres_program("pgbench")?);
    let (connections, seconds) = (CONNECTIONS.to_string(), seconds.to_string());
    pgbench.args(["--no-vacuum", "--protocol", protocol, "--client", &connections, "--time", &seconds, "--file"]);
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(script.path(), "SELECT name FROM customers WHERE id = 1;\n")?;
    let result = pgbench.arg(script.path()).envs(postgres.environment(Transport::Tcp)?).output()?;
    let report = String::from_utf8_lossy(&result.stdout).into_owned();
    ensure!(result.status.success(), "pgbench: {report}{}", String::from_utf8_lossy(&result.stderr));
    let value = report.split_once(name).and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    value.with_context(|| format!("pgbench: {report}"))
}
