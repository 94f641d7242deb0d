//! Early data: a request that comes with the first message of a resumed session, before the handshake is complete.

use crate::need::needs_root;
use anyhow::{Context, Result, ensure};
use rig::nginx::Settings;
use rig::{Address, Agent, Authority, Nginx, Receiver};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Talks to `address` by openssl's own client, which ends when the server does. What it printed.
fn client(address: &Address, arguments: &[&str], files: [&Path; 2], input: &str) -> Result<String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-connect", &format!("127.0.0.1:{}", address.port())]);
    for (argument, file) in arguments.iter().zip(files) {
        command.arg(argument).arg(file);
    }
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    client.stdin.take().context("piped")?.write_all(input.as_bytes())?;
    Ok(String::from_utf8_lossy(&client.wait_with_output()?.stdout).into_owned())
}

fn get(query: &str) -> String {
    format!("GET /hello?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

#[test]
fn a_request_in_early_data() -> Result<()> {
    needs_root!();
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let upstream = Address::loopback()?;
    let nginx = Nginx::start_with(&upstream, Settings { tls: Some(&authority), ..Settings::default() })?;
    let pids = nginx.pids()?;
    let agent = Agent::start(&receiver)?;
    let (session, early) = (authority.file("session.pem"), authority.file("early"));
    fs::write(&early, get("early"))?;
    let first = client(&nginx.address, &["-sess_out"], [&session, &early], &get("first"))?;
    ensure!(first.contains("200 OK") && session.exists(), "{first}");
    let second = client(&nginx.address, &["-sess_in", "-early_data"], [&session, &early], "")?;
    ensure!(second.contains("Early data was accepted") && second.contains("200 OK"), "{second}");
    let spans = receiver.wait_spans(2, |span| span.serves(&pids))?;
    for span in &spans {
        super::check_tls(span);
        assert_eq!(span.number("http.response.status_code"), Some(200), "{span:#?}");
    }
    let ports: Vec<_> = spans.iter().map(|span| span.number("client.port")).collect();
    assert_ne!(ports[0], ports[1], "two connections: {spans:#?}");
    agent.stop().map(drop)
}
