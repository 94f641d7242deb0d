//! What is no HTTP inside of TLS: no span, no harm.

use crate::need::needs_root;
use anyhow::{Context, Result};
use rig::agent::Options;
use rig::{Address, Authority, Client, Postgres, Process, Receiver, paths};
use std::process::Command;

const QUERIES: usize = 20;

/// `tests/apps/postgres_app.py`: HTTP in front, PostgreSQL's protocol inside of TLS behind, by the libssl of a wheel.
fn app(database: &Postgres) -> Result<(Process, Address)> {
    let address = Address::loopback()?;
    let mut command = Command::new(paths::installed("venv/bin/python")?);
    command.arg(paths::app("postgres_app.py")).env("DATABASE", database.conninfo());
    command.env("HOST", "127.0.0.1").env("PORT", address.port().to_string());
    let mut process = Process::start("postgres_app", &command)?;
    process.wait_until("to accept connections", |_| address.answers())?;
    Ok((process, address))
}

/// Is the library inside the wheel, and not the system's, what the process uses?
fn bundled_libssl(pid: u32) -> Result<bool> {
    Ok(std::fs::read_to_string(format!("/proc/{pid}/maps"))?.contains("psycopg_binary.libs/libssl"))
}

fn postgres(older: bool) -> Result<()> {
    let (mut receiver, authority) = (Receiver::start()?, Authority::new()?);
    let database = Postgres::start_tls(&authority)?;
    let early = if older { Some(app(&database)?) } else { None };
    let agent = Options::new().arguments(&["--stats"]).grpc(&receiver).start()?;
    let (process, address) = early.map_or_else(|| app(&database), Ok)?;
    assert!(bundled_libssl(process.pid())?, "the test wants a library from a wheel");
    let mut client = Client::connect(&address)?;
    for number in 0..QUERIES {
        assert_eq!(client.get(&format!("/query/{number}"))?.text(), format!("{number} True"));
    }
    receiver.wait_spans(QUERIES, |span| span.serves(&[process.pid()]))?;
    let stopped = agent.stop()?;
    receiver.catch_up()?;
    let pids = [process.pid(), database.pid()];
    let spans = receiver.spans(|span| pids.contains(&span.pid()));
    assert!(spans.iter().all(|span| span.serves(&[process.pid()])), "spans of PostgreSQL's protocol: {spans:#?}");
    assert_eq!(spans.len(), QUERIES, "{spans:#?}");
    let unknown = *stopped.counters().get("connections.unknown_protocol").context("no such counter")?;
    // The client's end. (The collector's own gRPC was counted as well while nobody read HTTP/2.)
    assert!(unknown >= 1, "{unknown}\n{}", stopped.stderr);
    Ok(())
}

#[test]
fn postgresql_that_is_older_than_the_agent() -> Result<()> {
    needs_root!();
    postgres(true)
}

#[test]
fn postgresql_that_connects_under_the_agent() -> Result<()> {
    needs_root!();
    postgres(false)
}
