//! Export: both transports, their options, and collectors that fail.

use crate::need::needs_root;
use anyhow::{Result, ensure};
use rig::address::free_port;
use rig::agent::Options;
use rig::authority::Authority;
use rig::receiver::Mode;
use rig::{Agent, App, Client, Receiver, Service};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// A service, and one request to it.
fn request(service: &Service) -> Result<()> {
    let response = Client::connect(&service.address)?.get("/hello")?;
    ensure!(response.status == 200, "{response:?}");
    Ok(())
}

/// The spans of one request come by this transport, with this encoding and the header that was asked for.
fn arrives(options: impl Fn(&Receiver) -> Options, transport: &str, encoding: &str) -> Result<()> {
    let receiver = Receiver::start()?;
    let service = Service::start(App::Go)?;
    let agent = options(&receiver).environment("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=letmein").start()?;
    request(&service)?;
    receiver.wait_spans(1, |span| span.serves(&[service.pid()]))?;
    let export = receiver.wait_export(|export| export.spans > 0)?;
    assert_eq!((export.transport.as_str(), export.encoding.as_str()), (transport, encoding));
    assert_eq!(export.headers.get("x-api-key").map(String::as_str), Some("letmein"));
    agent.stop().map(drop)
}

fn gzip(options: Options) -> Options {
    options.environment("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
}

#[test]
fn grpc() -> Result<()> {
    needs_root!();
    arrives(|receiver| Options::new().grpc(receiver), "grpc", "identity")
}

/// gRPC servers keep the encoding of messages to themselves, so the wire is asked.
#[test]
fn grpc_gzip() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start()?;
    let service = Service::start(App::Go)?;
    let tap = Tap::before(receiver.grpc_port)?;
    let agent = gzip(Options::new().arguments(&["--port", &service.port().to_string()]))
        .environment("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://127.0.0.1:{}", tap.port))
        .environment("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .start()?;
    request(&service)?;
    receiver.wait_spans(1, |span| span.serves(&[service.pid()]))?;
    assert!(tap.saw_gzip_message(), "no compressed message on the wire");
    agent.stop().map(drop)
}

/// Hands a connection on to another port of this host and keeps what the client sends.
struct Tap {
    port: u16,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn before(port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let tap = Self { port: listener.local_addr()?.port(), sent: Arc::default() };
        let sent = Arc::clone(&tap.sent);
        std::thread::spawn(move || {
            // One connection: while it listened on, the test process would be a service and its requests traced.
            for client in listener.incoming().take(1) {
                let (client, server) = (client?, TcpStream::connect(("127.0.0.1", port))?);
                let (mut answers, mut to_client) = (server.try_clone()?, client.try_clone()?);
                std::thread::spawn(move || std::io::copy(&mut answers, &mut to_client));
                let sent = Arc::clone(&sent);
                std::thread::spawn(move || hand_on(client, server, &sent));
            }
            Ok::<_, std::io::Error>(())
        });
        Ok(tap)
    }

    /// A message's prefix is a flag, 1 where it is compressed, and four bytes of length.
    fn saw_gzip_message(&self) -> bool {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.windows(8).any(|bytes| bytes[0] == 1 && bytes[5..] == [0x1f, 0x8b, 0x08])
    }
}

fn hand_on(mut client: TcpStream, mut server: TcpStream, sent: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let mut buffer = [0; 16_384];
    loop {
        let bytes = match client.read(&mut buffer)? {
            0 => return server.shutdown(Shutdown::Write),
            len => &buffer[..len],
        };
        sent.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        server.write_all(bytes)?;
    }
}

#[test]
fn http_protobuf() -> Result<()> {
    needs_root!();
    arrives(|receiver| Options::new().http(receiver), "http", "identity")
}

#[test]
fn http_protobuf_gzip() -> Result<()> {
    needs_root!();
    arrives(|receiver| gzip(Options::new().http(receiver)), "http", "gzip")
}

/// Both ends show a certificate of an authority that no system trusts.
fn arrives_by_tls(protocol: &str, port: impl Fn(&Receiver) -> u16) -> Result<()> {
    let authority = Authority::new()?;
    let receiver = Receiver::start_tls(&authority)?;
    let service = Service::start(App::Go)?;
    let file = |name| authority.file(name).display().to_string();
    let agent = Options::new()
        .environment("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("https://localhost:{}", port(&receiver)))
        .environment("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .environment("OTEL_EXPORTER_OTLP_CERTIFICATE", &file("ca.pem"))
        .environment("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &file("client.pem"))
        .environment("OTEL_EXPORTER_OTLP_CLIENT_KEY", &file("client.key"))
        .start()?;
    request(&service)?;
    receiver.wait_spans(1, |span| span.serves(&[service.pid()]))?;
    agent.stop().map(drop)
}

#[test]
fn grpc_by_mutual_tls() -> Result<()> {
    needs_root!();
    arrives_by_tls("grpc", |receiver| receiver.grpc_port)
}

#[test]
fn http_by_mutual_tls() -> Result<()> {
    needs_root!();
    arrives_by_tls("http/protobuf", |receiver| receiver.http_port)
}

/// A receiver that cannot be verified gets nothing, and the log says why.
#[test]
fn an_unknown_authority_is_not_trusted() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start_tls(&Authority::new()?)?;
    let service = Service::start(App::Go)?;
    let endpoint = format!("https://localhost:{}", receiver.http_port);
    let mut agent = Options::new().environment("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).start()?;
    request(&service)?;
    agent.process().wait_until("to say why", |process| process.stderr().contains("UnknownIssuer"))?;
    assert!(receiver.exports().is_empty());
    agent.stop().map(drop)
}

#[test]
fn an_endpoint_for_traces_alone() -> Result<()> {
    needs_root!();
    let endpoint = |receiver: &Receiver| format!("{}/v1/traces", receiver.http_endpoint());
    let options = |receiver: &Receiver| {
        Options::new()
            .environment("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint(receiver))
            .environment("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    };
    arrives(options, "http", "identity")
}

/// Nobody listens when the agent starts; what happened meanwhile arrives when the collector does.
#[test]
fn a_collector_that_comes_later_gets_everything() -> Result<()> {
    needs_root!();
    let service = Service::start(App::Go)?;
    let (grpc, http) = (free_port()?, free_port()?);
    let endpoint = format!("http://127.0.0.1:{grpc}");
    let agent = Options::new()
        .environment("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .environment("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .start()?;
    for _ in 0..5 {
        request(&service)?;
    }
    let receiver = Receiver::start_on(grpc, http)?;
    receiver.wait_spans(5, |span| span.serves(&[service.pid()]))?;
    agent.stop().map(drop)
}

/// Refused for a while, then taken: each span once.
fn is_retried(start: impl Fn(&Receiver) -> Result<Agent>, mode: Mode) -> Result<()> {
    let mut receiver = Receiver::start()?;
    let service = Service::start(App::Go)?;
    let agent = start(&receiver)?;
    receiver.set_mode(mode)?;
    request(&service)?;
    receiver.wait_export(|export| !export.taken)?;
    receiver.set_mode(Mode::Accept)?;
    receiver.wait_spans(1, |span| span.serves(&[service.pid()]))?;
    agent.stop()?;
    receiver.catch_up()?;
    assert_eq!(receiver.spans(|span| span.serves(&[service.pid()])).len(), 1);
    Ok(())
}

#[test]
fn unavailable_is_retried_over_grpc() -> Result<()> {
    needs_root!();
    is_retried(Agent::start, Mode::Unavailable)
}

#[test]
fn http_503_is_retried() -> Result<()> {
    needs_root!();
    is_retried(|receiver| Options::new().http(receiver).start(), Mode::Unavailable)
}

/// Refused for good: the agent lives, says how many spans were lost, and goes on.
#[test]
fn a_refusal_for_good_is_counted_and_survived() -> Result<()> {
    needs_root!();
    let mut receiver = Receiver::start()?;
    let service = Service::start(App::Go)?;
    let agent = Options::new().arguments(&["--stats"]).grpc(&receiver).start()?;
    receiver.set_mode(Mode::Invalid)?;
    request(&service)?;
    receiver.wait_export(|export| !export.taken)?;
    receiver.set_mode(Mode::Accept)?;
    request(&service)?;
    receiver.wait_spans(1, |span| span.serves(&[service.pid()]))?;
    let counters = agent.stop()?.counters();
    let dropped: u64 = counters.iter().filter(|(name, _)| name.starts_with("dropped.export")).map(|(_, n)| n).sum();
    assert!(dropped >= 1, "{counters:?}");
    Ok(())
}

/// Taken, but not all of it: what the collector says it rejected is a drop of its own kind.
fn a_partial_success_is_counted(options: impl Fn(&Receiver) -> Options) -> Result<()> {
    let mut receiver = Receiver::start()?;
    let service = Service::start(App::Go)?;
    let agent = options(&receiver).arguments(&["--stats"]).start()?;
    receiver.set_mode(Mode::Partial)?;
    request(&service)?;
    receiver.wait_spans(1, |span| span.serves(&[service.pid()]))?;
    let counters = agent.stop()?.counters();
    assert!(counters["dropped.export_rejected"] >= 1, "{counters:?}");
    assert_eq!(counters["dropped.export_failed"], 0, "{counters:?}");
    Ok(())
}

#[test]
fn a_partial_success_over_grpc_is_counted() -> Result<()> {
    needs_root!();
    a_partial_success_is_counted(|receiver| Options::new().grpc(receiver))
}

#[test]
fn a_partial_success_over_http_is_counted() -> Result<()> {
    needs_root!();
    a_partial_success_is_counted(|receiver| Options::new().http(receiver))
}

/// A collector that never answers: services go on, SIGTERM ends the agent all the same.
#[test]
fn a_collector_that_hangs_holds_up_nothing() -> Result<()> {
    needs_root!();
    let mut receiver = Receiver::start()?;
    let service = Service::start(App::Go)?;
    let agent = Options::new()
        .environment("OTEL_EXPORTER_OTLP_TIMEOUT", "500")
        .arguments(&["--stats"])
        .grpc(&receiver)
        .start()?;
    receiver.set_mode(Mode::Hang)?;
    for _ in 0..20 {
        request(&service)?;
    }
    agent.stop().map(drop)
}

#[test]
fn sigterm_flushes() -> Result<()> {
    needs_root!();
    let mut receiver = Receiver::start()?;
    let service = Service::start(App::Go)?;
    let agent = Agent::start(&receiver)?;
    let mut client = Client::connect(&service.address)?;
    for _ in 0..50 {
        client.get("/hello")?;
    }
    // At once: whatever waits for a batch or for a late record must come out now.
    agent.stop()?;
    receiver.catch_up()?;
    assert_eq!(receiver.spans(|span| span.serves(&[service.pid()])).len(), 50);
    Ok(())
}
