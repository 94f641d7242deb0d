//! Drivers of Node, whose requests share one thread, and connections as well.
//!
//! What a driver says to its server was read from the wire by an independent dissector, when it does so from system calls.

use super::calls::{Call, Target, call};
use super::drivers::{Driver, Without, in_every_way};
use super::series::{self, lookup, prepared};
use crate::need::needs_root;
use anyhow::Result;
use rig::agent::Options;
use rig::database::{Server, Transport};
use rig::service::Settings;
use rig::{App, Database, Receiver, Service, Span};

/// Of a hundred calls of the first requests, where habit tells: those of twelve requests of twenty.
const LEARNT: usize = 60;

/// Connections of a pool that was there before the agent are known once they are used, so that habit has to tell of a request alone,
/// and of eight nothing does.
fn known_pool(target: &Target<'_>, at_first: usize, alone: usize, together: usize) -> Without {
    if target.seen_from_start { Without::NONE } else { Without { at_first, alone, together } }
}

/// Each query that fails costs the pool its connection. For whom a new one is shows while all others are seen to wait for answers, which is
/// not so while they log in, and that takes longer by TCP. A query that fails is answered before its answer ends: until then, a call is under way
/// that is not the next request's, now and then.
const PG: Driver = Driver {
    app: App::NodeDrivers,
    executable: "*/node",
    name: "pg",
    server: Server::Postgres,
    answer: "Ada Grace 23505",
    calls: series::postgres,
    prepared: None,
    tls_in_memory: true,
    without: |target| {
        let together = if target.transport == Transport::Unix { 60 } else { 99 };
        Without { alone: 10, together, ..known_pool(target, LEARNT, 0, 0) }
    },
    reopens: true,
};
/// One connection, whose queue is not seen: in the turn of a response the next one's query is written, which is another's in 99 of 100
/// turns. What nobody saw prepared is a habit as well.
const PG_CLIENT: Driver = Driver {
    name: "pg-client",
    calls: series::postgres_prepared,
    prepared: Some(prepared),
    without: |_| Without { at_first: LEARNT, alone: 0, together: 100 },
    reopens: false,
    ..PG
};
/// While others of its pool are idle, nobody waits for a connection that is used again at once.
const MYSQL2: Driver = Driver {
    name: "mysql2",
    without: |target| known_pool(target, LEARNT, 0, 90),
    server: Server::MariaDb,
    answer: "Ada Grace 1062",
    calls: series::mysql,
    reopens: false,
    ..PG
};
/// What nobody saw prepared is a habit of each connection; of eight requests that use others as well, habit tells nothing.
const MYSQL2_EXECUTE: Driver = Driver {
    name: "mysql2-execute",
    calls: mysql2_execute,
    prepared: Some(prepared_by_mysql),
    without: |target| known_pool(target, 70, 0, 100),
    ..MYSQL2
};
/// One connection, on which one read has the replies to several requests: of eight, some of the first commands are known to be whose they
/// are, or none. That requests need not wait for it is known once several have written at a time.
const IOREDIS: Driver = Driver {
    name: "ioredis",
    server: Server::Redis,
    answer: "tea 2 WRONGTYPE",
    calls: series::redis_increments,
    without: |_| Without { at_first: LEARNT, alone: 0, together: 100 },
    reopens: false,
    ..PG
};
/// The same, and what is written comes from an immediate, with the commands of all who asked for something since the one before: of
/// several requests in nearly all writes (ADR 21).
const NODE_REDIS: Driver = Driver { name: "node-redis", ..IOREDIS };

in_every_way! {
    pg_pool = PG;
    pg_shared_client = PG_CLIENT;
    mysql2_pool = MYSQL2;
    mysql2_pool_prepared = MYSQL2_EXECUTE;
    ioredis_shared = IOREDIS;
    node_redis_shared = NODE_REDIS;
}

fn mysql2_execute(number: usize) -> Vec<Call> {
    let mut calls = series::mysql(number);
    calls.push(prepared_by_mysql());
    calls
}

fn prepared_by_mysql() -> Call {
    call("SELECT", "SELECT count(*) FROM customers WHERE name <> ?").on("customers")
}

/// Spans of a service that has opened what `opened` names, asked by several clients at a time.
fn traced(driver: Driver, opened: &str, databases: &[Database]) -> Result<Vec<Span>> {
    let mut receiver = Receiver::start()?;
    let mut environment = vec![("DRIVERS", opened.to_owned())];
    for database in databases {
        environment.extend(database.environment(Transport::Tcp)?);
    }
    let mut agent = Options::new().arguments(&["--exe", driver.executable]).grpc(&receiver).start()?;
    let service = Service::start_with(driver.app, &Settings { environment, ..Settings::default() })?;
    agent.wait_for(service.pid())?;
    driver.ask_all(&service, 100, &target(&databases[0]))?;
    let pids = service.pids()?;
    agent.stop()?;
    receiver.catch_up()?;
    Ok(receiver.spans(|span| pids.contains(&span.pid())))
}

fn target(database: &Database) -> Target<'_> {
    Target { database, transport: Transport::Tcp, seen_from_start: true, reopens: false }
}

/// Who waits for one connection has no use for others, so that those prove nothing. Nor does one request alone that waited for the end of
/// an answer to the one before: with others idle, that one goes on.
#[test]
fn pg_shared_client_beside_an_idle_pool() -> Result<()> {
    needs_root!();
    let database = [Database::start(Server::Postgres)?];
    let spans = traced(PG_CLIENT, "pg,pg-client", &database)?;
    let without = |_: &Target<'_>| Without { at_first: 100, alone: 30, together: 100 };
    Driver { without, ..PG_CLIENT }.check(&spans, 100, &target(&database[0]));
    Ok(())
}

/// Two servers by turns, with one connection to each: what was written in another's turn must not be taken for its own when the
/// answer has come.
#[test]
fn what_follows_an_answer_on_another_connection() -> Result<()> {
    needs_root!();
    const ON_POSTGRES: Driver = Driver {
        name: "pg-client-ioredis",
        answer: "Ada Grace",
        calls: |number| vec![lookup(number, "?"), lookup(number, "?")],
        prepared: None,
        ..PG_CLIENT
    };
    const ON_REDIS: Driver = Driver { calls: kept, ..ON_POSTGRES };
    let databases = [Database::start(Server::Postgres)?, Database::start(Server::Redis)?];
    let spans = traced(ON_POSTGRES, ON_POSTGRES.name, &databases)?;
    for ((driver, database), system) in [ON_POSTGRES, ON_REDIS].iter().zip(&databases).zip(["postgresql", "redis"]) {
        let is_its = |span: &&Span| ["", system].contains(&span.text("db.system.name"));
        let spans: Vec<_> = spans.iter().filter(is_its).cloned().collect();
        driver.check(&spans, 100, &target(database));
    }
    Ok(())
}

fn kept(number: usize) -> Vec<Call> {
    let set = |id| call("SET", &format!("SET r{number}:{id} ?"));
    vec![set(1), set(2), call("MGET", &format!("MGET r{number}:1 r{number}:2"))]
}
