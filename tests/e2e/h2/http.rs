//! Servers and clients of several languages, each with each, over TLS and without.

use super::{PARENT_ID, TRACE_ID, watching};
use crate::need::needs_root;
use anyhow::{Context, Result};
use rig::caller::{Answer, Http2Library};
use rig::service::TIMER_EARLY_MAX;
use rig::{Address, App, Authority, Caller, Nginx, Receiver, Service, Span, nginx};
use serde_json::json;
use std::process::Command;
use std::time::Duration;

const BODY_BYTES: i64 = 100_000;
const SLOW: Duration = Duration::from_millis(50);
/// Requests that are in flight at once.
const TOGETHER: i64 = 20;

/// A server under test.
struct Server {
    address: Address,
    tls: bool,
    pids: Vec<u32>,
}

impl Server {
    fn url(&self, path: &str) -> String {
        if self.tls { self.address.https(path) } else { self.address.url(path) }
    }
}

/// One request, what came of it, and what the spans of both ends must say.
struct Exchange {
    method: &'static str,
    path: String,
    status: i64,
    request_bytes: i64,
    /// `None`: the server is free to say more than the number.
    response_bytes: Option<i64>,
    port: u16,
}

/// Asks for everything that the checks look at.
fn talk(caller: &mut Caller, server: &Server) -> Result<Vec<Exchange>> {
    let slow = format!("/slow?ms={}", SLOW.as_millis());
    let wishes = [
        ("GET", "/hello", 0, 200, Some(5)),
        ("GET", &slow, 0, 200, Some(4)),
        ("POST", "/upload", BODY_BYTES, 200, Some(6)),
        ("GET", "/size/100000", 0, 200, Some(BODY_BYTES)),
        ("GET", "/status/404", 0, 404, None),
        ("GET", "/status/500", 0, 500, None),
    ];
    let lines = wishes.map(|(method, path, body, ..)| json!({"method": method, "url": server.url(path), "body": body}));
    let answers: Vec<Answer> = caller.ask_all(&lines)?;
    let mut done: Vec<_> = wishes
        .into_iter()
        .zip(answers)
        .map(|((method, path, request_bytes, status, response_bytes), answer)| {
            assert_eq!(i64::from(answer.status), status, "{method} {path}");
            let path = path.split('?').next().unwrap_or(path).to_owned();
            Exchange { method, path, status, request_bytes, response_bytes, port: answer.port }
        })
        .collect();
    let paths: Vec<_> = (1..=TOGETHER).map(|size| format!("/size/{size}")).collect();
    let together: Vec<_> = paths.iter().map(|path| json!({"method": "GET", "url": server.url(path)})).collect();
    let answers: Vec<Answer> = caller.ask(json!(together))?;
    for ((path, answer), size) in paths.into_iter().zip(answers).zip(1..) {
        assert_eq!((i64::from(answer.status), i64::try_from(answer.bytes)?), (200, size), "{path}");
        let response_bytes = Some(size);
        done.push(Exchange { method: "GET", path, status: 200, request_bytes: 0, response_bytes, port: answer.port });
    }
    Ok(done)
}

/// What either end of the exchange must say.
fn says(span: &Span, exchange: &Exchange, server: &Server) -> bool {
    let expected = [
        ("http.request.method", json!(exchange.method)),
        ("http.response.status_code", json!(exchange.status)),
        ("http.request.body.size", json!(exchange.request_bytes)),
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(server.address.port())),
        ("network.protocol.version", json!("2")),
    ];
    span.name == exchange.method
        && expected.iter().all(|(key, value)| span.attributes.get(*key) == Some(value))
        && exchange.response_bytes.is_none_or(|bytes| span.number("http.response.body.size") == Some(bytes))
        && (!server.tls || ["1.2", "1.3"].contains(&span.text("tls.protocol.version")))
}

fn check(exchange: &Exchange, calls: &[Span], requests: &[Span], server: &Server) -> Result<()> {
    let url = server.url(&exchange.path);
    let is_call = |span: &&Span| span.text("url.full").split('?').next() == Some(&url) && says(span, exchange, server);
    let call = calls.iter().find(is_call).with_context(|| format!("no call of {url}: {calls:#?}"))?;
    let request = requests.iter().find(|span| span.is_child_of(call));
    let request = request.with_context(|| format!("no server span below {call:#?}: {requests:#?}"))?;
    assert!(says(request, exchange, server) && request.text("url.path") == exchange.path, "{request:#?}");
    assert_eq!(request.text("autospan.parent.evidence"), "join", "{request:#?}");
    assert_eq!(request.number("client.port"), Some(exchange.port.into()), "{request:#?}");
    assert!(call.start_unix_ns <= request.start_unix_ns, "{call:#?} {request:#?}");
    if exchange.path == "/slow" {
        assert!(request.duration() + TIMER_EARLY_MAX >= SLOW && request.duration() < 10 * SLOW, "{request:#?}");
    }
    let is_error = if exchange.status >= 500 { 2 } else { 0 };
    assert_eq!(request.status.code, is_error, "{request:#?}");
    Ok(())
}

/// All clients, older than the agent as the server is, on connections that are younger.
fn by_all(server: &Server, authority: Option<&Authority>) -> Result<()> {
    let receiver = Receiver::start()?;
    let mut callers: Vec<_> =
        Http2Library::HTTP.into_iter().map(|library| Caller::start_http2(library, authority)).collect::<Result<_>>()?;
    let agent = watching(&receiver, &server.pids, &callers)?;
    for (caller, library) in callers.iter_mut().zip(Http2Library::HTTP) {
        let pid = [caller.pid()];
        receiver.clear();
        let exchanges = talk(caller, server)?;
        let calls = receiver.wait_spans(exchanges.len(), |span| span.calls(&pid))?;
        let requests = receiver.wait_spans(exchanges.len(), |span| span.serves(&server.pids))?;
        assert_eq!((calls.len(), requests.len()), (exchanges.len(), exchanges.len()), "{library:?}");
        for exchange in &exchanges {
            check(exchange, &calls, &requests, server).with_context(|| format!("{library:?}"))?;
        }
    }
    curl(server, authority, &receiver)?;
    agent.stop().map(drop)
}

/// A client that is not traced, with a trace of its own.
fn curl(server: &Server, authority: Option<&Authority>, receiver: &Receiver) -> Result<()> {
    receiver.clear();
    let version = if server.tls { "--http2" } else { "--http2-prior-knowledge" };
    let header = format!("traceparent: 00-{TRACE_ID}-{PARENT_ID}-01");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", version, "--header", &header, &server.url("/hello")]);
    let output = curl.envs(authority.into_iter().flat_map(Authority::trust)).output()?;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello", "{output:?}");
    let span = receiver.wait_spans(1, |span| span.serves(&server.pids))?.swap_remove(0);
    assert_eq!(span.text("network.protocol.version"), "2", "{span:#?}");
    assert_eq!((span.trace_id.as_str(), span.parent_span_id.as_str()), (TRACE_ID, PARENT_ID), "{span:#?}");
    Ok(())
}

/// curl asks by HTTP/1 for HTTP/2, has the answer on the first stream of the same connection, and goes on with the second.
#[test]
fn curl_upgrades_a_connection() -> Result<()> {
    needs_root!();
    let (receiver, service) = (Receiver::start()?, Service::start(App::Hypercorn)?);
    let pids = service.pids()?;
    let agent = watching(&receiver, &pids, &[])?;
    let urls = ["/hello", "/status/404"].map(|path| service.url(path));
    let version = ["--silent", "--show-error", "--http2", "--write-out", " by %{http_version};"];
    let said = rig::process::output("curl", version.into_iter().chain(urls.iter().map(String::as_str)))?;
    assert!(said.starts_with("hello by 2;") && said.ends_with(" by 2;"), "{said}");
    let mut spans = receiver.wait_spans(2, |span| span.serves(&pids))?;
    spans.sort_by_key(|span| span.start_unix_ns);
    for (span, (path, status)) in spans.iter().zip([("/hello", 200), ("/status/404", 404)]) {
        let known = (span.text("url.path"), span.number("http.response.status_code"), span.number("client.port"));
        assert_eq!(known, (path, Some(status), spans[0].number("client.port")), "{span:#?}");
    }
    let versions: Vec<_> = spans.iter().map(|span| span.text("network.protocol.version")).collect();
    assert_eq!(versions, ["1.1", "2"], "each as it was asked for");
    agent.stop().map(drop)
}

fn service(app: App, authority: Option<&Authority>) -> Result<()> {
    let settings = rig::service::Settings { tls: authority, ..Default::default() };
    let service = Service::start_with(app, &settings)?;
    let server = Server { address: service.address.clone(), tls: authority.is_some(), pids: service.pids()? };
    by_all(&server, authority)
}

fn nginx(authority: Option<&Authority>) -> Result<()> {
    let upstream = Service::start(App::NodeHttp)?;
    let settings = nginx::Settings { tls: authority, http2: true, ..Default::default() };
    let nginx = Nginx::start_with(&upstream.address, settings)?;
    let server = Server { address: nginx.address.clone(), tls: authority.is_some(), pids: nginx.pids()? };
    by_all(&server, authority)
}

#[test]
fn node() -> Result<()> {
    needs_root!();
    service(App::NodeHttp2, None)
}

#[test]
fn node_over_tls() -> Result<()> {
    needs_root!();
    service(App::NodeHttp2, Some(&Authority::new()?))
}

#[test]
fn go() -> Result<()> {
    needs_root!();
    service(App::GoHttp2, None)
}

#[test]
fn go_over_tls() -> Result<()> {
    needs_root!();
    service(App::GoHttp2, Some(&Authority::new()?))
}

#[test]
fn hypercorn() -> Result<()> {
    needs_root!();
    service(App::Hypercorn, None)
}

#[test]
fn hypercorn_over_tls() -> Result<()> {
    needs_root!();
    service(App::Hypercorn, Some(&Authority::new()?))
}

#[test]
fn nginx_without_tls() -> Result<()> {
    needs_root!();
    nginx(None)
}

#[test]
fn nginx_over_tls() -> Result<()> {
    needs_root!();
    nginx(Some(&Authority::new()?))
}
