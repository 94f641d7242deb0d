//! What nobody reads inside of TLS: no span, no harm.

use crate::need::needs_root;
use anyhow::{Context, Result};
use rig::agent::Options;
use rig::{Address, Authority, Client, Process, Receiver, paths};
use std::process::Command;

const LINES: usize = 20;

/// OpenSSL's own server, which turns lines round.
fn reverse_server(authority: &Authority) -> Result<(Process, Address)> {
    let address = Address::loopback()?;
    let mut command = Command::new("openssl");
    command.args(["s_server", "-rev", "-quiet", "-accept", &format!("127.0.0.1:{}", address.port())]);
    command.arg("-cert").arg(authority.file("server.pem")).arg("-key").arg(authority.file("server.key"));
    let mut process = Process::start("openssl", &command)?;
    process.wait_until("to accept connections", |_| address.answers())?;
    Ok((process, address))
}

/// `tests/apps/reverse_app.py`: HTTP in front, lines inside of TLS behind.
fn app(server: &Address, authority: &Authority) -> Result<(Process, Address)> {
    let address = Address::loopback()?;
    let mut command = Command::new(paths::installed("venv/bin/python")?);
    command.arg(paths::app("reverse_app.py")).env("REVERSE_PORT", server.port().to_string());
    command.env("REVERSE_CA", authority.file("ca.pem"));
    command.env("HOST", "127.0.0.1").env("PORT", address.port().to_string());
    let mut process = Process::start("reverse_app", &command)?;
    process.wait_until("to accept connections", |_| address.answers())?;
    Ok((process, address))
}

fn lines(older: bool) -> Result<()> {
    let (mut receiver, authority) = (Receiver::start()?, Authority::new()?);
    let (server, behind) = reverse_server(&authority)?;
    let early = if older { Some(app(&behind, &authority)?) } else { None };
    let agent = Options::new().arguments(&["--stats"]).grpc(&receiver).start()?;
    let (process, address) = early.map_or_else(|| app(&behind, &authority), Ok)?;
    let mut client = Client::connect(&address)?;
    for number in 0..LINES {
        assert_eq!(client.get(&format!("/reverse/{number}-ecila"))?.text(), format!("alice-{}", reversed(number)));
    }
    receiver.wait_spans(LINES, |span| span.serves(&[process.pid()]))?;
    let stopped = agent.stop()?;
    receiver.catch_up()?;
    let pids = [process.pid(), server.pid()];
    let spans = receiver.spans(|span| pids.contains(&span.pid()));
    assert!(spans.iter().all(|span| span.serves(&[process.pid()])), "spans of lines: {spans:#?}");
    assert_eq!(spans.len(), LINES, "{spans:#?}");
    let unknown = *stopped.counters().get("connections.unknown_protocol").context("no such counter")?;
    // The client's end, at least.
    assert!(unknown >= 1, "{unknown}\n{}", stopped.stderr);
    Ok(())
}

fn reversed(number: usize) -> String {
    number.to_string().chars().rev().collect()
}

#[test]
fn lines_from_a_service_that_is_older_than_the_agent() -> Result<()> {
    needs_root!();
    lines(true)
}

#[test]
fn lines_from_a_service_that_connects_under_the_agent() -> Result<()> {
    needs_root!();
    lines(false)
}
