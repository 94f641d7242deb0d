//! Connections that are used again in the turn in which their response came: the request may go on, or another one may
//! have waited for the connection.

use crate::world::World;
use crate::{OK, get};
use autospan_abi::{Direction, Trail};
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

/// A request that makes two calls on one connection, one after the other.
fn two_calls(world: &mut World) {
    world.trail = Trail::Turn;
    world.read(100, 10, &get("/a"));
    world.write(100, CLIENT, &get("/call"));
    world.read(100, CLIENT, OK);
    world.trail = Trail::Reuse;
    world.write(100, CLIENT, &get("/again"));
    world.read(100, CLIENT, OK);
    world.write(100, 10, OK);
    world.settle();
}

#[test]
fn requests_that_are_alone_go_on_by_the_same_connection_once_many_have_done_so() {
    const SEEN_FIRST: usize = 8;
    let mut world = World::new();
    world.process(1, Threads::Owned);
    world.client(1, CLIENT, 40_000);
    world.server(1, 10, 50_000);
    (0..SEEN_FIRST + 2).for_each(|_| two_calls(&mut world));
    let trees = world.trees();
    assert_eq!(trees.matches("\nclient GET /again 200 [ambiguous]").count(), SEEN_FIRST, "{trees}");
    assert_eq!(trees.matches("\n  client GET /again 200 [turn]").count(), 2, "{trees}");
}

#[test]
fn a_process_that_calls_by_itself_may_have_waited_for_the_connection() {
    let mut world = World::new();
    world.process(1, Threads::Owned);
    world.client(1, CLIENT, 40_000);
    world.server(1, 10, 50_000);
    (0..9).for_each(|_| two_calls(&mut world));
    world.trail = Trail::Turn;
    world.write(100, CLIENT, &get("/heartbeat"));
    world.read(100, CLIENT, OK);
    world.settle();
    two_calls(&mut world);
    let trees = world.trees();
    assert_eq!(trees.matches("\n  client GET /again 200 [turn]").count(), 1, "{trees}");
}

#[test]
fn a_connection_that_somebody_may_have_waited_for_is_nobodys() {
    let mut world = loop_with(&["/a", "/waits"]);
    world.write(100, CLIENT, &get("/again"));
    world.read(100, CLIENT, OK);
    world.write(100, 10, OK);
    assert!(world.trees().contains("client GET /again 200 [ambiguous]"), "{}", world.trees());
}

/// One of two requests in flight uses a connection again, where so many others to the same place have been idle for long.
fn with_others_idle(others: u64) -> String {
    let mut world = loop_with(&["/a", "/sleeps"]);
    world.trail = Trail::Turn;
    for other in 0..others {
        world.client(1, 21 + other, 40_001 + other as u16);
        world.write(100, 21 + other, &get("/other"));
        world.read(100, 21 + other, OK);
    }
    world.now += 100 * MILLISECOND;
    world.write(100, CLIENT, &get("/next"));
    world.read(100, CLIENT, OK);
    world.trail = Trail::Reuse;
    world.write(100, CLIENT, &get("/again"));
    world.read(100, CLIENT, OK);
    world.write(100, 10, OK);
    world.trees()
}

/// A connection on which the agent does not know its place is not known to be idle.
#[test]
fn a_connection_with_a_request_that_could_not_be_read_is_not_idle() {
    let mut world = loop_with(&["/a", "/sleeps"]);
    world.trail = Trail::Turn;
    for other in 0..2 {
        world.client(1, 21 + other, 40_001 + other as u16);
        world.write(100, 21 + other, &get("/other"));
        world.read(100, 21 + other, OK);
    }
    world.transfer(100, 21, Direction::Outbound, b"", 100);
    world.now += 100 * MILLISECOND;
    world.trail = Trail::Reuse;
    world.write(100, CLIENT, &get("/again"));
    world.read(100, CLIENT, OK);
    assert!(world.trees().contains("client GET /again 200 [ambiguous]"), "{}", world.trees());
}

#[test]
fn nobody_waits_where_other_connections_have_been_idle_for_long() {
    let trees = with_others_idle(2);
    assert!(trees.contains("client GET /again 200 [turn]"), "{trees}");
    let trees = with_others_idle(1);
    assert!(trees.contains("client GET /again 200 [ambiguous]"), "its next request may have been lost: {trees}");
}
