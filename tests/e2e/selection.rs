//! What is traced: `--pid`, `--exe`, `--port`; how it is named; what is never traced.

use crate::need::needs_root;
use anyhow::Result;
use rig::agent::Options;
use rig::service::Settings;
use rig::{Agent, App, Client, Receiver, Service};

/// With two services running, only the first may be traced.
fn only_the_first(arguments: impl Fn(&Service) -> Vec<String>) -> Result<()> {
    let mut receiver = Receiver::start()?;
    let (first, second) = (Service::start(App::Go)?, Service::start(App::NodeHttp)?);
    let arguments = arguments(&first);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let agent = Options::new().arguments(&arguments).grpc(&receiver).start()?;
    for service in [&second, &first] {
        Client::connect(&service.address)?.get("/hello")?;
    }
    receiver.wait_spans(1, |span| span.serves(&[first.pid()]))?;
    agent.stop()?;
    receiver.catch_up()?;
    let strangers = receiver.spans(|span| span.pid() != first.pid());
    assert!(strangers.is_empty(), "{strangers:#?}");
    Ok(())
}

#[test]
fn by_pid() -> Result<()> {
    needs_root!();
    only_the_first(|service| vec!["--pid".to_owned(), service.pid().to_string()])
}

#[test]
fn by_executable() -> Result<()> {
    needs_root!();
    only_the_first(|_| vec!["--exe".to_owned(), "go_app".to_owned()])
}

#[test]
fn by_port() -> Result<()> {
    needs_root!();
    only_the_first(|service| vec!["--port".to_owned(), service.port().to_string()])
}

/// A selector also holds for a service that starts later.
#[test]
fn by_port_of_a_service_to_come() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start()?;
    let address = rig::Address::loopback()?;
    let agent = Options::new().arguments(&["--port", &address.port().to_string()]).grpc(&receiver).start()?;
    let service = Service::start_with(App::FlaskGthread, &Settings { address: Some(address), ..Settings::default() })?;
    let pids = service.pids()?;
    Client::connect(&service.address)?.get("/hello")?;
    receiver.wait_spans(1, |span| span.serves(&pids))?;
    agent.stop().map(drop)
}

#[test]
fn names_and_attributes_from_the_environment_of_the_service() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start()?;
    let environment = vec![
        ("OTEL_SERVICE_NAME", "checkout".to_owned()),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=loser,service.namespace=shop,deployment.environment.name=test%20bed".to_owned(),
        ),
    ];
    let service = Service::start_with(App::Express, &Settings { environment, ..Settings::default() })?;
    let agent = Agent::start(&receiver)?;
    Client::connect(&service.address)?.get("/hello")?;
    let span = receiver.wait_spans(1, |span| span.serves(&[service.pid()]))?.swap_remove(0);
    assert_eq!(span.service(), "checkout");
    assert_eq!(span.resource["service.namespace"], "shop");
    assert_eq!(span.resource["deployment.environment.name"], "test bed");
    agent.stop().map(drop)
}

#[test]
fn a_captured_header_is_on_the_span_and_no_other() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start()?;
    let service = Service::start(App::Go)?;
    let agent = Options::new().arguments(&["--capture-header", "X-Tenant"]).grpc(&receiver).start()?;
    Client::connect(&service.address)?.get_with("/hello", &["x-tenant: blue", "x-secret: sesame"])?;
    let span = receiver.wait_spans(1, |span| span.serves(&[service.pid()]))?.swap_remove(0);
    assert_eq!(span.attributes["http.request.header.x-tenant"], serde_json::json!(["blue"]));
    assert!(!format!("{span:?}").contains("sesame"), "{span:?}");
    agent.stop().map(drop)
}

/// The collector runs on the traced host and is itself an HTTP service: a span for each export would never end.
#[test]
fn exports_to_a_collector_on_this_host_are_not_traced() -> Result<()> {
    needs_root!();
    let mut receiver = Receiver::start()?;
    let service = Service::start(App::Go)?;
    let agent = Options::new().http(&receiver).start()?;
    let agent_pid = agent.pid();
    let mut client = Client::connect(&service.address)?;
    for round in 1..=3 {
        client.get("/hello")?;
        receiver.wait_spans(round, |span| span.serves(&[service.pid()]))?;
    }
    agent.stop()?;
    receiver.catch_up()?;
    let own = [agent_pid, receiver.pid()];
    let own = receiver.spans(|span| own.contains(&span.pid()) || span.text("url.path") == "/v1/traces");
    assert!(own.is_empty(), "{own:#?}");
    Ok(())
}
