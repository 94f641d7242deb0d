//! Several services on one host: one trace, without a header on the wire.

use crate::need::needs_root;
use anyhow::{Context, Result};
use rig::{Address, Agent, App, Client, Nginx, Receiver, Service, Span};
use serde_json::Value;

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID: &str = "b7ad6b7169203331";

/// Processes of the services of a chain, first to last.
pub(crate) type Chain = Vec<Vec<u32>>;

/// How one connects to the first service.
pub(crate) type Entry<'a> = dyn Fn() -> Result<Client> + 'a;

/// The spans of one request through the chain, in order, each proven to be the child of the one before:
/// server, client, server, client, …, server.
fn path(spans: &[Span], chain: &Chain) -> Result<Vec<Span>> {
    let first = spans.iter().find(|span| span.serves(&chain[0])).context("no span of the first service")?;
    let mut path = vec![first.clone()];
    for (caller, called) in chain.iter().zip(&chain[1..]) {
        for end in
            [|s: &Span, of: &[u32]| s.calls(of), |s: &Span, of: &[u32]| s.serves(of)].iter().zip([caller, called])
        {
            let parent = &path[path.len() - 1];
            let child = spans.iter().find(|span| end.0(span, end.1) && span.is_child_of(parent));
            path.push(child.with_context(|| format!("no child of {parent:#?} among {spans:#?}"))?.clone());
        }
    }
    Ok(path)
}

/// Sends `headers` with a request through the chain and checks its trace. Returns its spans, first to last.
fn check(receiver: &Receiver, entry: &Entry<'_>, chain: &Chain, headers: &[&str]) -> Result<Vec<Span>> {
    receiver.clear();
    let response = entry()?.get_with("/chain", headers)?;
    assert_eq!(response.status, 200);
    check_headers(&response.text(), headers)?;
    let count = 2 * chain.len() - 1;
    let spans = receiver.wait_spans(count, |span| chain.iter().any(|pids| pids.contains(&span.pid())))?;
    assert_eq!(spans.len(), count, "{spans:#?}");
    path(&spans, chain)
}

/// What arrived at the last service: nothing that was not sent at the first.
fn check_headers(echoed: &str, sent: &[&str]) -> Result<()> {
    let headers: serde_json::Map<String, Value> = serde_json::from_str(echoed)?;
    let arrived = headers.keys().any(|name| name.eq_ignore_ascii_case("traceparent"));
    assert!(!arrived || !sent.is_empty(), "a header on the wire: {echoed}");
    Ok(())
}

/// Two requests of nobody's trace, one of somebody else's. Returns the spans of each, first to last.
pub(crate) fn check_all(receiver: &Receiver, entry: &Entry<'_>, chain: &Chain) -> Result<Vec<Vec<Span>>> {
    let mut paths = Vec::new();
    for _ in 0..2 {
        let path = check(receiver, entry, chain, &[])?;
        assert!(path[0].parent_span_id.is_empty(), "{path:?}");
        paths.push(path);
    }
    let header = format!("traceparent: 00-{TRACE_ID}-{PARENT_ID}-01");
    let path = check(receiver, entry, chain, &[&header, "tracestate: vendor=opaque"])?;
    assert_eq!((path[0].trace_id.as_str(), path[0].parent_span_id.as_str()), (TRACE_ID, PARENT_ID));
    assert_eq!(path[0].trace_state, "vendor=opaque");
    paths.push(path);
    Ok(paths)
}

fn three_services(apps: [App; 3]) -> Result<()> {
    let receiver = Receiver::start()?;
    let last = Service::start(apps[2])?;
    let middle = Service::before(apps[1], &last.address)?;
    let mut agent = Agent::start(&receiver)?;
    // The first is younger than the agent, the others are older.
    let first = Service::before(apps[0], &middle.address)?;
    // A request of its first milliseconds is a span, but its goroutines are not told apart yet.
    agent.wait_for(first.pid())?;
    let chain = [&first, &middle, &last].map(Service::pids).into_iter().collect::<Result<_>>()?;
    check_all(&receiver, &|| first.connect(), &chain)?;
    agent.stop().map(drop)
}

fn behind_nginx(app: App, address: Address) -> Result<()> {
    let receiver = Receiver::start()?;
    let last = Service::start(App::NodeHttp)?;
    let settings =
        rig::service::Settings { address: Some(address), next: Some(last.address.url("/chain")), ..Default::default() };
    let middle = Service::start_with(app, &settings)?;
    let nginx = Nginx::before(&middle.address)?;
    let agent = Agent::start(&receiver)?;
    let chain = vec![nginx.pids()?, middle.pids()?, last.pids()?];
    check_all(&receiver, &|| Client::connect(&nginx.address), &chain)?;
    agent.stop().map(drop)
}

#[test]
fn flask_express_go() -> Result<()> {
    needs_root!();
    three_services([App::FlaskGthread, App::Express, App::Go])
}

#[test]
fn go_http_server_fastapi() -> Result<()> {
    needs_root!();
    three_services([App::Go, App::HttpServer, App::FastApi])
}

#[test]
fn fastapi_node_flask() -> Result<()> {
    needs_root!();
    three_services([App::FastApi, App::NodeHttp, App::FlaskSync])
}

#[test]
fn nginx_gunicorn_over_tcp() -> Result<()> {
    needs_root!();
    behind_nginx(App::FlaskGthread, Address::loopback()?)
}

#[test]
fn nginx_gunicorn_sync_over_tcp() -> Result<()> {
    needs_root!();
    behind_nginx(App::FlaskSync, Address::loopback()?)
}

#[test]
fn nginx_gunicorn_over_a_unix_socket() -> Result<()> {
    needs_root!();
    let directory = tempfile::tempdir()?;
    behind_nginx(App::FlaskGthread, Address::Unix(directory.path().join("gunicorn.sock")))
}
