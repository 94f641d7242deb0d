//! Pools with fewer connections than there are clients: who had to wait for one goes on with its own request.

use super::calls::Target;
use super::drivers::{Driver, Load};
use super::python;
use crate::need::needs_root;
use anyhow::Result;
use rig::agent::Options;
use rig::database::Transport;
use rig::service::Settings;
use rig::{Authority, Database, Receiver, Service};

const CONNECTIONS: usize = 2;
const CLIENTS: usize = 8;
const REQUESTS: usize = 10;

/// `without`: of a hundred calls, how many may have no parent.
fn wait(driver: Driver, without: usize) -> Result<()> {
    let (mut receiver, authority, transport) = (Receiver::start()?, Authority::new()?, Transport::Tcp);
    let database = Database::start_for(driver.server, transport, &authority)?;
    let mut agent = Options::new().arguments(&["--exe", driver.executable]).grpc(&receiver).start()?;
    let mut environment = database.environment(transport)?;
    environment.extend([("DRIVERS", driver.name.to_owned()), ("POOL", CONNECTIONS.to_string())]);
    let service = Service::start_with(driver.app, &Settings { environment, ..Settings::default() })?;
    agent.wait_for(service.pid())?;
    let load = Load { first: 0, clients: CLIENTS, requests: REQUESTS, without };
    driver.ask(&service, load)?;
    let pids = service.pids()?;
    agent.stop()?;
    receiver.catch_up()?;
    let spans = receiver.spans(|span| pids.contains(&span.pid()));
    let target = Target { database: &database, transport, seen_from_start: true, reopens: false };
    driver.check_load(&spans, load, &target, 0);
    Ok(())
}

macro_rules! wait_for_connections {
    ($($name:ident = $driver:expr, $without:expr;)+) => { $(
        #[test]
        fn $name() -> Result<()> {
            needs_root!();
            wait($driver, $without)
        }
    )+ };
}

wait_for_connections! {
    psycopg_3 = python::PSYCOPG3, 0;
    sql_alchemy = python::SQLALCHEMY, 0;
    py_mysql_in_lifo_queue = python::PYMYSQL, 0;
    // Each connection is used once for nobody.
    py_mysql_in_simple_queue = python::PYMYSQL_SIMPLE, 100 * CONNECTIONS / (CLIENTS * REQUESTS) + 1;
    redis_py = python::REDIS, 0;
    asyncpg = python::ASYNCPG, 0;
    psycopg_3_async = python::PSYCOPG3_ASYNC, 0;
    sql_alchemy_async = python::SQLALCHEMY_ASYNC, 0;
    redis_py_async = python::REDIS_ASYNC, 0;
}
