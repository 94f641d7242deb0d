//! Versions, ciphers and resumed sessions.

use crate::need::needs_root;
use anyhow::Result;
use rig::{Agent, App, Authority, Client, Connector, Receiver, Service, tls};

/// Each version, anew and resumed: every span says what its own connection agreed on.
fn sessions(app: App) -> Result<()> {
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let service = Service::start_tls(app, &authority)?;
    let agent = Agent::start(&receiver)?;
    let pids = service.pids()?;
    let mut open = Vec::new();
    for version in [&tls::TLS12, &tls::TLS13] {
        let connector = Connector::with(&authority, &[version])?;
        for _ in 0..2 {
            let mut client = connector.connect(&service.address)?;
            client.get("/hello")?;
            open.push(client);
        }
    }
    assert!(resumed(&open) > 0, "no session was resumed: {open:?}");
    let spans = receiver.wait_spans(open.len(), |span| span.serves(&pids))?;
    for client in &open {
        let session = client.tls().expect("a handshake");
        let of_client = |span: &&rig::Span| span.number("client.port") == Some(client.port().into());
        let span = spans.iter().find(of_client).unwrap_or_else(|| panic!("no span of {client:?}: {spans:#?}"));
        let said = (span.text("tls.protocol.version"), span.text("tls.cipher"));
        assert_eq!(said, (session.version, session.cipher.as_str()), "{session:?}");
    }
    agent.stop().map(drop)
}

fn resumed(clients: &[Client]) -> usize {
    clients.iter().filter(|client| client.tls().is_some_and(|session| session.resumed)).count()
}

#[test]
fn sessions_of_node() -> Result<()> {
    needs_root!();
    sessions(App::NodeHttp)
}

#[test]
fn sessions_of_python() -> Result<()> {
    needs_root!();
    sessions(App::HttpServer)
}

#[test]
fn sessions_of_uvloop() -> Result<()> {
    needs_root!();
    sessions(App::AiohttpUvloop)
}

#[test]
fn sessions_of_go() -> Result<()> {
    needs_root!();
    sessions(App::Go)
}
