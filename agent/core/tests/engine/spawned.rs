//! Threads that are made for a request: whether they work for it alone shows when they end.

use crate::world::World;
use crate::{OK, get};
use autospan_abi::Trail;
use autospan_core::fact::Threads;

const SECOND: u64 = 1_000_000_000;

/// Two requests in flight, each on a thread of its own; the first has made thread 300, which has called, and has its answer.
fn called() -> World {
    let mut world = World::new();
    world.process(1, Threads::Owned);
    for (connection, thread, path) in [(10, 100, "/a"), (11, 101, "/b")] {
        world.server(1, connection, 50_000 + connection as u16);
        world.read(thread, connection, &get(path));
    }
    world.client(1, 20, 40_000);
    // What a service behind it does has to wait for its place in the trace.
    world.process(2, Threads::Owned);
    world.server(2, 30, 40_000);
    world.client(2, 31, 41_000);
    world.spawn(100, 300);
    call(&mut world, 300, 20, "/call");
    world
}

fn call(world: &mut World, thread: u32, connection: u64, path: &str) {
    world.trail = Trail::Spawned;
    world.write(thread, connection, &get(path));
    world.trail = Trail::Thread;
    world.read(200, 30, &get(path));
    world.write(200, 31, &get("/behind"));
    world.read(200, 31, OK);
    world.write(200, 30, OK);
    world.trail = Trail::Spawned;
    world.read(thread, connection, OK);
    world.trail = Trail::Thread;
}

fn answer_both(world: &mut World) {
    world.write(100, 10, OK);
    world.write(101, 11, OK);
}

const TREE: &str = "\
server GET /a 200 [entry]
  client GET /call 200 [thread]
    server GET /call 200 [join]
      client GET /behind 200 [thread]
server GET /b 200 [entry]
";

#[test]
fn a_thread_that_ends_before_its_request_worked_for_it() {
    let mut world = called();
    world.thread_exit(1, 300);
    answer_both(&mut world);
    assert_eq!(world.trees(), TREE);
}

#[test]
fn so_did_one_that_ends_right_after_it() {
    let mut world = called();
    answer_both(&mut world);
    world.thread_exit(1, 300);
    assert_eq!(world.trees(), TREE);
}

#[test]
fn slow_calls_wait_for_the_end_of_the_thread_and_all_behind_them() {
    let mut world = called();
    for _ in 0..20 {
        world.now += SECOND / 4;
        world.engine.tick(world.now);
    }
    assert!(world.engine.poll().is_none(), "nothing is told before it is known");
    world.thread_exit(1, 300);
    answer_both(&mut world);
    assert_eq!(world.trees(), TREE);
}

#[test]
fn a_thread_that_stays_may_be_a_pools() {
    let mut world = called();
    answer_both(&mut world);
    let trees = world.trees();
    assert!(trees.contains("\nclient GET /call 200 [ambiguous]\n  server GET /call 200 [join]\n"), "{trees}");
    world.thread_exit(1, 300);
}

#[test]
fn nobody_waits_for_ever() {
    let mut world = called();
    for _ in 0..11 {
        world.now += SECOND;
        world.engine.tick(world.now);
    }
    world.settle();
    let names: Vec<_> = world.spans.iter().map(|span| span.name.as_ref()).collect();
    assert_eq!(names.len(), 3, "the call and all behind it: {names:?}");
    answer_both(&mut world);
    assert!(world.trees().contains("client GET /call 200 [ambiguous]"), "{}", world.trees());
}

#[test]
fn a_thread_with_many_calls_is_a_pools() {
    let mut world = called();
    for _ in 0..20 {
        call(&mut world, 300, 20, "/more");
    }
    world.thread_exit(1, 300);
    answer_both(&mut world);
    let trees = world.trees();
    assert!(trees.contains("client GET /call 200 [ambiguous]"), "{trees}");
}

#[test]
fn nothing_is_kept_of_them() {
    let mut world = called();
    answer_both(&mut world);
    for connection in [10, 11, 20, 30, 31] {
        world.close(connection);
    }
    world.now += 11 * SECOND;
    world.settle();
    let left: Vec<_> = world
        .engine
        .table_sizes()
        .into_iter()
        .filter(|(name, size)| *size != 0 && !matches!(*name, "processes" | "routines"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
