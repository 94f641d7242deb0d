//! Drivers of Go. A goroutine is one request's alone, and so is the connection that it has from a pool: nothing is without a
//! parent.
//!
//! What a driver says to its server was read from the wire by an independent dissector.

use super::drivers::{Driver, Without, in_every_way};
use super::series::{self, prepared};
use rig::App;
use rig::database::Server;

const LIB_PQ: Driver = Driver {
    app: App::GoDrivers,
    executable: "*/go_drivers",
    name: "lib-pq",
    server: Server::Postgres,
    answer: "Ada Grace 23505",
    calls: series::postgres,
    prepared: None,
    tls_in_memory: false,
    without: |_| Without::NONE,
    reopens: false,
};
/// Version 4.
const PGX: Driver = Driver { name: "pgx", calls: series::postgres_prepared, prepared: Some(prepared), ..LIB_PQ };
const MYSQL: Driver =
    Driver { name: "mysql", server: Server::MariaDb, answer: "Ada Grace 1062", calls: series::mysql, ..LIB_PQ };
/// With the parameters in the text: the same when they are taken out of it.
const MYSQL_INTERPOLATED: Driver = Driver { name: "mysql-interpolated", ..MYSQL };
const REDIGO: Driver = Driver {
    name: "redigo",
    server: Server::Redis,
    answer: "tea 2 WRONGTYPE",
    calls: series::redis_increments,
    ..LIB_PQ
};

in_every_way! {
    lib_pq_pool = LIB_PQ;
    pgx_pool = PGX;
    go_sql_driver_prepared = MYSQL;
    go_sql_driver_interpolated = MYSQL_INTERPOLATED;
    redigo_pool = REDIGO;
}
