//! Work that goes on behind a response, or belongs to no request: whoever is asked for something meanwhile has no part in it.

use crate::need::needs_root;
use anyhow::{Result, ensure};
use rig::agent::Options;
use rig::database::{Server, Transport};
use rig::service::Settings;
use rig::{App, Client, Database, Kind, Receiver, Service, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a request asks for by itself.
const OWN: &str = "customers";
/// What nothing but work behind responses and timers asks for.
const OTHER: &str = "orders";

/// How `tests/apps/db/node/behind.js` serves a request.
#[derive(Clone, Copy, Debug)]
struct Way {
    name: &'static str,
    /// The calls that it waits for, and those behind it.
    calls: [usize; 2],
}

const PAIR: Way = Way { name: "pair", calls: [2, 0] };
const LATE: Way = Way { name: "late", calls: [1, 1] };
const LATE_PAIR: Way = Way { name: "late-pair", calls: [2, 1] };
const TOGETHER: Way = Way { name: "together", calls: [3, 0] };
const WAYS: [Way; 8] = [
    PAIR,
    TOGETHER,
    Way { name: "before", calls: [1, 2] },
    Way { name: "after", calls: [1, 2] },
    Way { name: "timer", calls: [1, 2] },
    Way { name: "queue", calls: [1, 3] },
    Way { name: "continuation", calls: [2, 2] },
    Way { name: "failure", calls: [2, 1] },
];

/// One request: its number is its place among all.
#[derive(Clone, Copy, Debug)]
struct Request {
    way: Way,
    /// What the work behind it asks for.
    table: &'static str,
}

impl Request {
    /// What the texts of its calls are marked with.
    fn marks(self, number: usize) -> impl Iterator<Item = Mark> {
        let marks = |who, count| (1..=count).map(move |nth| Mark { who, number, nth });
        let [own, behind] = self.way.calls;
        marks(Who::Own, own).chain(marks(Who::Behind, behind))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Own,
    Behind,
    Beat,
}

/// Who made a call, as its text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    who: Who,
    /// Of the request; of the beat.
    number: usize,
    nth: usize,
}

impl Mark {
    fn of(call: &Span) -> Option<Self> {
        let words = call.text("db.query.text").split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.filter_map(Self::parse).next()
    }

    fn parse(word: &str) -> Option<Self> {
        let mut parts = word.split('_');
        let who = match parts.next()? {
            "own" => Who::Own,
            "behind" => Who::Behind,
            "beat" => Who::Beat,
            _ => return None,
        };
        let number = parts.next()?.parse().ok()?;
        Some(Self { who, number, nth: parts.next().map_or(Some(0), |nth| nth.parse().ok())? })
    }
}

/// What the service is asked for, and when.
#[derive(Debug, Default)]
struct Plan(Vec<Request>);

/// How far apart one client's requests are that shall teach what they make.
const APART: Duration = Duration::from_millis(30);

impl Plan {
    /// From several clients, each one after the other on its own connection, with `pause` in between.
    fn ask(&mut self, service: &Service, driver: Driver, clients: &[Vec<Request>], pause: Duration) -> Result<()> {
        let ask = |first: usize, requests: &[Request]| -> Result<()> {
            let mut client = service.connect()?;
            requests.iter().enumerate().try_for_each(|(n, request)| {
                get(&mut client, driver, *request, first + n)?;
                std::thread::sleep(pause);
                Ok(())
            })
        };
        std::thread::scope(|scope| {
            let mut first = self.0.len();
            let mut running = Vec::new();
            for requests in clients {
                running.push(scope.spawn(move || ask(first, requests)));
                first += requests.len();
            }
            running.into_iter().try_for_each(|client| client.join().expect("no panic"))
        })?;
        self.0.extend(clients.iter().flatten());
        Ok(())
    }

    fn marks(&self) -> impl Iterator<Item = Mark> {
        self.0.iter().enumerate().flat_map(|(number, request)| request.marks(number))
    }
}

fn get(client: &mut Client, driver: Driver, Request { way, table }: Request, number: usize) -> Result<()> {
    let answer = client.get(&format!("/{}/{}/{table}/{number}", driver.name, way.name))?;
    ensure!(answer.status == 200 && answer.text() == "done", "{answer:?}");
    Ok(())
}

/// As `tests/apps/db/node/behind.js` knows it.
#[derive(Clone, Copy, Debug)]
struct Driver {
    name: &'static str,
    server: Server,
}

/// Every so many ms a timer makes a call of its own.
const BEAT: &str = "70";
/// As many of these are waited for, however soon the requests were answered.
const BEATS_MIN: usize = 12;

/// Runs the service under the agent's eyes while `ask` asks it, and checks what came of it.
fn watched(driver: Driver, beats: bool, ask: impl FnOnce(&mut Plan, &Service, Driver) -> Result<()>) -> Result<()> {
    let (mut receiver, database) = (Receiver::start()?, Database::start(driver.server)?);
    let mut agent = Options::new().arguments(&["--exe", "*/node"]).grpc(&receiver).start()?;
    let mut environment = database.environment(Transport::Tcp)?;
    environment.push(("DRIVER", driver.name.to_owned()));
    environment.extend(beats.then(|| ("BEAT", BEAT.to_owned())));
    let service = Service::start_with(App::NodeBehind, &Settings { environment, ..Settings::default() })?;
    agent.wait_for(service.pid())?;
    let mut plan = Plan::default();
    ask(&mut plan, &service, driver)?;
    let made: BTreeSet<_> = plan.marks().collect();
    let pid = service.pid();
    // Work goes on for a while behind the last response.
    let is_requests = |span: &Span| span.calls(&[pid]) && Mark::of(span).is_some_and(|mark| mark.who != Who::Beat);
    receiver.wait_spans(made.len(), is_requests)?;
    if beats {
        receiver.wait_spans(BEATS_MIN, |span| Mark::of(span).is_some_and(|mark| mark.who == Who::Beat))?;
    }
    agent.stop()?;
    receiver.catch_up()?;
    let spans = receiver.spans(|span| span.pid() == pid);
    check_counts(&spans, &made, beats);
    check_parents(&spans, driver);
    Ok(())
}

/// Each call that was made is one span, and there are no others.
fn check_counts(spans: &[Span], made: &BTreeSet<Mark>, beats: bool) {
    let mut seen = BTreeMap::<Mark, usize>::new();
    for span in spans.iter().filter(|span| span.kind == Kind::Client) {
        let mark = Mark::of(span).unwrap_or_else(|| panic!("nobody made this call: {span:#?}"));
        *seen.entry(mark).or_default() += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "one call is several spans: {twice:?}");
    let (timers, requests): (BTreeSet<_>, BTreeSet<_>) = seen.into_keys().partition(|mark| mark.who == Who::Beat);
    assert_eq!(&requests, made);
    let numbers: Vec<_> = timers.iter().map(|mark| mark.number).collect();
    let expected: Vec<_> = numbers.first().map_or(Vec::new(), |first| (*first..first + numbers.len()).collect());
    assert_eq!(numbers, expected, "a beat is missing");
    assert_eq!(beats, numbers.len() >= BEATS_MIN, "{} beats", numbers.len());
}

/// A request has its own calls alone, and a timer's are nobody's.
fn check_parents(spans: &[Span], driver: Driver) {
    let servers: BTreeMap<_, _> =
        spans.iter().filter(|span| span.kind == Kind::Server).map(|span| (span.span_id.as_str(), span)).collect();
    let mut shares = BTreeMap::<Who, [usize; 2]>::new();
    let mut wrong = Vec::new();
    for (mark, span) in spans.iter().filter_map(|span| Some((Mark::of(span)?, span))) {
        let [with, all] = shares.entry(mark.who).or_default();
        *all += 1;
        if span.parent_span_id.is_empty() {
            continue;
        }
        *with += 1;
        let parent = servers.get(span.parent_span_id.as_str()).filter(|parent| span.is_child_of(parent));
        let path = parent.map_or("", |parent| parent.text("url.path"));
        if mark.who == Who::Beat || path.rsplit('/').next() != Some(&mark.number.to_string()) {
            wrong.push(format!("{mark:?}, by {:?}: child of {path:?}", span.text("autospan.parent.evidence")));
        }
    }
    for (who, [with, all]) in shares {
        println!("{}: {with} of {all} calls have a parent: {who:?}", driver.name);
    }
    assert!(wrong.is_empty(), "{} wrong parents:\n{}", wrong.len(), wrong.join("\n"));
}

const CLIENTS: usize = 8;

fn requests(ways: &[Way], tables: &[&'static str], count: usize) -> Vec<Request> {
    let all = tables.iter().flat_map(|table| ways.iter().map(|way| Request { way: *way, table }));
    all.cycle().take(count).collect()
}

/// One client, then eight, beside a timer.
fn in_all_ways(driver: Driver) -> Result<()> {
    watched(driver, true, |plan, service, driver| {
        let requests = |count| requests(&WAYS, &[OWN, OTHER], count);
        plan.ask(service, driver, &[requests(70)], Duration::ZERO)?;
        plan.ask(service, driver, &vec![requests(14); CLIENTS], Duration::ZERO)
    })
}

/// A request that waits for an answer waits for a connection as well.
fn two_at_once(driver: Driver) -> Result<()> {
    watched(driver, false, |plan, service, driver| {
        let requests = |count| requests(&[PAIR, TOGETHER], &[OWN], count);
        plan.ask(service, driver, &[requests(20)], Duration::ZERO)?;
        [2, 3, CLIENTS]
            .iter()
            .try_for_each(|clients| plan.ask(service, driver, &vec![requests(24); *clients], Duration::ZERO))
    })
}

/// Requests teach what they make, each alone; then some go on behind their responses, with the same, while the next one waits.
fn against_habit(driver: Driver, then: Way) -> Result<()> {
    watched(driver, false, |plan, service, driver| {
        plan.ask(service, driver, &[requests(&[PAIR], &[OWN], 20)], APART)?;
        plan.ask(service, driver, &[requests(&[then], &[OWN], 20)], Duration::ZERO)
    })
}

macro_rules! behind {
    ($($name:ident = $driver:literal, $server:ident;)+) => { $(
        mod $name {
            use super::*;

            const DRIVER: Driver = Driver { name: $driver, server: Server::$server };

            #[test]
            fn in_all_ways() -> Result<()> {
                needs_root!();
                super::in_all_ways(DRIVER)
            }

            #[test]
            fn beside_what_waits_for_two_at_once() -> Result<()> {
                needs_root!();
                two_at_once(DRIVER)
            }

            /// It takes the place of a call that requests make, and none waits for it.
            #[test]
            fn instead_of_what_requests_make() -> Result<()> {
                needs_root!();
                against_habit(DRIVER, LATE)
            }

            /// It is answered before the request is.
            #[test]
            fn beside_what_requests_make() -> Result<()> {
                needs_root!();
                against_habit(DRIVER, LATE_PAIR)
            }
        }
    )+ };
}

behind! {
    pg_pool = "pg", Postgres;
    pg_connect = "pg-connect", Postgres;
    pg_shared_client = "pg-client", Postgres;
    pg_shared_client_beside_an_idle_pool = "pg-client-pool", Postgres;
    mysql2_pool = "mysql2", MariaDb;
    mysql2_shared_connection = "mysql2-connection", MariaDb;
    ioredis_shared = "ioredis", Redis;
    node_redis_shared = "node-redis", Redis;
}
