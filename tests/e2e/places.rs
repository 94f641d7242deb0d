//! Services in unusual places: IPv6, another network namespace, unix sockets.

use crate::need::needs_root;
use anyhow::Result;
use rig::service::Settings;
use rig::{Address, Agent, App, Client, Netns, Receiver, Service};
use std::net::Ipv6Addr;

#[test]
fn ipv6() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start()?;
    let address = Some(Address::on(Ipv6Addr::LOCALHOST.into())?);
    let service = Service::start_with(App::HttpServer, &Settings { address, ..Settings::default() })?;
    let agent = Agent::start(&receiver)?;
    let pids = service.pids()?;
    let mut client = Client::connect(&service.address)?;
    client.get("/hello")?;
    let span = receiver.wait_spans(1, |span| span.serves(&pids))?.swap_remove(0);
    assert_eq!(span.text("client.address"), "::1");
    assert_eq!(span.number("client.port"), Some(client.port().into()));
    assert_eq!(span.number("server.port"), Some(service.port().into()));
    agent.stop().map(drop)
}

/// A dual-stack socket: IPv4 clients of an IPv6 listener, as Node and Go listen by default.
#[test]
fn ipv4_to_an_ipv6_listener() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start()?;
    let address = Address::on(Ipv6Addr::UNSPECIFIED.into())?;
    let port = address.port();
    let service = Service::start_with(App::Go, &Settings { address: Some(address), ..Settings::default() })?;
    let agent = Agent::start(&receiver)?;
    let pids = service.pids()?;
    Client::connect(&Address::Tcp(([127, 0, 0, 1], port).into()))?.get("/hello")?;
    let span = receiver.wait_spans(1, |span| span.serves(&pids))?.swap_remove(0);
    assert_eq!(span.text("client.address"), "127.0.0.1", "{span:?}");
    agent.stop().map(drop)
}

#[test]
fn another_network_namespace() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start()?;
    let netns = Netns::new()?;
    let inside = Settings { netns: Some(&netns), ..Settings::default() };
    let last = Service::start_with(App::Go, &inside)?;
    let next = Some(last.address.url("/chain"));
    let agent = Agent::start(&receiver)?;
    let first = Service::start_with(App::NodeHttp, &Settings { next, ..inside })?;
    let (of_first, of_last) = (first.pids()?, last.pids()?);
    receiver.clear();
    netns.curl(&first.address.url("/chain"))?;
    let is_chain = |span: &rig::Span| span.serves(&of_first) && span.text("url.path") == "/chain";
    let entry = receiver.wait_spans(1, is_chain)?.swap_remove(0);
    let call = receiver.wait_spans(1, |span| span.calls(&of_first))?.swap_remove(0);
    let end = receiver.wait_spans(1, |span| span.serves(&of_last) && span.is_child_of(&call))?;
    assert!(call.is_child_of(&entry), "{entry:?} {call:?}");
    assert_eq!(end.len(), 1);
    agent.stop().map(drop)
}

#[test]
fn unix_sockets() -> Result<()> {
    needs_root!();
    for app in [App::FlaskGthread, App::FastApi, App::NodeHttp] {
        let receiver = Receiver::start()?;
        let directory = tempfile::tempdir()?;
        let address = Some(Address::Unix(directory.path().join("service.sock")));
        let service = Service::start_with(app, &Settings { address, ..Settings::default() })?;
        let agent = Agent::start(&receiver)?;
        let pids = service.pids()?;
        Client::connect(&service.address)?.get("/hello")?;
        let spans = receiver.wait_spans(1, |span| span.serves(&pids))?;
        assert_eq!(spans[0].text("url.path"), "/hello", "{app:?}");
        assert_eq!(spans[0].text("network.transport"), "unix", "{app:?}");
        agent.stop()?;
    }
    Ok(())
}
