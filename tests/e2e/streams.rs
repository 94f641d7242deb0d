//! Many requests at once on one HTTP/2 connection, each made for another request: they have their own parents, or none where it
//! cannot be told.

use crate::need::needs_root;
use anyhow::{Context, Result, ensure};
use rig::{Address, Agent, Authority, Client, Process, Receiver, Span, paths, wait};
use std::collections::HashMap;
use std::process::Command;
use std::thread;

const AT_ONCE: usize = 16;
const ROUNDS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum App {
    Go,
    Node,
    /// Its calls are made by `@grpc/grpc-js`.
    GrpcNode,
    /// grpc-go, in all but the first service's server.
    GrpcGo,
    /// grpcio, with blocking calls on threads.
    GrpcThreads,
    /// The same with awaited ones.
    GrpcAsyncio,
}

impl App {
    fn command(self) -> Result<Command> {
        if self == Self::Go {
            return Ok(Command::new(paths::installed("streams/streams_app")?));
        }
        if self == Self::GrpcGo {
            let mut command = Command::new(paths::installed("grpc-go/grpc_app")?);
            command.arg("items");
            return Ok(command);
        }
        if let Self::GrpcThreads | Self::GrpcAsyncio = self {
            let mut command = Command::new(paths::installed("venv/bin/python")?);
            command.arg(paths::app("streams/app.py"));
            if self == Self::GrpcAsyncio {
                command.env("LOOP", "asyncio");
            }
            return Ok(command);
        }
        let mut command = Command::new("node");
        command.arg(paths::app("streams/app.js"));
        if self == Self::GrpcNode {
            command.env("GRPC", "1").env("NODE_PATH", paths::installed("h2-node/node_modules")?);
        }
        Ok(command)
    }
}

struct Service {
    process: Process,
    address: Address,
    url: String,
}

impl Service {
    fn start(app: App, next: Option<&Self>, is_first: bool, authority: Option<&Authority>) -> Result<Self> {
        let address = Address::loopback()?;
        let mut command = app.command()?;
        command.env("HOST", "127.0.0.1").env("PORT", address.port().to_string());
        command.envs(next.map(|next| ("NEXT", &next.url)));
        if !is_first {
            command.env("HTTP2", "1");
        }
        command.envs(authority.into_iter().flat_map(Authority::trust));
        let tls = authority.filter(|_| !is_first);
        if let Some(authority) = tls {
            command.env("TLS_CERTIFICATE", authority.file("server.pem")).env("TLS_KEY", authority.file("server.key"));
        }
        let process = Process::start("streams_app", &command)?;
        wait::until("the service to listen", || address.answers().then_some(()))?;
        let url = if tls.is_some() { address.https("") } else { address.url("") };
        Ok(Self { process, address, url })
    }
}

/// Requests to the first service, by their own number, with the numbers that each service drew for them, first to last.
type Truth = HashMap<String, Vec<String>>;

fn ask(address: &Address, requests: usize) -> Result<Truth> {
    let worker = |worker: usize| {
        let mut client = Client::connect(address)?;
        let ask = |request: usize| {
            let own = format!("{worker}{request:04}");
            let answer = client.get(&format!("/item/{own}"))?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok((own, answer.text().split_whitespace().map(str::to_owned).collect()))
        };
        (0..requests).map(ask).collect::<Result<Vec<_>>>()
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (1..=AT_ONCE).map(|number| scope.spawn(move || worker(number))).collect();
        let answers = workers.into_iter().map(|worker| worker.join().expect("no panic"));
        Ok(answers.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

/// What a request was called with last.
fn number(span: &Span) -> &str {
    let names = ["url.path", "url.full", "rpc.method"].map(|key| span.text(key));
    names.into_iter().find(|name| !name.is_empty()).and_then(|name| name.rsplit('/').next()).unwrap_or_default()
}

/// Every request's calls are its children, one after the other, but for `without` of a hundred calls that may have no parent.
fn check(spans: &[Span], services: &[Service], truth: &Truth, without: usize) -> Result<()> {
    let find = |pid: u32, of: fn(&Span, &[u32]) -> bool, wanted: &str| {
        let mut found = spans.iter().filter(|span| of(span, &[pid]) && number(span) == wanted);
        found.next().with_context(|| format!("{wanted} of {pid} is no span"))
    };
    let (mut right, mut none, mut wrong) = (0, 0, Vec::new());
    for (own, drawn) in truth {
        ensure!(drawn.len() == services.len() - 1, "{own}: {drawn:?}");
        for ((service, request), call) in services.iter().zip([own].into_iter().chain(drawn)).zip(drawn) {
            let pid = service.process.pid();
            let (server, client) = (find(pid, Span::serves, request)?, find(pid, Span::calls, call)?);
            match client.parent_span_id.as_str() {
                "" => none += 1,
                _ if client.is_child_of(server) => right += 1,
                _ => wrong.push((server, client)),
            }
        }
    }
    println!("{right} right, {none} without a parent, {} wrong", wrong.len());
    ensure!(wrong.is_empty(), "wrong parents: {wrong:#?}");
    ensure!(100 * none <= without * (right + none), "{none} of {} have no parent", right + none);
    Ok(())
}

/// Three services: the first is asked by HTTP/1 and calls the second by HTTP/2, which does so as well.
fn services(app: App, authority: Option<&Authority>) -> Result<[Service; 3]> {
    let last = Service::start(app, None, false, authority)?;
    let middle = Service::start(app, Some(&last), false, authority)?;
    let first = Service::start(app, Some(&middle), true, authority)?;
    Ok([first, middle, last])
}

fn every_call_has_its_own_parent(app: App, authority: Option<&Authority>) -> Result<()> {
    measure(&services(app, authority)?, 0)
}

/// Asks the first of some services, each of which calls the next one. Of a hundred calls, `without` may have no parent.
fn measure(services: &[Service], without: usize) -> Result<()> {
    let receiver = Receiver::start()?;
    let mut agent = Agent::start(&receiver)?;
    for service in services {
        agent.wait_for(service.process.pid())?;
    }
    let (first, spans_each) = (&services[0].address, 2 * services.len() - 1);
    let pids: Vec<_> = services.iter().map(|service| service.process.pid()).collect();
    let is_ours = |span: &Span| span.serves(&pids) || span.calls(&pids);
    // Connections are made, and those that are older than the agent are recognised, by requests that do not count.
    ask(first, 2)?;
    receiver.wait_spans(spans_each * 2 * AT_ONCE, is_ours)?;
    receiver.clear();
    let truth = ask(first, ROUNDS)?;
    let spans = receiver.wait_spans(spans_each * ROUNDS * AT_ONCE, is_ours)?;
    check(&spans, services, &truth, without)?;
    agent.stop().map(drop)
}

/// A service that is asked by HTTP/1 calls another one by a single channel of grpcio.
fn calls_by_a_channel_have_their_own_parents(app: App, without: usize) -> Result<()> {
    let last = Service::start(app, None, false, None)?;
    let first = Service::start(app, Some(&last), true, None)?;
    measure(&[first, last], without)
}

#[test]
fn go() -> Result<()> {
    needs_root!();
    every_call_has_its_own_parent(App::Go, None)
}

#[test]
fn go_by_tls() -> Result<()> {
    needs_root!();
    every_call_has_its_own_parent(App::Go, Some(&Authority::new()?))
}

#[test]
fn node() -> Result<()> {
    needs_root!();
    every_call_has_its_own_parent(App::Node, None)
}

#[test]
fn grpc_of_node() -> Result<()> {
    needs_root!();
    every_call_has_its_own_parent(App::GrpcNode, None)
}

#[test]
fn grpc_go() -> Result<()> {
    needs_root!();
    every_call_has_its_own_parent(App::GrpcGo, None)
}

/// What tells who reads them was not seen.
#[test]
fn grpc_go_on_connections_that_are_older_than_the_agent() -> Result<()> {
    needs_root!();
    let services = services(App::GrpcGo, None)?;
    ask(&services[0].address, 1)?;
    measure(&services, 0)
}

#[test]
fn grpc_go_by_tls() -> Result<()> {
    needs_root!();
    every_call_has_its_own_parent(App::GrpcGo, Some(&Authority::new()?))
}

#[test]
fn grpc_of_python() -> Result<()> {
    needs_root!();
    calls_by_a_channel_have_their_own_parents(App::GrpcThreads, 20)
}

#[test]
fn grpc_of_asyncio() -> Result<()> {
    needs_root!();
    calls_by_a_channel_have_their_own_parents(App::GrpcAsyncio, 30)
}
