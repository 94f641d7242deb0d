//! Plaintext inside TLS, and ciphertext whose plaintext is not seen, or not yet.

use crate::world::{World, text};
use crate::{OK, get};
use autospan_abi::{PolicyMode, Role};
use autospan_core::fact::Threads;

/// A record of application data, cut off as the kernel side cuts it.
const CIPHERTEXT: &str = "\u{17}\u{3}\u{3}\u{1}\u{0}xxxxxxxxxxxxxxxx";
const SECOND: u64 = 1_000_000_000;

#[test]
fn https_is_traced_and_its_two_ends_are_joined() {
    let mut world = World::new();
    world.process(1, Threads::Owned);
    world.tls_server(1, 10, 50_000);
    world.tls_client(1, 20, 40_000);
    world.tls_server(2, 30, 40_000);
    for round in ["/first", "/second"] {
        world.read(100, 10, &get(round));
        world.write(100, 20, &get("/back"));
        world.read(200, 30, &get("/back"));
        world.write(200, 30, OK);
        world.read(100, 20, OK);
        world.write(100, 10, OK);
    }
    let tree = |path| {
        format!("server GET {path} 200 [entry]\n  client GET /back 200 [thread]\n    server GET /back 200 [join]\n")
    };
    assert_eq!(world.trees(), tree("/first") + &tree("/second"));
    for span in &world.spans {
        assert_eq!(text(span, "tls.protocol.version"), Some("1.3"));
    }
}

#[test]
fn of_pipelined_requests_inside_tls_each_is_joined() {
    let mut world = World::new();
    world.tls_client(1, 20, 40_000);
    world.tls_server(2, 30, 40_000);
    world.write(100, 20, &(get("/a") + &get("/b")));
    world.read(200, 30, &(get("/a") + &get("/b")));
    world.write(200, 30, &(OK.to_owned() + OK));
    world.read(100, 20, &(OK.to_owned() + OK));
    let tree = |path| format!("client GET {path} 200 [no_request]\n  server GET {path} 200 [join]\n");
    let expect = tree("/a") + &tree("/b");
    assert_eq!(world.trees(), expect);
}

/// The answer to a request is lost, so that it seems to be under way still, and the next request is lost as well.
#[test]
fn a_request_inside_tls_is_not_joined_to_an_earlier_one_that_stays_open() {
    let mut world = World::new();
    world.tls_client(1, 20, 40_000);
    world.tls_server(2, 30, 40_000);
    for (path, is_lost) in [("/a", false), ("/lost", true)] {
        world.lossy = is_lost;
        world.write(100, 20, &get(path));
        world.lossy = false;
        world.read(200, 30, &get(path));
        world.write(200, 30, OK);
        world.lossy = true;
        world.read(100, 20, OK);
    }
    let trees = world.trees();
    assert!(trees.contains("\nserver GET /lost 200 [entry]\n"), "{trees}");
}

#[test]
fn ends_that_are_seen_from_different_bytes_are_joined_when_their_distance_is_known() {
    let before = |world: &mut World| {
        world.read(200, 30, &get("/before-the-client-was-seen"));
        world.write(200, 30, OK);
    };
    let three = |world: &mut World| {
        for _ in 0..3 {
            world.write(100, 20, &get("/a"));
            world.read(200, 30, &get("/a"));
            world.write(200, 30, OK);
            world.read(100, 20, OK);
        }
        world.trees().matches("\n  server GET /a 200 [join]").count()
    };
    let mut world = World::new();
    world.tls_before_the_agent(1, 20, Role::Client, 40_000);
    world.tls_before_the_agent(2, 30, Role::Server, 40_000);
    before(&mut world);
    assert_eq!(three(&mut world), 1);
    let mut world = World::new();
    world.tls_client(1, 20, 40_000);
    world.tls_server(2, 30, 40_000);
    before(&mut world);
    assert_eq!(three(&mut world), 0, "both saw the handshake: the distance cannot be");
}

#[test]
fn requests_inside_tls_are_joined_however_fast_they_follow_each_other() {
    const REQUESTS: usize = 500;
    let mut world = World::new();
    world.tls_client(1, 20, 40_000);
    world.tls_server(2, 30, 40_000);
    for _ in 0..REQUESTS {
        world.write(100, 20, &get("/a"));
        world.read(200, 30, &get("/a"));
        world.write(200, 30, OK);
        world.read(100, 20, OK);
    }
    assert_eq!(world.trees().matches("[join]").count(), REQUESTS);
}

#[test]
fn ciphertext_is_ignored_at_once_and_counted_when_nobody_reads_it() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.read(100, 10, CIPHERTEXT);
    world.settle();
    let ignored = world.policies.iter().filter(|(_, policy)| policy.mode == PolicyMode::Ignore as u32).count();
    assert_eq!((ignored, world.counter("connections.unknown_protocol")), (1, 0));
    assert_eq!(world.counter("connections.tls_unread"), 0, "its plaintext may turn up yet");
    world.engine.tick(world.now + 3 * SECOND);
    world.engine.tick(world.now + 4 * SECOND);
    assert_eq!(world.counter("connections.tls_unread"), 1);
    world.close(10);
    assert_eq!(world.counter("connections.tls_unread"), 1, "once");
}

#[test]
fn ciphertext_whose_plaintext_turns_up_is_not_unread() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.read(100, 10, CIPHERTEXT);
    world.decrypted(10);
    world.tls_server(1, 11, 50_000);
    world.read(100, 11, &get("/a"));
    world.write(100, 11, OK);
    assert_eq!(world.trees(), "server GET /a 200 [entry]\n");
    world.engine.tick(world.now + 10 * SECOND);
    assert_eq!(world.counter("connections.tls_unread"), 0);
}
