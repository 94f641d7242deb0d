//! Many requests: pipelined, at full speed, and with the agent dying in between.

use crate::need::needs_root;
use anyhow::{Result, ensure};
use rig::agent::{Options, Stopped};
use rig::service::Settings;
use rig::wrk::Load;
use rig::{Address, Agent, App, Client, Nginx, Receiver, Service, Span, wrk};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PIPELINED: usize = 50;
const FULL_SPEED_REQUESTS: u64 = 100_000;
const CONNECTIONS: u32 = 16;

/// Sends 50 requests in one write; answer number n has n bytes.
fn pipeline(address: &Address) -> Result<()> {
    let mut client = Client::connect(address)?;
    let requests = (0..PIPELINED).flat_map(|n| client.request("GET", &format!("/size/{n}"), &[]));
    let bytes: Vec<u8> = requests.collect();
    client.send(&bytes)?;
    for n in 0..PIPELINED {
        assert_eq!(client.response()?.body.len(), n);
    }
    Ok(())
}

/// One span per request, each with the right answer.
fn check_pipelined(receiver: &Receiver, pids: &[u32]) -> Result<()> {
    let spans = receiver.wait_spans(PIPELINED, |span| span.serves(pids))?;
    assert_eq!(spans.len(), PIPELINED, "{spans:#?}");
    for n in 0..PIPELINED {
        let path = format!("/size/{n}");
        let span = spans.iter().find(|span| span.text("url.path") == path).expect("a span for each path");
        assert_eq!(span.number("http.response.body.size"), Some(i64::try_from(n)?), "{span:?}");
        assert!(span.start_unix_ns <= span.end_unix_ns, "{span:?}");
    }
    Ok(())
}

fn pipelined(app: App) -> Result<()> {
    let receiver = Receiver::start()?;
    let service = Service::start(app)?;
    let agent = Agent::start(&receiver)?;
    pipeline(&service.address)?;
    check_pipelined(&receiver, &service.pids()?)?;
    agent.stop().map(drop)
}

#[test]
fn pipelined_to_node() -> Result<()> {
    needs_root!();
    pipelined(App::NodeHttp)
}

#[test]
fn pipelined_to_go() -> Result<()> {
    needs_root!();
    pipelined(App::Go)
}

#[test]
fn pipelined_through_nginx() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start()?;
    let service = Service::start(App::Go)?;
    let nginx = Nginx::before(&service.address)?;
    let agent = Agent::start(&receiver)?;
    pipeline(&nginx.address)?;
    check_pipelined(&receiver, &nginx.pids()?)?;
    check_pipelined(&receiver, &service.pids()?)?;
    agent.stop().map(drop)
}

#[test]
fn the_last_request_on_an_idle_connection_is_exported_within_a_second() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start()?;
    let service = Service::start(App::NodeHttp)?;
    let agent = Agent::start(&receiver)?;
    let pids = service.pids()?;
    let mut client = Client::connect(&service.address)?;
    for round in 1..=3 {
        client.get("/hello")?;
        receiver.wait_spans_for(Duration::from_secs(1), round, |span| span.serves(&pids))?;
    }
    agent.stop().map(drop)
}

/// Start of the names of all counters of requests that never became an exported span: in the engine, or after it.
const DROPS: &str = "dropped.";

/// Drops that the agent owned up to.
pub(crate) fn dropped(stopped: &Stopped) -> u64 {
    let counters = stopped.counters();
    let drops = counters.iter().filter(|(name, _)| name.starts_with(DROPS));
    drops.map(|(_, count)| count).sum()
}

/// `requests` to `url` of the service with these processes, which listens on `port`.
pub(crate) fn full_speed(url: &str, port: u16, pids: &[u32], requests: u64) -> Result<()> {
    full_speed_by(|| wrk::exactly(url, requests, CONNECTIONS), port, pids, requests)
}

/// The same by another load.
pub(crate) fn full_speed_by(load: impl FnOnce() -> Result<Load>, port: u16, pids: &[u32], requests: u64) -> Result<()> {
    let mut receiver = Receiver::start()?;
    let port = port.to_string();
    let agent = Options::new().arguments(&["--stats", "--port", &port]).grpc(&receiver).start()?;
    let load = load()?;
    assert_eq!((load.requests, load.failures), (requests, 0));
    let stopped = agent.stop()?;
    let dropped = dropped(&stopped);
    receiver.catch_up()?;
    let spans = receiver.spans(|span| span.serves(pids)).len() as u64;
    println!("{:.0} requests/s, {spans} spans, {dropped} counted drops", load.requests_per_second);
    ensure!(spans + dropped == requests, "{spans} spans, {dropped} drops\n{}", stopped.stderr);
    Ok(())
}

#[test]
fn full_speed_to_nginx_every_request_is_a_span_or_a_counted_drop() -> Result<()> {
    needs_root!();
    let nginx = Nginx::before(&Address::loopback()?)?;
    full_speed(&nginx.address.url("/hello"), nginx.port(), &nginx.pids()?, FULL_SPEED_REQUESTS)
}

#[test]
fn full_speed_to_go_every_request_is_a_span_or_a_counted_drop() -> Result<()> {
    needs_root!();
    let service = Service::start(App::Go)?;
    full_speed(&service.url("/hello"), service.port(), &service.pids()?, FULL_SPEED_REQUESTS)
}

/// Seconds of load; the restarts take a fraction of it on an idle machine.
const RESTART_LOAD_SECONDS: u32 = 20;

/// Load on old connections while the agent is killed, started, terminated and started again.
pub(crate) fn restarts(url: &str, port: u16, pids: &[u32]) -> Result<()> {
    let receiver = Receiver::start()?;
    let load = std::thread::scope(|scope| -> Result<_> {
        let load = scope.spawn(|| wrk::for_seconds(url, RESTART_LOAD_SECONDS, CONNECTIONS));
        for end in [Agent::kill, |agent: Agent| agent.stop().map(drop), Agent::kill] {
            let agent = Options::new().arguments(&["--port", &port.to_string()]).grpc(&receiver).start()?;
            let since = now_ns()?;
            receiver.wait_spans(100, |span| span.serves(pids) && span.start_unix_ns > since)?;
            end(agent)?;
            receiver.clear();
        }
        ensure!(!load.is_finished(), "the load ended before the last restart");
        load.join().expect("wrk's thread does not panic")
    })?;
    println!("{load:?}");
    assert_eq!(load.failures, 0, "the agent harmed its services: {load:?}");
    Ok(())
}

pub(crate) fn now_ns() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

#[test]
fn restarts_of_the_agent_harm_no_request_of_nginx() -> Result<()> {
    needs_root!();
    let nginx = Nginx::before(&Address::loopback()?)?;
    restarts(&nginx.address.url("/hello"), nginx.port(), &nginx.pids()?)
}

#[test]
fn restarts_of_the_agent_harm_no_request_of_gunicorn() -> Result<()> {
    needs_root!();
    let service = Service::start(App::FlaskGthread)?;
    restarts(&service.url("/hello"), service.port(), &service.pids()?)
}

#[test]
fn restarts_of_the_agent_harm_no_request_of_go() -> Result<()> {
    needs_root!();
    let service = Service::start(App::Go)?;
    restarts(&service.url("/hello"), service.port(), &service.pids()?)
}

/// Concurrent requests on as many connections: no wrong parent.
#[test]
fn concurrent_chains_never_get_a_wrong_parent() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start()?;
    let last = Service::start(App::Go)?;
    let first = Service::before(App::HttpServer, &last.address)?;
    let agent = Agent::start(&receiver)?;
    let load = wrk::exactly(&first.address.url("/chain"), 400, CONNECTIONS)?;
    assert_eq!(load.failures, 0);
    let (of_first, of_last) = (first.pids()?, last.pids()?);
    let calls = receiver.wait_spans(400, |span| span.calls(&of_first))?;
    let requests = receiver.wait_spans(400, |span| span.serves(&of_first))?;
    receiver.wait_spans(400, |span| span.serves(&of_last))?;
    check_parents(&calls, &requests);
    agent.stop().map(drop)
}

/// Each request calls from an immediate, which runs when other requests have been read as well.
#[test]
fn calls_from_immediates_of_node_are_for_who_asked_for_them() -> Result<()> {
    needs_root!();
    const CLIENTS: usize = 16;
    const REQUESTS: usize = 20;
    let receiver = Receiver::start()?;
    let last = Service::start(App::Go)?;
    let settings = Settings { next: Some(last.url("/size/")), ..Settings::default() };
    let first = Service::start_with(App::NodeHttp, &settings)?;
    let agent = Agent::start(&receiver)?;
    let client = |number: usize| -> Result<()> {
        let mut client = first.connect()?;
        (0..REQUESTS).try_for_each(|i| {
            let answer = client.get(&format!("/later/{}", number * REQUESTS + i))?;
            ensure!(answer.status == 200, "{}", answer.status);
            Ok(())
        })
    };
    // The loop's numbers are known when it has run its immediates once.
    assert_eq!(first.connect()?.get("/hello")?.status, 200);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
        clients.into_iter().try_for_each(|client| client.join().expect("no panic"))
    })?;
    let count = CLIENTS * REQUESTS;
    let calls = receiver.wait_spans(count, |span| span.calls(&[first.pid()]))?;
    let requests = receiver.wait_spans(count + 1, |span| span.serves(&[first.pid()]))?;
    let mut right = 0;
    for call in calls.iter().filter(|call| !call.parent_span_id.is_empty()) {
        let parent = requests.iter().find(|request| call.is_child_of(request)).expect("the parent exists");
        let number = |text: &str| text.rsplit('/').next().map(str::to_owned);
        assert_eq!(number(call.text("url.full")), number(parent.text("url.path")), "{call:?} {parent:?}");
        right += 1;
    }
    // Connections are made in a tick that the immediate asks for, and are for nobody known: one for each client at most.
    let known = count - CLIENTS;
    assert!(right * 100 >= known * 99, "{right} of {count} have a parent");
    agent.stop().map(drop)
}

/// A call lies within its parent; almost all have one.
fn check_parents(calls: &[Span], requests: &[Span]) {
    let mut right = 0;
    for call in calls.iter().filter(|call| !call.parent_span_id.is_empty()) {
        let parent = requests.iter().find(|request| call.is_child_of(request)).expect("the parent exists");
        assert!(
            parent.start_unix_ns <= call.start_unix_ns && call.end_unix_ns <= parent.end_unix_ns,
            "{call:?} {parent:?}"
        );
        right += 1;
    }
    let parents: std::collections::BTreeSet<_> = calls.iter().map(|call| &call.parent_span_id).collect();
    assert_eq!(parents.len(), calls.len(), "each request makes one call");
    assert!(right * 100 >= calls.len() * 99, "{right} of {} have a parent", calls.len());
}
