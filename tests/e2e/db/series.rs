//! What the apps of `tests/apps/db` ask in one request, by drivers that say the same.

use super::calls::{Call, call};

pub(super) fn select(number: usize) -> Call {
    call("SELECT", &format!("SELECT ? AS r{number}"))
}

/// `id`: the parameter, or what stands for a literal.
pub(super) fn lookup(number: usize, id: &str) -> Call {
    call("SELECT", &format!("SELECT name AS r{number} FROM customers WHERE id = {id}")).on("customers")
}

pub(super) fn insert(number: usize, values: &str) -> Call {
    let text = format!("INSERT INTO orders (customer_id, item) VALUES ({values}) RETURNING id AS r{number}");
    call("INSERT", &text).on("orders")
}

pub(super) fn violation(number: usize, error: &'static str) -> Call {
    let text = format!("INSERT INTO customers (id, name) VALUES (?, ?) RETURNING id AS r{number}");
    call("INSERT", &text).on("customers").failing(error)
}

/// The statement that was prepared when the connection was opened.
pub(super) fn prepared() -> Call {
    call("SELECT", "SELECT count(*) FROM customers WHERE name <> $1").on("customers")
}

/// What has parameters is prepared without a name first, and that is no call.
pub(super) fn postgres(number: usize) -> Vec<Call> {
    vec![
        select(number),
        lookup(number, "$1"),
        lookup(number, "$1"),
        insert(number, "$1, $2"),
        violation(number, "23505"),
    ]
}

/// What has parameters is prepared under a name.
pub(super) fn postgres_prepared(number: usize) -> Vec<Call> {
    let mut calls = postgres(number);
    calls.push(prepared());
    calls
}

/// Where they are prepared, executed and closed, that is one call.
pub(super) fn mysql(number: usize) -> Vec<Call> {
    vec![select(number), lookup(number, "?"), lookup(number, "?"), insert(number, "?, ?"), violation(number, "1062")]
}

pub(super) fn redis(number: usize) -> Vec<Call> {
    let on_key = |command: &str, rest: &str| call(command, &format!("{command} r{number}:{rest}"));
    vec![
        on_key("SET", "a ?"),
        on_key("GET", "a"),
        // A pipeline.
        on_key("INCRBY", "n ?"),
        on_key("EXPIRE", "n ?"),
        on_key("LPUSH", "l ? ?"),
        // A transaction.
        call("MULTI", "MULTI"),
        on_key("SET", "b ?"),
        on_key("INCRBY", "n ?"),
        call("EXEC", "EXEC"),
        on_key("LPUSH", "a ?").failing("WRONGTYPE"),
    ]
}

/// Neither Node's nor Go's clients know INCRBY when they are asked for INCR.
pub(super) fn redis_increments(number: usize) -> Vec<Call> {
    let increment = call("INCRBY", &format!("INCRBY r{number}:n ?"));
    let mut calls = redis(number);
    for found in calls.iter_mut().filter(|call| **call == increment) {
        *found = call("INCR", &format!("INCR r{number}:n"));
    }
    calls
}
