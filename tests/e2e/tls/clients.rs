//! Clients that serve nothing and are traced because they were named.

use super::{check_pair, check_tls};
use crate::need::needs_root;
use anyhow::{Context, Result};
use rig::agent::Options;
use rig::caller::Library;
use rig::{App, Authority, Caller, Interpreter, Process, Receiver, Service, Span, wait};
use std::process::Command;

/// An agent that watches the service and the client with this pid.
fn watching(receiver: &Receiver, service: &Service, client: u32) -> Options {
    let pids = [service.pid(), client].map(|pid| pid.to_string());
    Options::new().arguments(&["--pid", &pids[0], "--pid", &pids[1]]).grpc(receiver)
}

/// Three calls on a kept connection by a client that is older than the agent.
fn library(library: Library) -> Result<()> {
    library_by(Interpreter::Debian, library)
}

/// The same by this interpreter.
pub(super) fn library_by(interpreter: Interpreter, library: Library) -> Result<()> {
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let service = Service::start_tls(App::NodeHttp, &authority)?;
    let mut caller = Caller::start(library, interpreter, &authority)?;
    let agent = watching(&receiver, &service, caller.pid()).start()?;
    for size in 1..=3 {
        let path = format!("/size/{size}");
        let answer = caller.get(&service.url(&path))?;
        let server = served(&receiver, &service, &path)?;
        let call = receiver.wait_spans(size, |span| span.calls(&[caller.pid()]))?.swap_remove(size - 1);
        assert_eq!((answer.status, answer.bytes), (200, size));
        assert!(call.text("url.full").ends_with(&path) && call.parent_span_id.is_empty(), "{call:#?}");
        assert_eq!(call.number("http.response.status_code"), Some(200), "{call:#?}");
        check_pair(&call, &server);
        assert!(answer.port == 0 || server.number("client.port") == Some(answer.port.into()), "{answer:?} {server:#?}");
    }
    agent.stop().map(drop)
}

fn served(receiver: &Receiver, service: &Service, path: &str) -> Result<Span> {
    let is_it = |span: &Span| span.serves(&[service.pid()]) && span.text("url.path") == path;
    Ok(receiver.wait_spans(1, is_it)?.swap_remove(0))
}

#[test]
fn requests() -> Result<()> {
    needs_root!();
    library(Library::Requests)
}

#[test]
fn httpx() -> Result<()> {
    needs_root!();
    library(Library::Httpx)
}

#[test]
fn aiohttp() -> Result<()> {
    needs_root!();
    library(Library::Aiohttp)
}

#[test]
fn pycurl_with_gnutls() -> Result<()> {
    needs_root!();
    library(Library::Pycurl)
}

/// curl reads what to do from its standard input, so it can be there before the agent and call after it.
#[test]
fn curl_with_openssl() -> Result<()> {
    needs_root!();
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let service = Service::start_tls(App::NodeHttp, &authority)?;
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--http1.1", "--config", "-"]).envs(authority.trust());
    command.args(["--write-out", "%{local_port}\n"]);
    let mut curl = Process::start("curl", &command)?;
    let agent = watching(&receiver, &service, curl.pid()).start()?;
    for path in ["/size/1", "/size/2"] {
        curl.input(&format!("url = {}\noutput = /dev/null\n", service.url(path)))?;
    }
    curl.end_of_input();
    assert!(curl.wait()?.success(), "{}", curl.logs());
    let port: i64 = curl.stdout().lines().next().context("no port")?.parse()?;
    for path in ["/size/1", "/size/2"] {
        let server = served(&receiver, &service, path)?;
        let is_call = |span: &Span| span.calls(&[curl.pid()]) && span.text("url.full").ends_with(path);
        let call = receiver.wait_spans(1, is_call)?.swap_remove(0);
        check_pair(&call, &server);
        assert_eq!(server.number("client.port"), Some(port), "{server:#?}");
    }
    agent.stop().map(drop)
}

/// A program that starts under a running agent, and the first with its library: once its calls are seen, all are.
#[test]
fn gnutls_cli_that_is_younger_than_the_agent() -> Result<()> {
    needs_root!();
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let service = Service::start_tls(App::Go, &authority)?;
    let port = service.port().to_string();
    let agent = Options::new().arguments(&["--exe", "gnutls-cli", "--port", &port]).grpc(&receiver).start()?;
    let mut command = Command::new("gnutls-cli");
    command.arg("--x509cafile").arg(authority.file("ca.pem")).args(["--port", &port, "127.0.0.1"]);
    let mut client = Process::start("gnutls-cli", &command)?;
    let mut sent = 0;
    let mut get = |client: &mut Process| -> Result<()> {
        sent += 1;
        // It may take more calls than there are codes of success until the first is seen.
        let code = 200 + sent % 100;
        client.input(&format!("GET /status/{code} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"))?;
        client.wait_until("to be answered", |client| client.stdout().matches("HTTP/1.1 2").count() == sent)
    };
    let pid = client.pid();
    let calls = |receiver: &Receiver| receiver.spans(|span| span.calls(&[pid]));
    wait::until("the first call that is seen", || {
        get(&mut client).ok()?;
        (!calls(&receiver).is_empty()).then_some(())
    })?;
    let before = calls(&receiver).len();
    (0..3).try_for_each(|_| get(&mut client))?;
    let calls = receiver.wait_spans(before + 3, |span| span.calls(&[pid]))?;
    for call in &calls {
        let path = call.text("url.full").strip_prefix("https://127.0.0.1").and_then(|url| url.split_once('/'));
        let (_, path) = path.with_context(|| format!("{call:#?}"))?;
        // The ends of a connection that one end was not seen to open need not be joined, but never wrongly.
        for server in receiver.spans(|span| span.is_child_of(call)) {
            assert!(server.text("url.path").ends_with(path), "{call:#?} {server:#?}");
            check_tls(&server);
        }
    }
    agent.stop().map(drop)
}
