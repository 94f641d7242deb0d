//! Each driver's calls are children of the request that made them, and of no other: while one client asks, and while eight do.

use super::calls::{Account, Call, Target, UNKNOWN, is_marked, requests};
use anyhow::{Result, ensure};
use rig::agent::Options;
use rig::database::{Server, Transport};
use rig::service::Settings;
use rig::{App, Authority, Client, Database, Kind, Receiver, Service, Span};
use std::collections::HashSet;
use std::ops::Range;

/// Asks for some numbers, several clients at a time, each on its own connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub first: usize,
    pub clients: usize,
    /// Of each client.
    pub requests: usize,
    /// Of a hundred calls, how many may have no parent.
    pub without: usize,
}

impl Load {
    fn numbers(self) -> Range<usize> {
        self.first..self.first + self.clients * self.requests
    }

    /// The numbers behind those of this one.
    fn then(self, clients: usize, requests: usize, without: usize) -> Self {
        Self { first: self.numbers().end, clients, requests, without }
    }
}

/// Of a hundred calls, how many may have no parent: nobody can tell whose they are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Without {
    /// Of the first requests that a service was seen to serve, each alone: what calls it makes is not known yet (ADR 15).
    pub at_first: usize,
    /// Of the requests behind them, each alone as well.
    pub alone: usize,
    /// Of those that eight clients make at a time.
    pub together: usize,
}

impl Without {
    pub(super) const NONE: Self = Self { at_first: 0, alone: 0, together: 0 };
}

/// Eight requests must have made a call before it is taken for theirs where nothing but habit tells (ADR 15), and some of the first
/// tell nothing: on a busy machine three or four.
const AT_FIRST: usize = 20;
const ALONE: usize = 50;
const CLIENTS: usize = 8;
const REQUESTS: usize = 5;
/// Of each driver's pool in `tests/apps/db`.
const CONNECTIONS: usize = 8;

/// A driver as `tests/apps/db` uses it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Driver {
    pub app: App,
    /// What runs the app.
    pub executable: &'static str,
    /// As in the path of a request.
    pub name: &'static str,
    pub server: Server,
    /// What the app answers.
    pub answer: &'static str,
    /// Which calls a request of this number makes.
    pub calls: fn(usize) -> Vec<Call>,
    /// The one of them that each connection has prepared when it was opened.
    pub prepared: Option<fn() -> Call>,
    /// Its TLS reads and writes memory, not the socket.
    pub tls_in_memory: bool,
    pub without: fn(&Target<'_>) -> Without,
    /// Does it make connections anew?
    pub reopens: bool,
}

impl Driver {
    pub(super) fn start(self, database: &Database, transport: Transport) -> Result<Service> {
        let mut environment = database.environment(transport)?;
        environment.push(("DRIVERS", self.name.to_owned()));
        Service::start_with(self.app, &Settings { environment, ..Settings::default() })
    }

    pub(super) fn path(self, number: usize) -> String {
        format!("/{}/{number}", self.name)
    }

    pub(super) fn get(self, client: &mut Client, number: usize) -> Result<()> {
        let answer = client.get(&self.path(number))?;
        ensure!(answer.status == 200 && answer.text() == self.answer, "{answer:?}: {}", answer.text());
        Ok(())
    }

    /// Asks for the path of each number.
    pub(super) fn ask(self, service: &Service, load: Load) -> Result<()> {
        let client = |number: usize| -> Result<()> {
            let mut client = service.connect()?;
            (number..number + load.requests).try_for_each(|number| self.get(&mut client, number))
        };
        std::thread::scope(|scope| {
            let numbers = load.numbers().step_by(load.requests);
            let clients: Vec<_> = numbers.map(|number| scope.spawn(move || client(number))).collect();
            clients.into_iter().try_for_each(|client| client.join().expect("no panic"))
        })
    }

    /// From one client, then from several.
    fn loads(self, first: usize, target: &Target<'_>) -> [Load; 3] {
        let Without { at_first, alone, together } = (self.without)(target);
        let begins = Load { first, clients: 1, requests: AT_FIRST, without: at_first };
        let alone = begins.then(1, ALONE - AT_FIRST, alone);
        [begins, alone, alone.then(CLIENTS, REQUESTS, together)]
    }

    pub(super) fn ask_all(self, service: &Service, first: usize, target: &Target<'_>) -> Result<()> {
        self.loads(first, target).into_iter().try_for_each(|load| self.ask(service, load))?;
        // A driver may tell of a failure before the end of the answer, but asks nothing new on a connection before it.
        self.ask(service, self.last(first, target))
    }

    /// What is asked behind all that is checked.
    fn last(self, first: usize, target: &Target<'_>) -> Load {
        self.loads(first, target)[2].then(1, 1, 100)
    }

    /// Each request has its calls and no others. What has no parent is what requests lack.
    pub(super) fn check(self, spans: &[Span], first: usize, target: &Target<'_>) {
        let forgets = self.prepared.is_some() && !target.seen_from_start;
        let forgot = spans.iter().any(|span| span.text("db.query.text") == UNKNOWN);
        assert_eq!(forgets, forgot, "a statement that was prepared before the agent came is unknown, and no other");
        // Which connection such a session is of shows with its first answer (ADR 12): the call before that is not seen.
        let is_unbound = self.tls_in_memory && target.transport == Transport::Tls && !target.seen_from_start;
        let mut unseen = if is_unbound { CONNECTIONS } else { 0 };
        let (mut rest, loads) = (spans.to_vec(), self.loads(first, target));
        for (load, next) in loads.iter().zip(loads[1..].iter().chain([&self.last(first, target)])) {
            // What starts before the first request of the next load is for this one.
            let ends = self.starts(&rest, *next);
            let (spans, later): (Vec<_>, Vec<_>) = rest.into_iter().partition(|span: &Span| span.start_unix_ns < ends);
            unseen -= self.check_load(&spans, *load, target, unseen);
            rest = later;
        }
    }

    /// When the first of its requests came.
    fn starts(self, spans: &[Span], load: Load) -> u64 {
        let paths: HashSet<_> = load.numbers().map(|number| self.path(number)).collect();
        let is_its = |span: &&Span| span.kind == Kind::Server && paths.contains(span.text("url.path"));
        spans.iter().filter(is_its).map(|span| span.start_unix_ns).min().expect("requests")
    }

    /// The number of calls that are no spans, `unseen` at most.
    pub(super) fn check_load(self, spans: &[Span], load: Load, target: &Target<'_>, unseen: usize) -> usize {
        let see = |span: &Span| self.known(Call::of(span), target);
        let mut account = Account::new(load.without);
        for number in load.numbers() {
            let path = self.path(number);
            let mut requests = requests(spans, &path);
            assert_eq!(requests.len(), 1, "requests to {path}");
            let calls = requests.remove(0);
            calls.iter().for_each(|span| target.check(span));
            let made: Vec<_> = calls.iter().map(|span| see(span)).collect();
            let expected = (self.calls)(number).into_iter().map(|call| self.known(call, target)).collect();
            account.request(&path, &calls, &made, expected);
        }
        let (strays, lost) = account.close(spans, see, unseen);
        strays.into_iter().for_each(|span| target.check(span));
        lost
    }

    /// A statement that was prepared before the agent came is unknown, unless the driver has prepared it anew since.
    fn known(self, call: Call, target: &Target<'_>) -> Call {
        let Some(prepared) = self.prepared.filter(|_| !target.seen_from_start) else { return call };
        // What the answer says is not wrong.
        let is_unknown = call.text == UNKNOWN && ["", "SELECT"].contains(&&*call.operation);
        if is_unknown || call == prepared() { Call::unknown() } else { call }
    }
}

/// A service that reaches its database in one of the ways.
struct Reach<'a> {
    service: Service,
    /// Is it younger than the agent?
    younger: bool,
    database: &'a Database,
    transport: Transport,
    /// The first number that it is asked for while the agent is there.
    first: usize,
}

impl Reach<'_> {
    fn target(&self, driver: Driver) -> Target<'_> {
        let Self { database, transport, younger, .. } = *self;
        Target { database, transport, seen_from_start: younger, reopens: driver.reopens }
    }
}

/// By TCP, by a unix socket and by TLS: a service with open connections that is older than the agent, and one that is younger.
pub(super) fn every_way(driver: Driver) -> Result<()> {
    let (mut receiver, authority) = (Receiver::start()?, Authority::new()?);
    let plain = Database::start(driver.server)?;
    let tls = Database::start_tls(driver.server, &authority)?;
    let ways = [(&plain, Transport::Tcp), (&plain, Transport::Unix), (&tls, Transport::Tls)];
    let mut reaches = Vec::new();
    for (database, transport) in ways {
        let service = driver.start(database, transport)?;
        let first = 1000 * reaches.len();
        let before = Load { first, clients: CLIENTS, requests: REQUESTS, without: 0 };
        driver.ask(&service, before)?;
        reaches.push(Reach { service, younger: false, database, transport, first: before.numbers().end });
    }
    // By executable: some servers open their pool before they listen, and are services from then on.
    let mut agent = Options::new().arguments(&["--exe", driver.executable]).grpc(&receiver).start()?;
    for (database, transport) in ways {
        let service = driver.start(database, transport)?;
        agent.wait_for(service.pid())?;
        reaches.push(Reach { service, younger: true, database, transport, first: 1000 * reaches.len() });
    }
    reaches.iter().try_for_each(|reach| driver.ask_all(&reach.service, reach.first, &reach.target(driver)))?;
    if driver.reopens {
        // A call that fails ends with its connection, behind the answer to who asked.
        let pids: Vec<_> = reaches.iter().map(|reach| reach.service.pid()).collect();
        let count = reaches.len() * (ALONE + CLIENTS * REQUESTS + 1) * (driver.calls)(0).len();
        receiver.wait_spans(count, |span| span.calls(&pids) && is_marked(span))?;
    }
    agent.stop()?;
    receiver.catch_up()?;
    for reach in &reaches {
        let pids = reach.service.pids()?;
        let Reach { transport, younger, .. } = *reach;
        println!("{} {transport:?} {}", driver.name, if younger { "younger" } else { "older" });
        driver.check(&receiver.spans(|span| pids.contains(&span.pid())), reach.first, &reach.target(driver));
    }
    Ok(())
}

macro_rules! in_every_way {
    ($($name:ident = $driver:expr;)+) => { $(
        #[test]
        fn $name() -> anyhow::Result<()> {
            crate::need::needs_root!();
            $crate::db::drivers::every_way($driver)
        }
    )+ };
}
pub(super) use in_every_way;
