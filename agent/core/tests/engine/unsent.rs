//! Calls that a library is asked for by one thread, and that any of its threads may send: gRPC's C core.

use crate::http2::{ACK, Bytes, PREFACE, SETTINGS, frame, grpc_answer, grpc_request, h2_get, h2_ok};
use crate::world::World;
use crate::{OK, get};
use autospan_abi::Trail;
use autospan_core::fact::Threads;

/// The connection on which process 1 calls.
const CHANNEL: u64 = 20;
/// Threads of process 1, each with a request in flight that asks for its own number.
const THREADS: [u32; 3] = [100, 101, 102];

/// The process calls before it is connected, as the first call does.
fn world(settings: &[u8]) -> World {
    let mut world = serving();
    world.start_call(1, 99);
    world.client(1, CHANNEL, 40_000);
    world.return_from_call(1, 99);
    connect(&mut world, settings);
    world.write_bytes(98, CHANNEL, &grpc_request(1, "/first"));
    answer(&mut world, 1);
    world
}

fn serving() -> World {
    let mut world = World::new();
    world.trail = Trail::Task;
    world.process(1, Threads::Multiplexed);
    for tid in THREADS {
        world.server(1, tid.into(), tid as u16);
        world.read(tid, tid.into(), &get(&format!("/{tid}")));
    }
    world
}

fn connect(world: &mut World, settings: &[u8]) {
    world.multiplexed(CHANNEL);
    world.write_bytes(98, CHANNEL, PREFACE);
    world.read_bytes(98, CHANNEL, &[settings, ACK].concat());
}

fn answer(world: &mut World, stream: u32) {
    world.read_bytes(98, CHANNEL, &grpc_answer(stream, "0"));
}

/// A call that its own thread sends.
fn call(world: &mut World, tid: u32, stream: u32) {
    world.start_call(1, tid);
    world.write_bytes(tid, CHANNEL, &grpc_request(stream, &format!("/for-{tid}")));
    world.return_from_call(1, tid);
}

/// The threads that calls have as parents, in the order of the requests; a call with a wrong one is none.
fn parents(mut world: World) -> Vec<u32> {
    THREADS.iter().for_each(|tid| world.write(*tid, (*tid).into(), OK));
    world.close(CHANNEL);
    let trees = world.trees();
    let is_child = |tid: &&u32| {
        let tree = trees
            .split("\nserver ")
            .find(|tree| tree.trim_start_matches("server ").starts_with(&format!("GET /{tid} ")));
        tree.is_some_and(|tree| {
            tree.lines().any(|line| line.starts_with("  client") && line.contains(&format!("for-{tid} ")))
        })
    };
    let found: Vec<u32> = THREADS.iter().filter(is_child).copied().collect();
    assert_eq!(trees.matches("\n  client").count(), found.len(), "{trees}");
    found
}

#[test]
fn what_a_thread_sends_while_it_asks_is_its_own() {
    let mut world = world(SETTINGS);
    for (tid, stream) in [(100, 3), (101, 5), (102, 7)] {
        call(&mut world, tid, stream);
    }
    [5, 3, 7].into_iter().for_each(|stream| answer(&mut world, stream));
    assert_eq!(parents(world), THREADS);
}

#[test]
fn of_two_that_are_asked_for_at_once_neither_has_a_parent() {
    let mut world = world(SETTINGS);
    world.start_call(1, 100);
    world.start_call(1, 101);
    // The second is handed over to the thread that has the connection.
    world.write_bytes(100, CHANNEL, &[grpc_request(3, "/for-101"), grpc_request(5, "/for-100")].concat());
    world.return_from_call(1, 101);
    world.return_from_call(1, 100);
    call(&mut world, 102, 7);
    assert_eq!(parents(world), [102]);
}

#[test]
fn what_is_sent_later_or_by_another_thread_is_nobody_s() {
    let mut world = world(SETTINGS);
    world.start_call(1, 100);
    world.write_bytes(98, CHANNEL, &grpc_request(3, "/for-100"));
    world.return_from_call(1, 100);
    world.start_call(1, 101);
    world.return_from_call(1, 101);
    world.write_bytes(101, CHANNEL, &grpc_request(5, "/for-101"));
    call(&mut world, 102, 7);
    assert_eq!(parents(world), [102]);
}

/// What is sent once more, since a connection ended, is sent for nobody who asks at the time.
#[test]
fn a_head_too_many_in_the_same_call_leaves_it_without_a_parent() {
    let mut world = world(SETTINGS);
    world.start_call(1, 101);
    world.write_bytes(101, CHANNEL, &[grpc_request(3, "/for-100"), grpc_request(5, "/for-101")].concat());
    world.return_from_call(1, 101);
    assert_eq!(parents(world), []);
}

#[test]
fn one_that_waits_may_be_what_another_thread_sends() {
    let mut world = world(SETTINGS);
    world.start_call(1, 100);
    world.return_from_call(1, 100);
    world.start_call(1, 101);
    world.write_bytes(101, CHANNEL, &grpc_request(3, "/for-100"));
    world.return_from_call(1, 101);
    assert_eq!(parents(world), []);
}

/// From half of what the peer takes at once on, some may wait for others to end.
#[test]
fn a_peer_may_make_calls_wait() {
    let mut world = world(&frame(4, 0, 0, &[0, 3, 0, 0, 0, 4]));
    for (tid, stream) in [(100, 3), (101, 5), (102, 7)] {
        call(&mut world, tid, stream);
    }
    assert_eq!(parents(world), [100, 101]);
    let mut world = self::world(SETTINGS);
    call(&mut world, 100, 3);
    world.read_bytes(98, CHANNEL, &frame(4, 0, 0, &[0, 3, 0, 0, 0, 2]));
    call(&mut world, 101, 5);
    answer(&mut world, 3);
    answer(&mut world, 5);
    call(&mut world, 102, 7);
    assert_eq!(parents(world), [100, 102]);
}

/// What it was asked for before may wait still, until it has had nothing to do.
#[test]
fn a_connection_is_joined_in_the_middle() {
    let mut world = serving();
    world.client(1, CHANNEL, 40_000);
    call(&mut world, 100, 11);
    answer(&mut world, 11);
    call(&mut world, 101, 13);
    answer(&mut world, 13);
    world.now += 1_000_000_000;
    call(&mut world, 102, 15);
    answer(&mut world, 15);
    assert_eq!(parents(world), [102]);
}

#[test]
fn heads_of_other_libraries_are_none_of_these_calls() {
    let mut world = world(SETTINGS);
    world.client(1, 21, 40_001);
    world.write_bytes(98, 21, &[PREFACE, &h2_get(1, "/other")].concat());
    world.start_call(1, 100);
    world.write_bytes(100, 21, &h2_get(3, "/for-100"));
    world.write_bytes(100, CHANNEL, &grpc_request(3, "/for-100"));
    world.return_from_call(1, 100);
    world.read_bytes(98, 21, &[SETTINGS, ACK, &h2_ok(1), &h2_ok(3)].concat());
    world.close(21);
    assert_eq!(parents(world), [100]);
}
