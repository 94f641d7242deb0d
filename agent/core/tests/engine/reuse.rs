//! Connections that are used again in the turn in which their response came: the request may go on, or another one may
//! have waited for the connection.

use crate::world::World;
use crate::{OK, get};
use autospan_abi::Trail;
use autospan_core::fact::Threads;

const CLIENT: u64 = 20;
const MILLISECOND: u64 = 1_000_000;

/// A process with one event loop and one request of each of these paths in flight; the first makes a call and has the answer.
fn loop_with(paths: &[&str]) -> World {
    let mut world = World::new();
    world.process(1, Threads::Owned);
    world.trail = Trail::Turn;
    world.client(1, CLIENT, 40_000);
    for (connection, path) in (10..).zip(paths).skip(1) {
        world.server(1, connection, 50_000 + connection as u16);
        world.read(100, connection, &get(path));
    }
    world.server(1, 10, 50_000);
    world.read(100, 10, &get(paths[0]));
    world.write(100, CLIENT, &get("/call"));
    world.read(100, CLIENT, OK);
    world.trail = Trail::Reuse;
    world
}

#[test]
fn a_request_that_is_alone_goes_on_by_the_same_connection() {
    let mut world = loop_with(&["/a"]);
    world.write(100, CLIENT, &get("/again"));
    world.read(100, CLIENT, OK);
    world.write(100, 10, OK);
    assert!(world.trees().contains("  client GET /again 200 [turn]"), "{}", world.trees());
}

#[test]
fn a_connection_that_somebody_may_have_waited_for_is_nobodys() {
    let mut world = loop_with(&["/a", "/waits"]);
    world.write(100, CLIENT, &get("/again"));
    world.read(100, CLIENT, OK);
    world.write(100, 10, OK);
    assert!(world.trees().contains("client GET /again 200 [ambiguous]"), "{}", world.trees());
}

#[test]
fn nobody_waits_where_another_connection_has_been_idle_for_long() {
    let mut world = loop_with(&["/a", "/sleeps"]);
    world.trail = Trail::Turn;
    world.client(1, 21, 40_001);
    world.write(100, 21, &get("/other"));
    world.read(100, 21, OK);
    world.now += 100 * MILLISECOND;
    world.write(100, CLIENT, &get("/next"));
    world.read(100, CLIENT, OK);
    world.trail = Trail::Reuse;
    world.write(100, CLIENT, &get("/again"));
    world.read(100, CLIENT, OK);
    world.write(100, 10, OK);
    assert!(world.trees().contains("client GET /again 200 [turn]"), "{}", world.trees());
}
