//! The rig itself: the services reach their databases by each driver and in each way, with nobody watching.

use anyhow::Result;
use rig::database::{Server, Transport};
use rig::service::Settings;
use rig::{App, Authority, Database, Service};

const TRANSPORTS: [Transport; 3] = [Transport::Tcp, Transport::Unix, Transport::Tls];

fn answers(app: App, drivers: &[&str], server: Server, expected: &str) -> Result<()> {
    let authority = Authority::new()?;
    for transport in TRANSPORTS {
        let database = Database::start_for(server, transport, &authority)?;
        let mut environment = database.environment(transport)?;
        environment.push(("DRIVERS", drivers.join(",")));
        let service = Service::start_with(app, &Settings { environment, ..Settings::default() })?;
        for (number, driver) in drivers.iter().enumerate() {
            let answer = service.connect()?.get(&format!("/{driver}/{number}"))?;
            assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{driver} {transport:?}");
        }
    }
    Ok(())
}

#[test]
fn flask_on_postgresql() -> Result<()> {
    answers(App::FlaskDrivers, &["psycopg2", "psycopg3", "sqlalchemy"], Server::Postgres, "Ada Grace 23505")
}

#[test]
fn flask_on_mariadb() -> Result<()> {
    answers(App::FlaskDrivers, &["pymysql"], Server::MariaDb, "Ada Grace 1062")
}

#[test]
fn flask_on_redis() -> Result<()> {
    answers(App::FlaskDrivers, &["redis"], Server::Redis, "tea 2 WRONGTYPE")
}

#[test]
fn fastapi_on_postgresql() -> Result<()> {
    answers(App::FastApiDrivers, &["asyncpg", "psycopg3", "sqlalchemy"], Server::Postgres, "Ada Grace 23505")?;
    answers(App::FastApiDrivers, &["asyncpg-types"], Server::Postgres, "large")
}

#[test]
fn fastapi_on_redis() -> Result<()> {
    answers(App::FastApiDrivers, &["redis"], Server::Redis, "tea 2 WRONGTYPE")
}

#[test]
fn node_on_postgresql() -> Result<()> {
    answers(App::NodeDrivers, &["pg", "pg-client"], Server::Postgres, "Ada Grace 23505")
}

#[test]
fn node_on_mariadb() -> Result<()> {
    answers(App::NodeDrivers, &["mysql2", "mysql2-execute"], Server::MariaDb, "Ada Grace 1062")
}

#[test]
fn node_on_redis() -> Result<()> {
    answers(App::NodeDrivers, &["ioredis", "node-redis"], Server::Redis, "tea 2 WRONGTYPE")
}

#[test]
fn go_on_postgresql() -> Result<()> {
    answers(App::GoDrivers, &["lib-pq", "pgx"], Server::Postgres, "Ada Grace 23505")
}

#[test]
fn go_on_mariadb() -> Result<()> {
    answers(App::GoDrivers, &["mysql", "mysql-interpolated"], Server::MariaDb, "Ada Grace 1062")
}

#[test]
fn go_on_redis() -> Result<()> {
    answers(App::GoDrivers, &["redigo"], Server::Redis, "tea 2 WRONGTYPE")
}
