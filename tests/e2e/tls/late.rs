//! TLS that comes late: libraries loaded under a running agent, sessions handed to other processes.

use super::check_tls;
use crate::need::needs_root;
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::service::Settings;
use rig::{Address, Agent, App, Authority, Client, Connector, Process, Receiver, Service, Span, paths, wait};
use std::process::Command;

/// `tests/apps/late_tls.py` on two ports.
struct Late {
    plain: Address,
    tls: Address,
    process: Process,
}

impl Late {
    fn start(authority: &Authority) -> Result<Self> {
        let (plain, tls) = (Address::loopback()?, Address::loopback()?);
        let mut command = Command::new(paths::installed("venv/bin/python")?);
        command.arg(paths::app("late_tls.py")).env("HOST", "127.0.0.1").env("PORT", plain.port().to_string());
        command.env("TLS_PORT", tls.port().to_string());
        command.env("TLS_CERTIFICATE", authority.file("server.pem")).env("TLS_KEY", authority.file("server.key"));
        let mut process = Process::start("late_tls", &command)?;
        process.wait_until("to accept connections", |_| plain.answers())?;
        Ok(Self { plain, tls, process })
    }

    fn maps_libssl(&self) -> Result<bool> {
        Ok(std::fs::read_to_string(format!("/proc/{}/maps", self.process.pid()))?.contains("libssl"))
    }
}

#[test]
fn a_library_that_is_loaded_under_the_agent() -> Result<()> {
    needs_root!();
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let late = Late::start(&authority)?;
    let agent = Agent::start(&receiver)?;
    let pids = [late.process.pid()];
    let mut plain = Client::connect(&late.plain)?;
    plain.get("/hello")?;
    assert!(!late.maps_libssl()?, "the test wants a process without TLS");
    plain.get("/later")?;
    assert!(late.maps_libssl()?, "the test wants a process with TLS");
    receiver.wait_spans(2, |span| span.serves(&pids) && span.text("url.scheme") == "http")?;
    let connector = Connector::new(&authority)?;
    let mut old = connector.connect(&late.tls)?;
    let of =
        |receiver: &Receiver, path: &str| receiver.spans(|span| span.serves(&pids) && span.text("url.path") == path);
    // Whether the agent or the first request is faster is not ours to say.
    wait::until("the first span from inside TLS", || {
        old.get("/warm").ok()?;
        (!of(&receiver, "/warm").is_empty()).then_some(())
    })?;
    let mut new = connector.connect(&late.tls)?;
    for (client, path) in [(&mut old, "/old"), (&mut new, "/new")] {
        client.get(path)?;
        let span = receiver.wait_spans(1, |span| span.serves(&pids) && span.text("url.path") == path)?.swap_remove(0);
        assert_eq!(span.number("client.port"), Some(client.port().into()), "{span:#?}");
        assert_eq!(span.text("url.scheme"), "https", "{span:#?}");
    }
    check_tls(&of(&receiver, "/new")[0]);
    agent.stop().map(drop)
}

/// The parent shakes hands, its child goes on with a copy of the session: one child for each connection.
#[test]
fn sessions_that_a_child_inherits() -> Result<()> {
    needs_root!();
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let environment = vec![("FORK", "1".to_owned())];
    let settings = Settings { tls: Some(&authority), environment, ..Settings::default() };
    let service = Service::start_with(App::HttpServer, &settings)?;
    let agent = Agent::start(&receiver)?;
    let mut clients: Vec<Client> = (0..4).map(|_| service.connect()).collect::<Result<_>>()?;
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            let size = 1 + round * 10 + number;
            assert_eq!(client.get(&format!("/size/{size}"))?.body.len(), size);
        }
    }
    let spans = receiver.wait_spans(12, |span| span.text("url.path").starts_with("/size/"))?;
    for round in 0..3 {
        for (number, client) in clients.iter().enumerate() {
            let path = format!("/size/{}", 1 + round * 10 + number);
            let span = spans.iter().find(|span| span.text("url.path") == path).with_context(|| path.clone())?;
            assert_eq!(span.number("client.port"), Some(client.port().into()), "{span:#?}");
            check_tls(span);
        }
    }
    assert_eq!(spans.len(), 12, "{spans:#?}");
    agent.stop().map(drop)
}

/// gunicorn replaces workers that die, by forking one that has the library mapped already.
#[test]
fn a_worker_that_takes_the_place_of_another() -> Result<()> {
    needs_root!();
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let service = Service::start_tls(App::FlaskGthread, &authority)?;
    let agent = Agent::start(&receiver)?;
    let before = service.pids()?;
    for pid in &before[1..] {
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL)?;
    }
    let workers = wait::until("new workers", || {
        let pids = service.pids().ok()?;
        (pids.len() == before.len() && pids[1..].iter().all(|pid| !before.contains(pid))).then_some(pids)
    })?;
    let is_ours = |span: &Span| span.serves(&workers);
    for round in 1..=4 {
        let mut client = service.connect()?;
        client.get("/hello")?;
        let span = receiver.wait_spans(round, is_ours)?.swap_remove(round - 1);
        assert_eq!(span.number("client.port"), Some(client.port().into()), "{span:#?}");
        check_tls(&span);
    }
    agent.stop().map(drop)
}
