//! An agent that comes to connections in use: what it cannot know it calls unknown, and nothing by a wrong name.

use super::watching;
use crate::load::now_ns;
use crate::need::needs_root;
use anyhow::Result;
use rig::caller::Http2Library;
use rig::{App, Caller, Receiver, Service, Span};
use serde_json::{Value, json};

/// Requests that the agent does not see.
const BEFORE: usize = 1_000;
/// Requests that it sees.
const AFTER: usize = 100;
/// Of the names that were asked for before, which are in the tables of both ends, these are asked for again, and as many
/// others.
const OLD: usize = 10;
const UNKNOWN: &str = "<unknown>";

/// A request, its name, and when it was on its way.
struct Asked {
    name: String,
    from_ns: u64,
    to_ns: u64,
}

/// What the spans of one end say of the requests.
#[derive(Debug, Default)]
struct Shares {
    right: usize,
    unknown: usize,
    missing: usize,
}

impl Shares {
    fn of(asked: &[Asked], spans: &[Span], name: impl Fn(&Span) -> String) -> Self {
        let mut shares = Self::default();
        for request in asked {
            let mut starting = spans.iter().filter(|s| (request.from_ns..request.to_ns).contains(&s.start_unix_ns));
            match starting.next() {
                None => shares.missing += 1,
                Some(span) if name(span) == UNKNOWN => shares.unknown += 1,
                Some(span) => {
                    assert_eq!(name(span), request.name, "a wrong name: {span:#?}");
                    shares.right += 1;
                }
            }
            assert!(starting.next().is_none(), "two spans for {}", request.name);
        }
        shares
    }

    /// Most is known, in spite of what was there before.
    fn check(&self) {
        assert!(self.missing <= AFTER / 10 && self.right >= AFTER / 3, "{self:?}");
    }
}

/// `request`: name and line of the request with this number.
fn joined(
    app: App,
    library: Http2Library,
    request: impl Fn(&Service, usize) -> (String, Value),
    name: impl Fn(&Span) -> String,
) -> Result<()> {
    let mut receiver = Receiver::start()?;
    let service = Service::start(app)?;
    let mut caller = Caller::start_http2(library, None)?;
    let before: Vec<_> = (0..BEFORE).map(|n| request(&service, n % (2 * OLD)).1).collect();
    caller.ask_all::<Value>(&before)?;
    let (client, servers) = ([caller.pid()], service.pids()?);
    let agent = watching(&receiver, &servers, std::slice::from_ref(&caller))?;
    let mut asked = Vec::new();
    for n in 0..AFTER {
        let (name, line) = request(&service, OLD + n % (2 * OLD));
        let from_ns = now_ns()?;
        caller.ask::<Value>(line)?;
        asked.push(Asked { name, from_ns, to_ns: now_ns()? });
    }
    agent.stop()?;
    receiver.catch_up()?;
    let calls = Shares::of(&asked, &receiver.spans(|span| span.calls(&client)), &name);
    let requests = Shares::of(&asked, &receiver.spans(|span| span.serves(&servers)), &name);
    println!("{library:?} to {app:?}, of {AFTER}: client {calls:?}, server {requests:?}");
    calls.check();
    requests.check();
    Ok(())
}

fn http(app: App, library: Http2Library) -> Result<()> {
    let request = |service: &Service, n: usize| {
        let path = format!("/size/{n}");
        let line = json!({"method": "GET", "url": service.url(&path)});
        (path, line)
    };
    joined(app, library, request, path)
}

/// The path of a span of either end.
fn path(span: &Span) -> String {
    let path = match span.text("url.path") {
        "" => span.text("url.full").splitn(4, '/').nth(3).unwrap_or_default(),
        path => path,
    };
    if path.contains(UNKNOWN) { UNKNOWN.to_owned() } else { format!("/{}", path.trim_start_matches('/')) }
}

fn grpc(app: App, library: Http2Library) -> Result<()> {
    let request = |service: &Service, n: usize| {
        // The last is new to the agent.
        let (kind, method) = [("unary", "Unary"), ("server", "ServerStream"), ("client", "ClientStream")][n / OLD];
        let address = service.address.to_string();
        let line = json!({"address": address, "kind": kind, "method": method, "messages": ["1"]});
        (format!("/autospan.test.Echo/{method}"), line)
    };
    joined(app, library, request, |span| match span.text("rpc.method") {
        // What says that it is gRPC is not known.
        "" => path(span),
        UNKNOWN => UNKNOWN.to_owned(),
        method => format!("/{method}"),
    })
}

#[test]
fn go_to_go() -> Result<()> {
    needs_root!();
    http(App::GoHttp2, Http2Library::Go)
}

#[test]
fn httpx_to_hypercorn() -> Result<()> {
    needs_root!();
    http(App::Hypercorn, Http2Library::Httpx)
}

#[test]
fn node_to_node() -> Result<()> {
    needs_root!();
    http(App::NodeHttp2, Http2Library::Node)
}

#[test]
fn grpc_python_to_node() -> Result<()> {
    needs_root!();
    grpc(App::GrpcNode, Http2Library::GrpcThreads)
}

#[test]
fn grpc_go_to_go() -> Result<()> {
    needs_root!();
    grpc(App::GrpcGo, Http2Library::GrpcGo)
}

#[test]
fn grpc_node_to_python() -> Result<()> {
    needs_root!();
    grpc(App::GrpcAsyncio, Http2Library::GrpcNode)
}
