//! Shops with PostgreSQL and Redis behind: each order is one trace, from the cache to the table and the servers' ends.

use super::calls::{Account, Call, Target, call, requests};
use super::python::reset;
use super::series::{insert, lookup};
use crate::need::needs_root;
use anyhow::{Result, ensure};
use rig::agent::Options;
use rig::database::{Server, Transport};
use rig::service::Settings;
use rig::{App, Authority, Database, Kind, Receiver, Service, Span};

const CLIENTS: usize = 8;
const ORDERS: usize = 5;

/// A shop.
#[derive(Clone, Copy, Debug)]
struct Shop {
    app: App,
    executable: &'static str,
    /// Which calls an order makes that nobody asked for before.
    calls: fn(usize) -> Vec<Call>,
    /// Of a hundred calls, how many may have no parent.
    without: usize,
}

fn look(number: usize) -> Call {
    call("GET", &format!("GET r{number}:name"))
}

fn keep(number: usize) -> [Call; 2] {
    [call("SET", &format!("SET r{number}:name ?")), call("EXPIRE", &format!("EXPIRE r{number}:name ?"))]
}

/// psycopg 3, whose pool grows, and redis-py.
const FLASK: Shop = Shop {
    app: App::FlaskShop,
    executable: "python3*",
    without: 0,
    calls: |number| {
        let mut calls = vec![look(number), call("BEGIN", "BEGIN"), call("COMMIT", "COMMIT")];
        calls.extend([lookup(number, "$1"), insert(number, "$1, $2")]);
        calls.extend(keep(number));
        calls
    },
};

/// asyncpg, which tidies up behind each statement of its pool, and redis-py on asyncio.
const FASTAPI: Shop = Shop {
    app: App::FastApiShop,
    executable: "python3*",
    without: 0,
    calls: |number| {
        let mut calls = vec![look(number), reset(), reset()];
        calls.extend([lookup(number, "$1"), insert(number, "$1, $2")]);
        calls.extend(keep(number));
        calls
    },
};

/// pg's pool and ioredis, on one connection: a read that holds Redis's replies to several requests tells nothing, nor does what
/// follows it.
const EXPRESS: Shop = Shop {
    app: App::ExpressShop,
    executable: "*/node",
    without: 80,
    calls: |number| {
        let keep = call("SET", &format!("SET r{number}:name ? ? ?"));
        vec![look(number), lookup(number, "$1"), insert(number, "$1, $2"), keep]
    },
};

/// Orders twice at `service`, from several clients at a time: the second time the cache knows.
fn order(service: &Service, first: usize) -> Result<()> {
    let client = |first: usize| -> Result<()> {
        let mut client = service.connect()?;
        for cached in [false, true] {
            for number in first..first + ORDERS {
                let answer = client.get(&format!("/order/{number}"))?;
                let told = answer.text().replace(' ', "").contains(&format!("\"cached\":{cached}"));
                ensure!(answer.status == 200 && told, "{number}: {answer:?} {}", answer.text());
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let numbers = (0..CLIENTS).map(|n| first + n * ORDERS);
        let clients: Vec<_> = numbers.map(|number| scope.spawn(move || client(number))).collect();
        clients.into_iter().try_for_each(|client| client.join().expect("no panic"))
    })
}

/// What clients of Redis say on a new connection, which they make for the request that needs one more: commands that Redis 7.0 does
/// not know, and so fail, and a question. A login that goes well is no span.
fn opens(span: &Span) -> bool {
    let operation = span.text("db.operation.name");
    operation == "INFO" || operation.starts_with("CLIENT ") && span.text("error.type") == "ERR"
}

/// The server's end of a call: its only child, of the same text.
fn check_served(spans: &[Span], call: &Span, database: &[u32]) {
    let served: Vec<_> = spans.iter().filter(|span| span.is_child_of(call)).collect();
    assert_eq!(served.len(), 1, "{call:#?} {served:#?}");
    assert!(served[0].kind == Kind::Server && database.contains(&served[0].pid()), "{call:#?} {served:#?}");
    assert_eq!(served[0].text("db.query.text"), call.text("db.query.text"), "{call:#?} {served:#?}");
}

fn shop(shop: Shop, transport: Transport) -> Result<()> {
    let (mut receiver, authority) = (Receiver::start()?, Authority::new()?);
    let postgres = Database::start_for(Server::Postgres, transport, &authority)?;
    let redis = Database::start_for(Server::Redis, transport, &authority)?;
    // Debian's redis-server is a link to one of its checkers.
    let executables = ["--exe", shop.executable, "--exe", "postgres", "--exe", "redis-*"];
    let mut agent = Options::new().arguments(&executables).grpc(&receiver).start()?;
    let environment = [postgres.environment(transport)?, redis.environment(transport)?].concat();
    let service = Service::start_with(shop.app, &Settings { environment, ..Settings::default() })?;
    agent.wait_for(service.pid())?;
    order(&service, 100)?;
    let (pids, databases) = (service.pids()?, [postgres.pids()?, redis.pids()?].concat());
    agent.stop()?;
    receiver.catch_up()?;
    let spans = receiver.spans(|span| pids.contains(&span.pid()) || databases.contains(&span.pid()));
    let mut account = Account::new(shop.without);
    for number in 100..100 + CLIENTS * ORDERS {
        let path = format!("/order/{number}");
        let orders = requests(&spans, &path);
        assert_eq!(orders.len(), 2, "requests to {path}");
        for (made, expected) in orders.iter().zip([(shop.calls)(number), vec![look(number)]]) {
            let asked: Vec<_> = made.iter().filter(|span| !opens(span)).copied().collect();
            for call in &asked {
                let database = if call.text("db.system.name") == "redis" { &redis } else { &postgres };
                Target { database, transport, seen_from_start: true, reopens: false }.check(call);
                check_served(&spans, call, &databases);
            }
            let made: Vec<_> = asked.iter().map(|span| Call::of(span)).collect();
            account.request(&path, &asked, &made, expected);
        }
    }
    account.close(&spans, Call::of, 0);
    Ok(())
}

macro_rules! shops {
    ($($name:ident = $shop:expr, $transport:ident;)+) => { $(
        #[test]
        fn $name() -> Result<()> {
            needs_root!();
            shop($shop, Transport::$transport)
        }
    )+ };
}

shops! {
    flask_by_tcp = FLASK, Tcp;
    flask_by_unix_sockets = FLASK, Unix;
    flask_by_tls = FLASK, Tls;
    fastapi_by_tcp = FASTAPI, Tcp;
    fastapi_by_unix_sockets = FASTAPI, Unix;
    fastapi_by_tls = FASTAPI, Tls;
    express_by_tcp = EXPRESS, Tcp;
    express_by_unix_sockets = EXPRESS, Unix;
    // More replies are read together than without TLS: 86 to 91 of a hundred calls have no parent.
    express_by_tls = Shop { without: 97, ..EXPRESS }, Tls;
}
