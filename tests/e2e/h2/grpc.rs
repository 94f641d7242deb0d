//! gRPC: servers and clients of several languages, each with each, in all four kinds of calls.

use super::{PARENT_ID, TRACE_ID, watching};
use crate::need::needs_root;
use anyhow::{Context, Result};
use rig::agent::Options;
use rig::caller::Http2Library;
use rig::service::Settings;
use rig::{App, Authority, Caller, Receiver, Service, Span};
use serde::Deserialize;
use serde_json::{Value, json};

/// What a client got.
#[derive(Debug, Deserialize)]
struct Answer {
    /// Name of the status.
    status: String,
    messages: Vec<String>,
}

/// A call, and what comes of it.
struct Call {
    kind: &'static str,
    method: &'static str,
    messages: &'static [&'static str],
    more: Value,
    status: &'static str,
    /// `None`: some of them.
    answers: Option<&'static [&'static str]>,
}

/// What a server gives up as well: its own view of such a call may be either.
const GIVEN_UP: [&str; 2] = ["CANCELLED", "DEADLINE_EXCEEDED"];
/// Statuses that are a server's own fault.
const SERVER_ERRORS: [&str; 3] = ["UNIMPLEMENTED", "INTERNAL", "DEADLINE_EXCEEDED"];

/// Those whose TLS is read: grpcio's is one that was linked in without its names.
const READ_INSIDE_TLS: [Http2Library; 2] = [Http2Library::GrpcNode, Http2Library::GrpcGo];

fn calls() -> Vec<Call> {
    let call = |kind, method, messages, status, answers| Call {
        kind,
        method,
        messages,
        more: json!({}),
        status,
        answers: Some(answers),
    };
    vec![
        call("unary", "Unary", &["one"], "OK", &["one"]),
        call("server", "ServerStream", &["3"], "OK", &["0", "1", "2"]),
        call("client", "ClientStream", &["a", "b", "c"], "OK", &["3"]),
        call("bidi", "Bidi", &["a", "b"], "OK", &["a", "b"]),
        call("unary", "Fail", &["5"], "NOT_FOUND", &[]),
        call("unary", "Fail", &["13"], "INTERNAL", &[]),
        call("server", "FailLate", &["9"], "FAILED_PRECONDITION", &["9"]),
        call("unary", "Missing", &[""], "UNIMPLEMENTED", &[]),
        Call { more: json!({"gzip": true}), ..call("unary", "Unary", &["compressed"], "OK", &["compressed"]) },
        Call { more: json!({"timeout": 0.2}), ..call("unary", "Slow", &["3000"], "DEADLINE_EXCEEDED", &[]) },
        Call {
            more: json!({"cancel": true}),
            answers: None,
            ..call("server", "ServerStream", &["100000"], "CANCELLED", &[])
        },
        call("unary", "Chain", &["end"], "OK", &["end"]),
    ]
}

impl Call {
    fn line(&self, service: &Service, tls: bool) -> Value {
        let mut line = json!({
            "address": service.address.to_string(), "kind": self.kind, "method": self.method, "messages": self.messages, "tls": tls,
        });
        if let (Value::Object(line), Value::Object(more)) = (&mut line, &self.more) {
            line.extend(more.clone());
        }
        line
    }

    /// What the span of either end must say.
    fn check(&self, span: &Span, service: &Service, is_server: bool) {
        let method = format!("autospan.test.Echo/{}", self.method);
        let said = span.text("rpc.response.status_code");
        let given_up = is_server && GIVEN_UP.contains(&self.status) && GIVEN_UP.contains(&said);
        assert!(said == self.status || given_up, "{span:#?}");
        assert_eq!((span.name.as_str(), span.text("rpc.method")), (method.as_str(), method.as_str()), "{span:#?}");
        assert_eq!(span.text("rpc.system.name"), "grpc", "{span:#?}");
        assert_eq!(span.number("server.port"), Some(service.port().into()), "{span:#?}");
        assert_eq!(span.attributes.get("http.request.method"), None, "{span:#?}");
        let failed = if is_server { SERVER_ERRORS.contains(&said) } else { said != "OK" };
        assert_eq!(span.text("error.type"), if failed { said } else { "" }, "{span:#?}");
        assert_eq!(span.status.code, if failed { 2 } else { 0 }, "{span:#?}");
    }
}

/// All calls by one client, older than the agent.
fn by_one(caller: &mut Caller, service: &Service, tls: bool, receiver: &Receiver) -> Result<()> {
    let (calls, client, servers) = (calls(), [caller.pid()], service.pids()?);
    receiver.clear();
    let lines: Vec<_> = calls.iter().map(|call| call.line(service, tls)).collect();
    let answers: Vec<Answer> = caller.ask_all(&lines)?;
    for (call, answer) in calls.iter().zip(&answers) {
        assert_eq!(answer.status, call.status, "{}: {answer:?}", call.method);
        assert!(call.answers.is_none_or(|messages| answer.messages == messages), "{}: {answer:?}", call.method);
    }
    let mut spans = receiver.wait_spans(calls.len(), |span| span.calls(&client))?;
    let served = receiver.wait_spans(calls.len(), |span| span.serves(&servers))?;
    assert_eq!((spans.len(), served.len()), (calls.len(), calls.len()), "{spans:#?}\n{served:#?}");
    // One call came after the other.
    spans.sort_by_key(|span| span.start_unix_ns);
    for (call, span) in calls.iter().zip(&spans) {
        call.check(span, service, false);
        let server = served.iter().find(|server| server.is_child_of(span));
        let server = server.with_context(|| format!("no server span below {span:#?}: {served:#?}"))?;
        call.check(server, service, true);
        assert_eq!(server.text("autospan.parent.evidence"), "join", "{server:#?}");
        for span in [span, server] {
            assert_eq!(["1.2", "1.3"].contains(&span.text("tls.protocol.version")), tls, "{span:#?}");
        }
    }
    Ok(())
}

/// `libraries`: what calls the service.
fn by_all(app: App, authority: Option<&Authority>, libraries: &[Http2Library]) -> Result<()> {
    let receiver = Receiver::start()?;
    let service = Service::start_with(app, &Settings { tls: authority, ..Settings::default() })?;
    let start = |library: &Http2Library| Caller::start_http2(*library, authority);
    let mut callers: Vec<_> = libraries.iter().map(start).collect::<Result<_>>()?;
    let agent = watching(&receiver, &service.pids()?, &callers)?;
    for (caller, library) in callers.iter_mut().zip(libraries) {
        by_one(caller, &service, authority.is_some(), &receiver).with_context(|| format!("{library:?}"))?;
    }
    agent.stop().map(drop)
}

#[test]
fn python_on_threads() -> Result<()> {
    needs_root!();
    by_all(App::GrpcThreads, None, &Http2Library::GRPC)
}

#[test]
fn python_on_an_event_loop() -> Result<()> {
    needs_root!();
    by_all(App::GrpcAsyncio, None, &Http2Library::GRPC)
}

#[test]
fn node() -> Result<()> {
    needs_root!();
    by_all(App::GrpcNode, None, &Http2Library::GRPC)
}

#[test]
fn go() -> Result<()> {
    needs_root!();
    by_all(App::GrpcGo, None, &Http2Library::GRPC)
}

#[test]
fn node_over_tls() -> Result<()> {
    needs_root!();
    by_all(App::GrpcNode, Some(&Authority::new()?), &READ_INSIDE_TLS)
}

#[test]
fn go_over_tls() -> Result<()> {
    needs_root!();
    by_all(App::GrpcGo, Some(&Authority::new()?), &READ_INSIDE_TLS)
}

/// Metadata of a client that is not traced leads the trace through three services, each in another language.
#[test]
fn a_trace_goes_on_from_metadata() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start()?;
    let last = Service::start(App::GrpcThreads)?;
    let before = |app, next: &Service| {
        Service::start_with(app, &Settings { next: Some(next.address.to_string()), ..Settings::default() })
    };
    let middle = before(App::GrpcNode, &last)?;
    let first = before(App::GrpcAsyncio, &middle)?;
    let mut caller = Caller::start_http2(Http2Library::GrpcThreads, None)?;
    let agent = Options::new().grpc(&receiver).start()?;
    let traceparent = format!("00-{TRACE_ID}-{PARENT_ID}-01");
    let answer: Answer = caller.ask(json!({
        "address": first.address.to_string(), "kind": "unary", "method": "Chain", "messages": ["x"],
        "metadata": {"traceparent": traceparent},
    }))?;
    assert_eq!((answer.status.as_str(), answer.messages), ("OK", vec!["x".to_owned()]));
    let mut parent = None;
    for service in [&first, &middle, &last] {
        let pids = service.pids()?;
        let server = receiver.wait_spans(1, |span| span.serves(&pids))?.swap_remove(0);
        match &parent {
            None => assert_eq!((&*server.trace_id, &*server.parent_span_id), (TRACE_ID, PARENT_ID), "{server:#?}"),
            Some(call) => assert!(server.is_child_of(call), "{call:#?} {server:#?}"),
        }
        if service.address != last.address {
            parent = Some(receiver.wait_spans(1, |span| span.calls(&pids))?.swap_remove(0));
        }
    }
    agent.stop().map(drop)
}
