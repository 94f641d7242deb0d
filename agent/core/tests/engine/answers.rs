//! Connections that many callers share: whose answer a read holds says who goes on.

use crate::world::World;
use crate::{OK, get};
use autospan_abi::Trail;
use autospan_core::fact::Threads;

/// Shared by all requests of the process.
const SHARED: u64 = 20;
const OTHER: u64 = 21;

/// A process with one event loop, a connection that its requests share and another one.
fn event_loop() -> World {
    let mut world = World::new();
    world.process(1, Threads::Owned);
    world.trail = Trail::Turn;
    world.client(1, SHARED, 40_000);
    world.client(1, OTHER, 40_001);
    world.shared.insert(SHARED);
    world
}

/// An event loop, and requests of these paths in flight, each of which has made a call on the shared connection.
fn loop_with(paths: &[&str]) -> World {
    let mut world = event_loop();
    for (connection, path) in (10..).zip(paths) {
        world.server(1, connection, 50_000 + connection as u16);
        world.read(100, connection, &get(path));
        world.write(100, SHARED, &get(&format!("{path}/cache")));
    }
    world
}

/// The loop calls another service, and each request is answered.
fn goes_on(world: &mut World, paths: &[&str]) -> String {
    world.write(100, OTHER, &get("/next"));
    world.read(100, OTHER, OK);
    (10..).zip(paths).for_each(|(connection, _)| world.write(100, connection, OK));
    world.trees()
}

#[test]
fn the_answer_for_one_request_goes_on_for_that() {
    let paths = ["/a", "/b"];
    let mut world = loop_with(&paths);
    world.read(100, SHARED, OK);
    let trees = goes_on(&mut world, &paths);
    assert!(
        trees.starts_with(
            "server GET /a 200 [entry]\n  client GET /a/cache 200 [turn]\n  client GET /next 200 [turn]\n"
        ),
        "{trees}"
    );
}

#[test]
fn whoever_wrote_last_does_not_go_on_by_anothers_answer() {
    let paths = ["/a", "/b", "/c"];
    let mut world = loop_with(&paths);
    world.read(100, SHARED, OK);
    world.read(100, SHARED, OK);
    let trees = goes_on(&mut world, &paths);
    assert!(
        trees.contains("server GET /b 200 [entry]\n  client GET /b/cache 200 [turn]\n  client GET /next 200 [turn]\n"),
        "{trees}"
    );
}

#[test]
fn answers_for_two_requests_in_one_read_are_nobodys() {
    let paths = ["/a", "/b"];
    let mut world = loop_with(&paths);
    world.read(100, SHARED, &[OK, OK].concat());
    let trees = goes_on(&mut world, &paths);
    assert!(trees.contains("\nclient GET /next 200 [ambiguous]\n"), "{trees}");
}

#[test]
fn answers_for_one_request_in_one_read_are_its() {
    let paths = ["/a"];
    let mut world = loop_with(&paths);
    world.write(100, SHARED, &get("/a/more"));
    world.read(100, SHARED, &[OK, OK].concat());
    let trees = goes_on(&mut world, &paths);
    assert!(trees.contains("\n  client GET /next 200 [turn]\n"), "{trees}");
}

#[test]
fn an_answer_for_nobody_beside_one_for_a_request_is_nobodys() {
    for nobody_first in [true, false] {
        let mut world = event_loop();
        world.server(1, 10, 50_010);
        let heartbeat = |world: &mut World| world.write(200, SHARED, &get("/heartbeat"));
        if nobody_first {
            heartbeat(&mut world);
        }
        world.read(100, 10, &get("/a"));
        world.write(100, SHARED, &get("/a/cache"));
        if !nobody_first {
            heartbeat(&mut world);
        }
        world.read(100, SHARED, &[OK, OK].concat());
        let trees = goes_on(&mut world, &["/a"]);
        assert!(!trees.contains("  client GET /next"), "{trees}");
    }
}

#[test]
fn behind_a_loss_answers_are_nobodys_until_the_connection_has_rested() {
    let get_key = |key: &str| format!("*2\r\n$3\r\nGET\r\n$1\r\n{key}\r\n");
    let mut world = event_loop();
    world.server(1, 10, 50_010);
    world.read(100, 10, &get("/a"));
    world.write(100, SHARED, &get_key("a"));
    world.lossy = true;
    world.write(200, SHARED, &get_key("x"));
    world.lossy = false;
    world.write(100, SHARED, &get_key("b"));
    for answer in ["$1\r\na\r\n", "$-1\r\n", "$1\r\nb\r\n"] {
        world.read(100, SHARED, answer);
    }
    let trees = goes_on(&mut world, &["/a"]);
    assert!(!trees.contains("  client GET /next"), "{trees}");
    world.spans.clear();
    world.now += 3_000_000_000;
    for _ in 0..2 {
        world.read(100, 10, &get("/later"));
        world.write(100, SHARED, &get_key("c"));
        world.read(100, SHARED, "$1\r\nc\r\n");
        world.write(100, OTHER, &get("/next"));
        world.read(100, OTHER, OK);
        world.write(100, 10, OK);
        world.settle();
    }
    let trees = world.trees();
    assert!(trees.contains("\n  client GET /next 200 [turn]"), "{trees}");
}

#[test]
fn tokens_of_answers_are_forgotten_with_the_request() {
    let mut world = loop_with(&["/a", "/b"]);
    (0..40).for_each(|_| {
        world.read(100, SHARED, OK);
        world.write(100, SHARED, &get("/more"));
    });
    world.read(100, SHARED, &[OK, OK].concat());
    goes_on(&mut world, &["/a", "/b"]);
    world.settle();
    let left = world.engine.table_sizes().into_iter().find(|(name, _)| *name == "tokens");
    assert_eq!(left, Some(("tokens", 0)));
}
