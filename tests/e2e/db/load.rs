//! The servers' own load generators: each command is a span or a counted drop, at the end that is watched.

use crate::load::dropped;
use crate::need::needs_root;
use anyhow::{Result, ensure};
use rig::agent::Options;
use rig::database::{PASSWORD, Server, Transport, postgres_program};
use rig::process::output;
use rig::{Database, Kind, Process, Receiver, paths};
use std::collections::BTreeMap;
use std::process::Command;

const CLIENTS: u64 = 8;

/// Which end the agent watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Server,
    /// The load generator, from its first instruction on: the agent watches the shell that becomes it.
    Client,
}

/// A shell that waits for a line and then becomes `command`.
fn waiting(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "read go && exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

/// Runs `load`; of what it printed, `count` makes how many spans of each operation there must be.
fn full_speed(
    database: &Database,
    end: End,
    load: &Command,
    count: impl FnOnce(&str) -> Result<BTreeMap<String, u64>>,
) -> Result<()> {
    let mut receiver = Receiver::start()?;
    let mut load = Process::start("load", &waiting(load))?;
    let (port, pid) = (database.address.port().to_string(), load.pid().to_string());
    let watched = match end {
        End::Server => ["--port", &port],
        End::Client => ["--pid", &pid],
    };
    let mut agent = Options::new().arguments(&["--stats"]).arguments(&watched).grpc(&receiver).start()?;
    if end == End::Client {
        agent.wait_for(load.pid())?;
    }
    load.input("\n")?;
    ensure!(load.wait()?.success(), "{}", load.logs());
    println!("{}", load.stdout());
    let expected = count(&load.stdout())?;
    let stopped = agent.stop()?;
    receiver.catch_up()?;
    let kind = if end == End::Server { Kind::Server } else { Kind::Client };
    let mut made = BTreeMap::<_, u64>::new();
    for span in receiver.spans(|span| span.kind == kind) {
        *made.entry(span.text("db.operation.name").to_owned()).or_default() += 1;
    }
    let dropped = dropped(&stopped);
    println!("{made:?}, {dropped} counted drops");
    for (operation, count) in &made {
        let most = expected.get(operation).copied().unwrap_or_default();
        ensure!(*count <= most, "{count} of {most} spans of {operation}\n{}", stopped.stderr);
    }
    let total = |counts: &BTreeMap<_, u64>| counts.values().sum::<u64>();
    ensure!(total(&made) + dropped == total(&expected), "{made:?} {expected:?} {dropped}\n{}", stopped.stderr);
    ensure!(dropped * 2 < total(&expected), "more is dropped than seen: {dropped} of {}", total(&expected));
    Ok(())
}

const COMMANDS: u64 = 24_000;

/// What redis-cli answers on the unix socket.
fn redis_cli(database: &Database, command: &[&str]) -> Result<String> {
    let socket = database.socket().display().to_string();
    let arguments = ["--no-auth-warning", "-a", PASSWORD, "-s", &socket];
    output("redis-cli", arguments.iter().chain(command))
}

/// How often each command was run, as the server counts them.
fn commands(database: &Database) -> Result<BTreeMap<String, u64>> {
    let statistics = redis_cli(database, &["INFO", "commandstats"])?;
    let line = |line: &str| -> Option<(String, u64)> {
        let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.replace('|', " ").to_uppercase(), numbers.split(',').next()?.parse().ok()?))
    };
    let mut counts: BTreeMap<_, _> = statistics.lines().filter_map(line).collect();
    // A login that goes well is no span.
    counts.remove("AUTH");
    Ok(counts)
}

fn redis(pipeline: u32, end: End) -> Result<()> {
    let database = Database::start(Server::Redis)?;
    let port = database.address.port().to_string();
    let (requests, clients, depth) = ((COMMANDS / 2).to_string(), CLIENTS.to_string(), pipeline.to_string());
    let mut load = Command::new("redis-benchmark");
    load.args(["-p", &port, "-a", PASSWORD, "-n", &requests, "-c", &clients, "-P", &depth, "-t", "set,get", "-q"]);
    full_speed(&database, end, &load, |_| {
        let mut counts = commands(&database)?;
        assert_eq!((counts["SET"], counts["GET"]), (COMMANDS / 2, COMMANDS / 2));
        // redis-cli's own question comes after the count.
        if end == End::Server {
            counts.insert("INFO".to_owned(), 1);
        }
        Ok(counts)
    })
}

#[test]
fn redis_one_command_at_a_time() -> Result<()> {
    needs_root!();
    redis(1, End::Server)
}

#[test]
fn redis_in_pipelines() -> Result<()> {
    needs_root!();
    redis(16, End::Server)
}

#[test]
fn redis_in_pipelines_at_the_client() -> Result<()> {
    needs_root!();
    redis(16, End::Client)
}

const TRANSACTIONS: u64 = 750;

fn pgbench(mode: &str, end: End) -> Result<()> {
    let database = Database::start(Server::Postgres)?;
    let mut load = Command::new(postgres_program("pgbench")?);
    let (clients, transactions) = (CLIENTS.to_string(), TRANSACTIONS.to_string());
    load.args(["--no-vacuum", "--protocol", mode, "--client", &clients, "--transactions", &transactions]);
    load.arg("--file").arg(paths::app("db/pgbench.sql")).envs(database.environment(Transport::Tcp)?);
    full_speed(&database, end, &load, |printed| {
        let all = CLIENTS * TRANSACTIONS;
        ensure!(printed.contains(&format!("processed: {all}/{all}")), "{printed}");
        Ok(["BEGIN", "SELECT", "INSERT", "END"].map(|operation| (operation.to_owned(), all)).into())
    })
}

#[test]
fn postgresql_by_simple_queries() -> Result<()> {
    needs_root!();
    pgbench("simple", End::Server)
}

#[test]
fn postgresql_by_extended_queries() -> Result<()> {
    needs_root!();
    pgbench("extended", End::Server)
}

#[test]
fn postgresql_by_prepared_statements() -> Result<()> {
    needs_root!();
    pgbench("prepared", End::Server)
}

#[test]
fn postgresql_by_prepared_statements_at_the_client() -> Result<()> {
    needs_root!();
    pgbench("prepared", End::Client)
}
