//! Drivers of Python, sync ones under Flask and async ones under FastAPI.
//!
//! What a driver says to its server beyond what it was asked for was read from the wire by an independent dissector.

use super::calls::{Call, Target, call, requests};
use super::drivers::{Driver, Without, in_every_way};
use super::series::{insert, lookup, prepared, redis, select, violation};
use crate::need::needs_root;
use anyhow::Result;
use rig::agent::Options;
use rig::database::{Server, Transport};
use rig::{App, Authority, Database, Receiver};

const PSYCOPG2: Driver = Driver {
    app: App::FlaskDrivers,
    executable: "python3*",
    name: "psycopg2",
    server: Server::Postgres,
    answer: "Ada Grace 23505",
    calls: literal_transactions,
    prepared: None,
    tls_in_memory: false,
    without: |_| Without::NONE,
    reopens: false,
};
/// What it has prepared before the agent came it has dropped before the agent came.
pub(super) const PSYCOPG3: Driver = Driver { name: "psycopg3", calls: psycopg3, ..PSYCOPG2 };
/// On psycopg2.
pub(super) const SQLALCHEMY: Driver = Driver { name: "sqlalchemy", ..PSYCOPG2 };
pub(super) const PYMYSQL: Driver =
    Driver { name: "pymysql", server: Server::MariaDb, answer: "Ada Grace 1062", calls: pymysql, ..PSYCOPG2 };
/// Its pool is a queue as executors hand work over by. What the first one to take a connection asks is nobody's: that it gives
/// the connection back shows that this is no work. Each of eight connections is used five times.
pub(super) const PYMYSQL_SIMPLE: Driver =
    Driver { name: "pymysql-simple", without: |_| Without { at_first: 50, alone: 0, together: 20 }, ..PYMYSQL };
/// What a request's thread does for another one, which it found in a queue, is not its own. How often that is so is chance.
const PYMYSQL_HELPING: Driver =
    Driver { name: "pymysql-helping", without: |_| Without { at_first: 100, alone: 100, together: 100 }, ..PYMYSQL };
pub(super) const REDIS: Driver =
    Driver { name: "redis", server: Server::Redis, answer: "tea 2 WRONGTYPE", calls: redis, ..PSYCOPG2 };
pub(super) const ASYNCPG: Driver = Driver {
    app: App::FastApiDrivers,
    name: "asyncpg",
    calls: asyncpg,
    prepared: Some(prepared),
    tls_in_memory: true,
    ..PSYCOPG2
};
pub(super) const PSYCOPG3_ASYNC: Driver = Driver { app: App::FastApiDrivers, ..PSYCOPG3 };
/// On asyncpg.
pub(super) const SQLALCHEMY_ASYNC: Driver =
    Driver { app: App::FastApiDrivers, name: "sqlalchemy", calls: sqlalchemy_async, tls_in_memory: true, ..PSYCOPG2 };
pub(super) const REDIS_ASYNC: Driver = Driver { app: App::FastApiDrivers, tls_in_memory: true, ..REDIS };
const ASYNCPG_UVLOOP: Driver = Driver { app: App::FastApiDriversUvloop, ..ASYNCPG };
const REDIS_UVLOOP: Driver = Driver { app: App::FastApiDriversUvloop, ..REDIS_ASYNC };

in_every_way! {
    psycopg_2 = PSYCOPG2;
    psycopg_3 = PSYCOPG3;
    sql_alchemy = SQLALCHEMY;
    py_mysql = PYMYSQL;
    py_mysql_in_simple_queue = PYMYSQL_SIMPLE;
    py_mysql_helping_other_requests = PYMYSQL_HELPING;
    redis_py = REDIS;
    asyncpg_pool = ASYNCPG;
    psycopg_3_async = PSYCOPG3_ASYNC;
    sql_alchemy_async = SQLALCHEMY_ASYNC;
    redis_py_async = REDIS_ASYNC;
    asyncpg_pool_on_uvloop = ASYNCPG_UVLOOP;
    redis_py_on_uvloop = REDIS_UVLOOP;
}

/// A driver that puts parameters into the text.
fn literal_transactions(number: usize) -> Vec<Call> {
    vec![
        call("BEGIN", "BEGIN"),
        select(number),
        lookup(number, "?"),
        lookup(number, "?"),
        insert(number, "?, ?"),
        call("COMMIT", "COMMIT"),
        call("BEGIN", "BEGIN"),
        violation(number, "23505"),
        call("ROLLBACK", "ROLLBACK"),
    ]
}

/// After a rollback it drops what it has prepared on the connection, and prepares that anew in the next request.
fn psycopg3(number: usize) -> Vec<Call> {
    vec![
        call("BEGIN", "BEGIN"),
        select(number),
        lookup(number, "$1"),
        lookup(number, "$1"),
        prepared(),
        insert(number, "$1, $2"),
        call("COMMIT", "COMMIT"),
        call("BEGIN", "BEGIN"),
        violation(number, "23505"),
        call("ROLLBACK", "ROLLBACK"),
        call("DEALLOCATE", "DEALLOCATE ALL"),
    ]
}

/// Its connections are not in autocommit mode, so transactions begin without a word.
fn pymysql(number: usize) -> Vec<Call> {
    vec![
        select(number),
        lookup(number, "?"),
        lookup(number, "?"),
        insert(number, "?, ?"),
        call("COMMIT", "COMMIT"),
        violation(number, "1062"),
        call("ROLLBACK", "ROLLBACK"),
    ]
}

/// What asyncpg says in one message when a connection goes back to its pool: several statements are no one operation.
pub(super) fn reset() -> Call {
    call("", "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;")
}

fn asyncpg(number: usize) -> Vec<Call> {
    vec![
        select(number),
        lookup(number, "$1"),
        lookup(number, "$1"),
        prepared(),
        insert(number, "$1, $2"),
        violation(number, "23505"),
        reset(),
    ]
}

/// The transactions of asyncpg have semicolons.
fn sqlalchemy_async(number: usize) -> Vec<Call> {
    vec![
        call("BEGIN", "BEGIN;"),
        select(number),
        lookup(number, "$1"),
        lookup(number, "$1"),
        insert(number, "$1, $2"),
        call("COMMIT", "COMMIT;"),
        call("BEGIN", "BEGIN;"),
        violation(number, "23505"),
        call("ROLLBACK", "ROLLBACK;"),
    ]
}

/// A connection for each request that asks for an enumeration: asyncpg asks what that is, by a long query, with JIT off.
#[test]
fn asyncpg_asks_for_a_type() -> Result<()> {
    needs_root!();
    const NUMBERS: std::ops::Range<usize> = 100..110;
    let driver = Driver { name: "asyncpg-types", answer: "large", ..ASYNCPG };
    let (mut receiver, authority) = (Receiver::start()?, Authority::new()?);
    let database = Database::start_for(driver.server, Transport::Tcp, &authority)?;
    let agent = Options::new().arguments(&["--exe", driver.executable]).grpc(&receiver);
    let mut agent = agent.start()?;
    let service = driver.start(&database, Transport::Tcp)?;
    agent.wait_for(service.pid())?;
    NUMBERS.into_iter().try_for_each(|number| driver.get(&mut service.connect()?, number))?;
    agent.stop()?;
    receiver.catch_up()?;
    let spans = receiver.spans(|span| span.pid() == service.pid());
    let target = Target { database: &database, transport: Transport::Tcp, seen_from_start: true, reopens: false };
    for number in NUMBERS {
        let calls = requests(&spans, &driver.path(number)).remove(0);
        calls.iter().for_each(|span| target.check(span));
        let texts: Vec<_> = calls.iter().map(|span| span.text("db.query.text")).collect();
        let asked = format!("SELECT box AS r{number} FROM customers WHERE id = $1");
        let jit = ["SELECT current_setting(?) AS cur, set_config(?, ?, ?) AS new", "SELECT set_config(?, $1, ?)"];
        let expected = [jit[0], "WITH RECURSIVE typeinfo_tree(", jit[1], &asked];
        let alike = texts.len() == 4 && texts.iter().zip(expected).all(|(text, start)| text.starts_with(start));
        assert!(alike, "{texts:#?}");
    }
    Ok(())
}

/// Requests leave connections that they have made in a queue as executors hand work over by, and go on for a while.
fn leave_connections(driver: Driver) -> Result<()> {
    let (mut receiver, authority) = (Receiver::start()?, Authority::new()?);
    let database = Database::start_for(driver.server, Transport::Tcp, &authority)?;
    let mut agent = Options::new().arguments(&["--exe", driver.executable]).grpc(&receiver).start()?;
    let service = driver.start(&database, Transport::Tcp)?;
    agent.wait_for(service.pid())?;
    let target = Target { database: &database, transport: Transport::Tcp, seen_from_start: true, reopens: false };
    driver.ask_all(&service, 100, &target)?;
    let pids = service.pids()?;
    agent.stop()?;
    receiver.catch_up()?;
    // Where a connection is made, the driver says how it writes.
    let spans = receiver.spans(|span| pids.contains(&span.pid()) && span.text("db.operation.name") != "SET");
    driver.check(&spans, 100, &target);
    Ok(())
}

/// Who takes a connection does not work for those. The first to take it, that is for nobody, until it is given back.
#[test]
fn py_mysql_in_growing_simple_queue() -> Result<()> {
    needs_root!();
    leave_connections(Driver { name: "pymysql-growing", ..PYMYSQL_SIMPLE })
}

/// Nor does somebody who asks for no request. How often a connection is its turn is chance.
#[test]
fn py_mysql_in_simple_queue_that_others_use() -> Result<()> {
    needs_root!();
    leave_connections(Driver { name: "pymysql-beating", ..PYMYSQL_HELPING })
}
