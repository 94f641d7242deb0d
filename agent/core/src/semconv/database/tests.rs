use super::*;
use crate::span::Value;
use crate::sql::Statement;
use alloc::string::String;
use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeMap;

const SERVER: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 5432);
const CLIENT: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 40_000);

const COMPLETE: MessageEnd = MessageEnd { body_bytes: None, truncated: false };
const CUT: MessageEnd = MessageEnd { body_bytes: None, truncated: true };

fn statement() -> Statement {
    Statement {
        text: Some("SELECT * FROM orders WHERE id = ?".into()),
        summary: "SELECT orders".into(),
        operation: Some("SELECT".into()),
        collection: Some("orders".into()),
        procedure: None,
        handle: None,
    }
}

fn exchange(system: DatabaseSystem, statement: Statement) -> Exchange<'static> {
    let namespace = Some(Arc::from("shop"));
    let statement = Arc::new(statement);
    Exchange {
        kind: SpanKind::Client,
        request: DatabaseRequest { system, statement, namespace, batch_size: None, reported: Reported::Always },
        response: Some((DatabaseResponse { returned_rows: Some(3), error: None }, COMPLETE)),
        first_byte_ns: Some(700),
        tls: None,
        ends: Ends::Inet { local: CLIENT, remote: SERVER },
    }
}

fn select() -> Exchange<'static> {
    exchange(DatabaseSystem::PostgreSql, statement())
}

fn failing(code: &str) -> Exchange<'static> {
    let response = DatabaseResponse { returned_rows: None, error: Some(code.into()) };
    Exchange { response: Some((response, COMPLETE)), ..select() }
}

fn attributes(exchange: Exchange<'_>) -> BTreeMap<String, String> {
    let described = exchange.describe().expect("it is reported");
    let count = described.attributes.len();
    let text = |value| match value {
        Value::String(text) => text.into_owned(),
        Value::Int(n) => n.to_string(),
        other => alloc::format!("{other:?}"),
    };
    let map: BTreeMap<_, _> = described.attributes.into_iter().map(|a| (a.key.into_owned(), text(a.value))).collect();
    assert_eq!(map.len(), count, "a key came twice");
    map
}

#[test]
fn all_attributes_of_a_query() {
    let expected = [
        ("db.system.name", "postgresql"),
        ("db.operation.name", "SELECT"),
        ("db.collection.name", "orders"),
        ("db.namespace", "shop"),
        ("db.query.text", "SELECT * FROM orders WHERE id = ?"),
        ("db.query.summary", "SELECT orders"),
        ("db.response.returned_rows", "3"),
        ("autospan.time_to_first_byte_ns", "700"),
        ("server.address", "10.0.0.2"),
        ("server.port", "5432"),
        ("network.peer.address", "10.0.0.2"),
        ("network.peer.port", "5432"),
        ("network.transport", "tcp"),
    ];
    let expected: BTreeMap<_, _> = expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    assert_eq!(attributes(select()), expected);
}

#[test]
fn the_name_is_the_summary_or_the_command_or_the_system() {
    let name = |statement| {
        let described = exchange(DatabaseSystem::Redis, statement).describe().expect("it is reported");
        described.name.into_owned()
    };
    assert_eq!(name(statement()), "SELECT orders");
    assert_eq!(name(Statement { summary: String::new(), collection: None, ..statement() }), "SELECT");
    assert_eq!(name(Statement::default()), "redis");
}

#[test]
fn a_command_of_redis_is_no_query_with_a_summary() {
    let attributes = attributes(exchange(DatabaseSystem::Redis, statement()));
    assert_eq!(attributes.get("db.query.summary"), None);
    assert_eq!(attributes["db.system.name"], "redis");
}

#[test]
fn an_error_is_its_code() {
    let attributes = attributes(failing("23505"));
    assert_eq!([&*attributes["error.type"], &*attributes["db.response.status_code"]], ["23505"; 2]);
    assert_eq!(failing("23505").describe().map(|d| d.status), Some(Status::Error("".into())));
    assert_eq!(select().describe().map(|d| d.status), Some(Status::Unset));
}

#[test]
fn an_answer_that_is_cut_short_is_an_error() {
    let response = |end| Some((DatabaseResponse::default(), end));
    for response in [None, response(CUT)] {
        let exchange = Exchange { response, ..select() };
        assert_eq!(attributes(exchange)["error.type"], "connection_closed");
    }
}

#[test]
fn what_nobody_asked_for_is_reported_if_it_fails() {
    let unasked = |exchange: Exchange<'static>| {
        let request = DatabaseRequest { reported: Reported::IfFailed, ..exchange.request };
        Exchange { request, ..exchange }
    };
    assert_eq!(unasked(select()).describe(), None);
    assert!(unasked(failing("28P01")).describe().is_some());
    assert!(unasked(Exchange { response: None, ..select() }).describe().is_some());
}

#[test]
fn a_unix_socket_is_an_address_without_a_port() {
    let ends = Ends::Unix { path: b"/run/postgresql/.s.PGSQL.5432" };
    let attributes = attributes(Exchange { ends, ..select() });
    assert_eq!(attributes["server.address"], "/run/postgresql/.s.PGSQL.5432");
    assert_eq!(attributes["network.transport"], "unix");
    assert_eq!(attributes.get("server.port"), None);
}
