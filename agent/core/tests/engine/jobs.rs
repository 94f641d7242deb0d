//! Threads that call for requests which other threads read: when it is worth watching what they leave for one another.

use crate::world::World;
use crate::{OK, get};
use autospan_core::fact::Threads;

/// A request in flight on thread 100, and thread 300 with a connection of its own.
fn busy() -> World {
    let mut world = World::new();
    world.process(1, Threads::Owned);
    world.server(1, 10, 50_000);
    world.client(1, 20, 40_000);
    world.read(100, 10, &get("/request"));
    world
}

fn call(world: &mut World, thread: u32, times: usize) {
    for _ in 0..times {
        world.write(thread, 20, &get("/call"));
        world.read(thread, 20, OK);
    }
}

#[test]
fn calls_that_nothing_explains_are_worth_a_look_at_the_process() {
    let mut world = busy();
    call(&mut world, 300, 3);
    assert_eq!(world.watched, []);
    call(&mut world, 300, 10);
    assert_eq!(world.watched, [(1, true)]);
}

#[test]
fn those_of_the_request_s_own_thread_are_not() {
    let mut world = busy();
    call(&mut world, 100, 20);
    assert_eq!(world.watched, []);
    world.write(100, 10, OK);
    call(&mut world, 300, 20);
    assert_eq!(world.watched, [], "there is no request that they could be for");
}

#[test]
fn a_look_that_explains_nothing_is_over_soon() {
    let mut world = busy();
    call(&mut world, 300, 300);
    assert_eq!(world.watched, [(1, true), (1, false)]);
    let mut world = busy();
    call(&mut world, 300, 4);
    for _ in 0..300 {
        world.spawn(100, 300);
        call(&mut world, 300, 1);
    }
    assert_eq!(world.watched, [(1, true)], "it carries what another thread read");
}
