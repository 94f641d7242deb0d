//! The only request in flight is believed to make a call that requests were seen to make, and nobody else.

use crate::world::World;
use crate::{OK, get};
use autospan_core::fact::Threads;

/// Requests that must have made a call before.
const SEEN_FIRST: usize = 4;

const OF_THE_ONE: &str = "\n  client GET /back 200 [only_request]";
const OF_WHO_KNOWS: &str = "\nclient GET /back 200 [ambiguous]";

fn world(threads: Threads) -> World {
    let mut world = World::new();
    world.process(1, threads);
    world.server(1, 10, 50_000);
    world.client(1, 20, 40_000);
    world
}

/// A call by a thread that carries nothing.
fn call(world: &mut World) {
    world.write(101, 20, &get("/back"));
    world.read(102, 20, OK);
}

/// A request that is handed to another thread, which makes the call. Then nothing for a while.
fn request(world: &mut World) {
    world.read(100, 10, &get("/a"));
    call(world);
    world.write(103, 10, OK);
    world.settle();
}

#[test]
fn work_handed_to_another_thread_is_linked_once_requests_were_seen_to_do_it() {
    for threads in [Threads::Unproven, Threads::Multiplexed, Threads::Owned] {
        let mut world = world(threads);
        (0..SEEN_FIRST + 3).for_each(|_| request(&mut world));
        let trees = world.trees();
        assert_eq!(trees.matches(OF_WHO_KNOWS).count(), SEEN_FIRST, "{trees}");
        assert_eq!(trees.matches(OF_THE_ONE).count(), 3, "{trees}");
    }
}

#[test]
fn what_is_also_done_for_no_request_is_never_linked() {
    let mut world = world(Threads::Multiplexed);
    (0..SEEN_FIRST).for_each(|_| request(&mut world));
    call(&mut world);
    world.settle();
    (0..10).for_each(|_| request(&mut world));
    let trees = world.trees();
    assert!(trees.contains("client GET /back 200 [no_request]"), "{trees}");
    assert!(!trees.contains(OF_THE_ONE), "{trees}");
}

#[test]
fn nothing_is_linked_in_a_process_that_has_no_time_to_do_it_for_none() {
    let mut world = world(Threads::Multiplexed);
    for _ in 0..100 {
        world.read(100, 10, &get("/a"));
        call(&mut world);
        world.write(103, 10, OK);
    }
    let trees = world.trees();
    assert_eq!(trees.matches(OF_WHO_KNOWS).count(), 100, "{trees}");
}

#[test]
fn another_call_is_another_habit() {
    let mut world = world(Threads::Multiplexed);
    (0..SEEN_FIRST).for_each(|_| request(&mut world));
    world.read(100, 10, &get("/a"));
    world.write(101, 20, &get("/elsewhere"));
    world.read(101, 20, OK);
    call(&mut world);
    world.write(103, 10, OK);
    let trees = world.trees();
    assert!(trees.contains("\nclient GET /elsewhere 200 [ambiguous]"), "{trees}");
    assert!(trees.contains(OF_THE_ONE), "{trees}");
}

#[test]
fn requests_that_nobody_reads_silence_it_until_they_are_read() {
    /// A record of application data, cut off as the kernel side cuts it.
    const CIPHERTEXT: &str = "\u{17}\u{3}\u{3}\u{1}\u{0}xxxxxxxxxxxxxxxx";
    let mut world = world(Threads::Multiplexed);
    (0..SEEN_FIRST).for_each(|_| request(&mut world));
    world.server(1, 11, 50_001);
    world.read(102, 11, CIPHERTEXT);
    request(&mut world);
    assert_eq!(world.trees().matches(OF_THE_ONE).count(), 0);
    world.decrypted(11);
    request(&mut world);
    assert_eq!(world.trees().matches(OF_THE_ONE).count(), 1);
}

#[test]
fn another_program_in_the_process_has_other_habits() {
    let mut world = world(Threads::Multiplexed);
    (0..SEEN_FIRST).for_each(|_| request(&mut world));
    world.execute(1);
    world.process(1, Threads::Multiplexed);
    request(&mut world);
    assert_eq!(world.trees().matches(OF_THE_ONE).count(), 0);
}

#[test]
fn after_a_loss_nothing_is_linked_for_a_while() {
    let mut world = world(Threads::Multiplexed);
    (0..SEEN_FIRST).for_each(|_| request(&mut world));
    world.lossy = true;
    world.read(100, 10, &get("/lost"));
    world.lossy = false;
    world.write(100, 10, OK);
    request(&mut world);
    assert_eq!(world.trees().matches(OF_THE_ONE).count(), 0);
    world.settle();
    request(&mut world);
    assert_eq!(world.trees().matches(OF_THE_ONE).count(), 1);
}

#[test]
fn requests_on_a_connection_whose_opening_was_lost_silence_it() {
    let mut world = world(Threads::Multiplexed);
    (0..SEEN_FIRST).for_each(|_| request(&mut world));
    world.lossy = true;
    world.server(1, 11, 50_001);
    world.lossy = false;
    world.read(104, 11, &get("/unseen"));
    request(&mut world);
    assert_eq!(world.trees().matches(OF_THE_ONE).count(), 0);
    world.settle();
    request(&mut world);
    assert_eq!(world.trees().matches(OF_THE_ONE).count(), 1);
}
