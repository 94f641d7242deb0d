//! Greenlets of gevent share a thread: each works for the request that it has read, and one that begins where another's
//! stack was has nothing of what that one carried.

use crate::need::needs_root;
use anyhow::{Context, Result, ensure};
use rig::{Address, Agent, App, Client, Process, Receiver, Service, Span, paths, wait};
use std::process::Command;
use std::thread;

const AT_ONCE: usize = 8;
/// Of each worker, by turns those that are answered by who read them and others.
const REQUESTS: usize = 30;

fn start(next: &Service) -> Result<(Process, Address)> {
    let Address::Tcp(called) = next.address else { anyhow::bail!("{} is no port", next.address) };
    let address = Address::loopback()?;
    let mut command = Command::new(paths::installed("venv/bin/python")?);
    command.arg(paths::app("gevent_app.py")).env("HOST", "127.0.0.1").env("PORT", address.port().to_string());
    command.env("NEXT_HOST", called.ip().to_string()).env("NEXT_PORT", called.port().to_string());
    let process = Process::start("gevent_app", &command)?;
    wait::until("the service to listen", || address.answers().then_some(()))?;
    Ok((process, address))
}

fn ask(address: &Address, worker: usize) -> Result<()> {
    for request in 0..REQUESTS {
        let page = if request % 2 == 0 { "own" } else { "left" };
        let path = format!("/{page}/{}", worker * REQUESTS + request);
        let answer = Client::connect(address)?.get(&path)?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
    }
    Ok(())
}

fn number<'s>(span: &'s Span, key: &str) -> &'s str {
    span.text(key).rsplit('/').next().unwrap_or_default()
}

/// Every `/size/N` is a call of `/own/N`, and everything else is nobody's.
fn check(requests: &[Span], calls: &[Span]) -> Result<()> {
    let (own, stray): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.text("url.full").contains("/size/"));
    ensure!(own.len() == AT_ONCE * REQUESTS / 2 && stray.len() > AT_ONCE, "{} and {} calls", own.len(), stray.len());
    for call in own {
        let asked = |request: &&Span| number(request, "url.path") == number(call, "url.full");
        let request = requests.iter().find(asked).with_context(|| format!("no request for {call:#?}"))?;
        ensure!(call.is_child_of(request), "{call:#?} is not the child of {request:#?}");
    }
    let wrong = stray.iter().find(|call| !call.parent_span_id.is_empty());
    ensure!(wrong.is_none(), "somebody's call has a parent: {wrong:#?}");
    Ok(())
}

#[test]
fn each_works_for_the_request_that_it_has_read() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start()?;
    let next = Service::start(App::Go)?;
    let (app, address) = start(&next)?;
    let mut agent = Agent::start(&receiver)?;
    agent.wait_for(app.pid())?;
    thread::scope(|scope| {
        let address = &address;
        let workers: Vec<_> = (0..AT_ONCE).map(|worker| scope.spawn(move || ask(address, worker))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
    })?;
    let pid = [app.pid()];
    let requests = receiver.wait_spans(AT_ONCE * REQUESTS, |span| span.serves(&pid))?;
    let own = |span: &Span| span.calls(&pid) && span.text("url.full").contains("/size/");
    receiver.wait_spans(AT_ONCE * REQUESTS / 2, own)?;
    check(&requests, &receiver.spans(|span| span.calls(&pid)))?;
    agent.stop().map(drop)
}
