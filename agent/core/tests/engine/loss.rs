//! Losses: counted, never guessed over.

use crate::world::World;
use crate::{OK, get};

#[test]
fn a_lost_response_costs_that_span_only() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.read(100, 10, &get("/a"));
    world.lossy = true;
    world.write(100, 10, OK);
    world.lossy = false;
    world.read(100, 10, &get("/b"));
    world.write(100, 10, OK);
    world.read(100, 10, &get("/c"));
    world.write(100, 10, OK);
    assert_eq!(world.trees(), "server GET /b 200 [entry]\nserver GET /c 200 [entry]\n");
    assert_eq!(world.counter("dropped.response_lost"), 1);
    assert_eq!(world.counter("dropped.request_lost"), 0);
}

#[test]
fn a_lost_request_costs_that_span_only() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.read(100, 10, &get("/0"));
    world.write(100, 10, OK);
    world.lossy = true;
    world.read(100, 10, &get("/a"));
    world.lossy = false;
    world.write(100, 10, OK);
    world.read(100, 10, &get("/b"));
    world.write(100, 10, OK);
    assert_eq!(world.trees(), "server GET /0 200 [entry]\nserver GET /b 200 [entry]\n");
    assert_eq!(world.counter("dropped.request_lost"), 1);
    assert_eq!(world.counter("dropped.response_lost"), 0);
}

#[test]
fn a_lost_response_before_the_close_is_not_a_missing_one() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.read(100, 10, &get("/a"));
    world.lossy = true;
    world.write(100, 10, OK);
    world.lossy = false;
    world.close(10);
    assert_eq!(world.trees(), "");
    assert_eq!(world.counter("dropped.response_lost"), 1);
    assert_eq!(world.counter("stream.gap_bytes"), OK.len() as u64);
}

#[test]
fn an_agent_that_joins_in_the_middle_of_a_response_sees_the_next_request() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.write(100, 10, "the middle of a body that began before the agent");
    world.write(100, 10, "and goes on");
    world.read(100, 10, &get("/a"));
    world.write(100, 10, OK);
    assert_eq!(world.trees(), "server GET /a 200 [entry]\n");
}

#[test]
fn an_agent_that_joins_between_request_and_response_counts_the_response() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.write(100, 10, OK);
    world.read(100, 10, &get("/a"));
    world.write(100, 10, OK);
    assert_eq!(world.trees(), "server GET /a 200 [entry]\n");
    assert_eq!(world.counter("dropped.request_lost"), 1);
}

#[test]
fn garbage_is_counted_and_nothing_else() {
    let mut world = World::new();
    world.engine.feed(&[0xff; 100]);
    world.engine.feed(&[24, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(world.counter("engine.records_invalid"), 2);
}

#[test]
fn heads_that_never_end_are_given_up_together() {
    let mut world = World::new();
    let endless = "x".repeat(16_000);
    for connection in 0..2_000 {
        world.server(1, connection, 50_000);
        world.read(100, connection, &format!("GET /{endless}"));
    }
    let dropped = world.counter("dropped.buffers_full");
    assert!(dropped > 0, "2,000 unfinished heads of 16 KB are more than the limit");
    (0..2_000).for_each(|connection| world.close(connection));
    world.server(1, 5_000, 50_000);
    world.read(100, 5_000, &get("/a"));
    world.write(100, 5_000, OK);
    assert_eq!(world.trees(), "server GET /a 200 [entry]\n");
    assert_eq!(world.counter("dropped.buffers_full"), dropped, "the bytes of closed connections do not count");
}

#[test]
fn exchanges_of_which_nothing_is_left_are_counted() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    let exchange = |world: &mut World, path| {
        world.read(100, 10, &get(path));
        world.write(100, 10, OK);
    };
    exchange(&mut world, "/a");
    world.lossy = true;
    exchange(&mut world, "/lost");
    exchange(&mut world, "/lost");
    world.lossy = false;
    exchange(&mut world, "/b");
    world.lossy = true;
    exchange(&mut world, "/lost");
    world.lossy = false;
    world.close(10);
    assert_eq!(world.trees(), "server GET /a 200 [entry]\nserver GET /b 200 [entry]\n");
    assert_eq!(world.counter("dropped.exchange_lost"), 3);
    assert_eq!(world.counter("dropped.request_lost") + world.counter("dropped.response_lost"), 0);
}

/// Seen: a request, and the response to another one. They have nothing to do with each other.
#[test]
fn a_response_after_lost_turns_answers_none_of_the_requests_before() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.read(100, 10, &get("/a"));
    world.lossy = true;
    world.write(100, 10, OK);
    world.read(100, 10, &get("/b"));
    world.lossy = false;
    world.write(100, 10, OK);
    world.read(100, 10, &get("/c"));
    world.write(100, 10, OK);
    assert_eq!(world.trees(), "server GET /c 200 [entry]\n");
    assert_eq!(world.counter("dropped.response_lost"), 1);
    assert_eq!(world.counter("dropped.request_lost"), 1);
}
