//! Every server, started before the agent and after it: one span per request, and what the span says.

use crate::need::needs_root;
use anyhow::{Context, Result};
use rig::service::{Settings, TIMER_EARLY_MAX};
use rig::tls::Session;
use rig::{Agent, App, Authority, Client, Kind, Receiver, Service, Span};
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BODY_BYTES: usize = 100_000;
/// A path that is asked for to be rid of a read: one that waits when the agent comes is over before a probe on user code sees
/// it begin, so a request inside TLS that it brings may be missed.
const PENDING: &str = "/status/202";
const SLOW: Duration = Duration::from_millis(200);
/// The agent maps the kernel's clock to the wall clock; the two are not read at the same instant.
const CLOCK_ERROR_NS: u64 = 20_000_000;

/// One request, and what its span must say.
struct Exchange {
    method: &'static str,
    path: &'static str,
    client_port: u16,
    status: u16,
    request_bytes: usize,
    response_bytes: Option<usize>,
    tls: Option<Session>,
    /// Was the connection made before the agent's eyes?
    seen_from_start: bool,
}

/// Talks to one service on a keep-alive connection, or on one connection per request where the service wants that.
struct Talk<'a> {
    service: &'a Service,
    client: Client,
    exchanges: Vec<Exchange>,
    seen_from_start: bool,
}

impl<'a> Talk<'a> {
    fn with(service: &'a Service) -> Result<Self> {
        Ok(Self { service, client: service.connect()?, exchanges: Vec::new(), seen_from_start: true })
    }

    fn get(&mut self, target: &'static str) -> Result<()> {
        self.reconnect()?;
        let response = self.client.get(target)?;
        let path = target.split('?').next().unwrap_or(target);
        self.done("GET", path, 0, &response);
        Ok(())
    }

    fn post(&mut self, path: &'static str, bytes: usize) -> Result<()> {
        self.reconnect()?;
        let response = self.client.post(path, &vec![b'x'; bytes])?;
        self.done("POST", path, bytes, &response);
        Ok(())
    }

    fn reconnect(&mut self) -> Result<()> {
        if !self.service.app.keeps_alive() {
            self.client = self.service.connect()?;
        }
        Ok(())
    }

    fn done(&mut self, method: &'static str, path: &'static str, request_bytes: usize, response: &rig::Response) {
        // A chunked body's size on the wire is not its length.
        let sized = response.headers.iter().any(|(name, _)| name == "content-length");
        self.exchanges.push(Exchange {
            method,
            path,
            client_port: self.client.port(),
            status: response.status,
            request_bytes,
            response_bytes: sized.then_some(response.body.len()),
            tls: self.client.tls().cloned(),
            seen_from_start: self.seen_from_start,
        });
    }

    /// Everything that the checks look at.
    fn everything(&mut self) -> Result<()> {
        self.get("/hello")?;
        self.get("/slow?ms=200")?;
        // In this order: Node 20 drops a TLS connection on which a long body comes after a long answer.
        self.post("/upload", BODY_BYTES)?;
        self.get("/size/100000")?;
        self.get("/status/404")?;
        self.get("/status/500")?;
        self.get("/hello?secret=sesame")
    }
}

fn now_ns() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

pub(crate) fn started_before(app: App, tls: Option<&Authority>) -> Result<()> {
    let receiver = Receiver::start()?;
    let service = Service::start_with(app, &Settings { tls, ..Settings::default() })?;
    let mut talk = Talk::with(&service)?;
    if app.keeps_alive() {
        // The connection is older than the agent, and in use.
        talk.get("/hello?unseen")?;
        talk.exchanges.clear();
        talk.seen_from_start = false;
    }
    let agent = Agent::start(&receiver)?;
    if app.keeps_alive() && tls.is_some() {
        talk.get(PENDING)?;
        talk.exchanges.clear();
    }
    check(talk, &receiver)?;
    agent.stop().map(drop)
}

pub(crate) fn started_after(app: App, tls: Option<&Authority>) -> Result<()> {
    let receiver = Receiver::start()?;
    let mut agent = Agent::start(&receiver)?;
    let service = Service::start_with(app, &Settings { tls, ..Settings::default() })?;
    if tls.is_some() {
        // Probes on user code take their milliseconds, and a handshake can be faster.
        agent.wait_for(service.pid())?;
    }
    check(Talk::with(&service)?, &receiver)?;
    agent.stop().map(drop)
}

fn check(mut talk: Talk<'_>, receiver: &Receiver) -> Result<()> {
    let service = talk.service;
    let pids = service.pids()?;
    let start = now_ns()?;
    talk.everything()?;
    let end = now_ns()?;
    let counts = |span: &Span| span.serves(&pids) && span.text("url.path") != PENDING;
    let spans = receiver.wait_spans(talk.exchanges.len(), counts)?;
    assert_eq!(spans.len(), talk.exchanges.len(), "one span per request: {spans:#?}");
    for exchange in &talk.exchanges {
        let fits = |span: &&Span| span.text("url.path") == exchange.path && says(span, exchange, service);
        let span = spans.iter().find(fits).with_context(|| {
            format!("no span for {} {} {}: {spans:#?}", exchange.method, exchange.path, exchange.status)
        })?;
        assert!(span.start_unix_ns + CLOCK_ERROR_NS >= start && span.end_unix_ns <= end + CLOCK_ERROR_NS, "{span:?}");
        assert!(span.start_unix_ns <= span.end_unix_ns, "{span:?}");
        assert!(span.parent_span_id.is_empty(), "nobody traced called: {span:?}");
    }
    check_one_by_one(&spans);
    Ok(())
}

/// Does the span say what the request was?
fn says(span: &Span, exchange: &Exchange, service: &Service) -> bool {
    let expected = [
        ("http.request.method", json!(exchange.method)),
        ("http.response.status_code", json!(exchange.status)),
        ("http.request.body.size", json!(exchange.request_bytes)),
        ("url.scheme", json!(if exchange.tls.is_some() { "https" } else { "http" })),
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(service.port())),
        ("client.address", json!("127.0.0.1")),
        ("client.port", json!(exchange.client_port)),
        ("network.peer.address", json!("127.0.0.1")),
        ("network.peer.port", json!(exchange.client_port)),
        ("network.protocol.version", json!("1.1")),
    ];
    let sized = exchange
        .response_bytes
        .is_none_or(|bytes| span.attributes.get("http.response.body.size") == Some(&json!(bytes)));
    sized
        && says_tls(span, exchange)
        && span.name == exchange.method
        && span.service() == service.app.default_name()
        && expected.iter().all(|(key, value)| span.attributes.get(*key) == Some(value))
}

/// Does the span say which TLS it was? Of a handshake before its time the agent may know nothing, but nothing wrong.
fn says_tls(span: &Span, exchange: &Exchange) -> bool {
    let said = (span.text("tls.protocol.version"), span.text("tls.cipher"));
    match &exchange.tls {
        None => said == ("", ""),
        Some(tls) => said == (tls.version, tls.cipher.as_str()) || (!exchange.seen_from_start && said == ("", "")),
    }
}

/// Checks that single spans stand for.
fn check_one_by_one(spans: &[Span]) {
    for span in spans {
        assert_eq!(span.kind, Kind::Server);
        assert_eq!((span.trace_id.len(), span.span_id.len()), (32, 16));
        assert!(!span.text("url.query").contains("sesame"), "query values are private: {span:?}");
        match span.number("http.response.status_code") {
            Some(500) => {
                assert_eq!(span.status.code, 2, "a server's 500 is an error: {span:?}");
                assert_eq!(span.text("error.type"), "500");
            }
            _ => assert_eq!(span.status.code, 0, "{span:?}"),
        }
        if span.text("url.path") == "/slow" {
            assert!(span.duration() + TIMER_EARLY_MAX >= SLOW && span.duration() < SLOW * 3, "{span:?}");
        }
    }
}

macro_rules! servers {
    ($authority:expr; $($name:ident = $app:expr;)+) => { $(
        mod $name {
            use super::*;

            #[test]
            fn started_before_the_agent() -> Result<()> {
                needs_root!();
                started_before($app, $authority)
            }

            #[test]
            fn started_after_the_agent() -> Result<()> {
                needs_root!();
                started_after($app, $authority)
            }
        }
    )+ };
}
pub(crate) use servers;

servers! {
    None;
    flask_gunicorn_sync = App::FlaskSync;
    flask_gunicorn_gthread = App::FlaskGthread;
    http_server = App::HttpServer;
    fastapi_uvicorn = App::FastApi;
    node_http = App::NodeHttp;
    express = App::Express;
    go_net_http = App::Go;
}
