//! Many TLS connections on one event loop: every span says whose it is, and none says it wrong.

use super::check_pair;
use crate::need::needs_root;
use anyhow::{Context, Result, ensure};
use rig::service::Settings;
use rig::{Agent, App, Authority, Client, Receiver, Service, Span};
use std::collections::BTreeMap;
use std::sync::Barrier;

const CONNECTIONS: usize = 32;
const ROUNDS: usize = 10;
const CALLS: usize = 50;

/// What a connection asks for in a round, and nobody else ever: so many bytes. Every other answer fills several TLS records.
fn tag(connection: usize, round: usize) -> usize {
    1 + connection * ROUNDS + round + (round % 2) * 40_000
}

fn path(tag: usize) -> String {
    format!("/size/{tag}")
}

/// All clients ask at the same time, round by round.
fn talk(clients: &mut [Client]) -> Result<()> {
    let together = &Barrier::new(clients.len());
    std::thread::scope(|scope| {
        let clients = clients.iter_mut().enumerate();
        let threads: Vec<_> =
            clients.map(|(number, client)| scope.spawn(move || ask(client, number, together))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a client does not panic"))
    })
}

/// Whoever fails still waits for the others, who wait for everybody.
fn ask(client: &mut Client, number: usize, together: &Barrier) -> Result<()> {
    let ask = |round| {
        together.wait();
        let tag = tag(number, round);
        ensure!(client.get(&path(tag))?.body.len() == tag, "not the answer to {tag}");
        Ok(())
    };
    let answers: Vec<Result<()>> = (0..ROUNDS).map(ask).collect();
    answers.into_iter().collect()
}

/// Every request has its span, with the port of the connection that it came by.
fn check(spans: &[Span], clients: &[Client]) -> Result<()> {
    let tags = (0..clients.len()).flat_map(|number| (0..ROUNDS).map(move |round| (number, tag(number, round))));
    let sent: BTreeMap<String, i64> = tags.map(|(number, tag)| (path(tag), clients[number].port().into())).collect();
    for span in spans {
        let port = sent.get(span.text("url.path")).with_context(|| format!("nobody asked for {span:#?}"))?;
        assert_eq!(span.number("client.port"), Some(*port), "the wrong connection: {span:#?}");
        assert_eq!(span.number("network.peer.port"), Some(*port), "the wrong connection: {span:#?}");
        assert_eq!(span.text("url.scheme"), "https", "{span:#?}");
        let size = span.text("url.path").trim_start_matches("/size/").parse().ok();
        assert_eq!(span.number("http.response.body.size"), size, "the wrong answer: {span:#?}");
    }
    assert_eq!(spans.len(), sent.len(), "one span per request");
    Ok(())
}

/// `older`: so many of the connections are open, and were used, before the agent starts.
fn tagged(app: App, older: usize) -> Result<()> {
    let (mut receiver, authority) = (Receiver::start()?, Authority::new()?);
    let service = Service::start_tls(app, &authority)?;
    let mut clients: Vec<Client> = (0..older).map(|_| service.connect()).collect::<Result<_>>()?;
    clients.iter_mut().try_for_each(|client| client.get("/hello").map(drop))?;
    let agent = Agent::start(&receiver)?;
    while clients.len() < CONNECTIONS {
        clients.push(service.connect()?);
    }
    talk(&mut clients)?;
    let is_tagged = |span: &Span| span.serves(&[service.pid()]) && span.text("url.path").starts_with("/size/");
    let enough = receiver.wait_spans(CONNECTIONS * ROUNDS, is_tagged);
    agent.stop()?;
    receiver.catch_up()?;
    check(&receiver.spans(is_tagged), &clients)?;
    enough.map(drop)
}

/// Connections one after the other, two requests on each: what the library keeps of one takes the place of the last.
fn short(app: App) -> Result<()> {
    let (mut receiver, authority) = (Receiver::start()?, Authority::new()?);
    let service = Service::start_tls(app, &authority)?;
    let agent = Agent::start(&receiver)?;
    let mut sent = Vec::new();
    for number in 1..=CONNECTIONS {
        let mut client = service.connect()?;
        for tag in [number, number + CONNECTIONS] {
            client.get(&path(tag))?;
            sent.push((path(tag), Some(i64::from(client.port()))));
        }
    }
    let is_ours = |span: &Span| span.serves(&[service.pid()]);
    let enough = receiver.wait_spans(sent.len(), is_ours);
    agent.stop()?;
    receiver.catch_up()?;
    let said = |span: &Span| (span.text("url.path").to_owned(), span.number("client.port"));
    let mut spans: Vec<_> = receiver.spans(is_ours).iter().map(said).collect();
    sent.sort();
    spans.sort();
    assert_eq!(spans, sent);
    enough.map(drop)
}

/// One request makes 50 calls at the same time, three times, on the connections of a pool.
fn fan(app: App) -> Result<()> {
    calls_at_once(app, "fan", &[CALLS; 3])
}

/// One request after the other makes so many calls at the same time.
fn calls_at_once(app: App, page: &str, counts: &[usize]) -> Result<()> {
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let last = Service::start_tls(App::NodeHttp, &authority)?;
    let settings = Settings { next: Some(last.url("/size/")), tls: Some(&authority), ..Settings::default() };
    let first = Service::start_with(app, &settings)?;
    let agent = Agent::start(&receiver)?;
    let mut client = first.connect()?;
    for (round, count) in counts.iter().copied().enumerate() {
        assert_eq!(client.get(&format!("/{page}/{count}"))?.status, 200);
        let entry = receiver.wait_spans(round + 1, |span| span.serves(&[first.pid()]))?.swap_remove(round);
        let calls = receiver.wait_spans(count, |span| span.calls(&[first.pid()]) && span.is_child_of(&entry))?;
        let is_called = |span: &Span| span.serves(&[last.pid()]) && span.trace_id == entry.trace_id;
        let servers = receiver.wait_spans(count, is_called)?;
        assert_eq!((calls.len(), servers.len()), (count, count), "one span per call and end");
        check_calls(&calls, &servers);
    }
    agent.stop().map(drop)
}

/// Each call led to the request that it asked for, and to no other.
fn check_calls(calls: &[Span], servers: &[Span]) {
    for number in 1..=calls.len() {
        let path = path(number);
        let call = calls.iter().find(|span| span.text("url.full").ends_with(&path));
        let server = servers.iter().find(|span| span.text("url.path") == path);
        let (call, server) = (call.expect("a call for each number"), server.expect("a request for each number"));
        check_pair(call, server);
        let size = i64::try_from(number).ok();
        assert_eq!(call.number("http.response.body.size"), size, "{call:#?}");
        assert_eq!(server.number("http.response.body.size"), size, "{server:#?}");
    }
}

macro_rules! event_loops {
    ($($name:ident = $app:expr;)+) => { $(
        mod $name {
            use super::*;

            #[test]
            fn connections_that_the_agent_sees_from_the_start() -> Result<()> {
                needs_root!();
                tagged($app, 0)
            }

            #[test]
            fn connections_that_are_older_than_the_agent() -> Result<()> {
                needs_root!();
                tagged($app, CONNECTIONS)
            }

            #[test]
            fn connections_of_both_kinds() -> Result<()> {
                needs_root!();
                tagged($app, CONNECTIONS / 2)
            }

            #[test]
            fn connections_one_after_the_other() -> Result<()> {
                needs_root!();
                short($app)
            }
        }
    )+ };
}

event_loops! {
    node = App::NodeHttp;
    asyncio = App::Aiohttp;
    uvloop = App::AiohttpUvloop;
}

#[test]
fn fifty_calls_at_once_by_node() -> Result<()> {
    needs_root!();
    fan(App::NodeHttp)
}

/// A session that is resumed is complete inside a read, whose callback writes the request.
#[test]
fn fifty_calls_at_once_by_fetch_that_resumes_a_session() -> Result<()> {
    needs_root!();
    calls_at_once(App::NodeHttp, "fetch", &[1, CALLS, CALLS])
}

#[test]
fn fifty_calls_at_once_by_aiohttp_on_uvloop() -> Result<()> {
    needs_root!();
    fan(App::AiohttpUvloop)
}

#[test]
fn fifty_calls_at_once_by_aiohttp_on_asyncio() -> Result<()> {
    needs_root!();
    fan(App::Aiohttp)
}

/// Its streams read for all connections first, and only then look inside.
#[test]
fn fifty_calls_at_once_by_httpx() -> Result<()> {
    needs_root!();
    fan(App::FastApi)
}
