//! Who caused what, where nothing is lost.

use crate::world::World;
use crate::{OK, get};
use autospan_abi::{Direction, PolicyMode, Role};
use autospan_core::engine::{Engine, EngineConfig, Output};
use autospan_core::fact::{Fact, Threads};

/// Process 1 answers `/front` on connection 10 by calling process 2 over 20 → 30.
fn front_calls_back(world: &mut World) {
    world.server(1, 10, 50_000);
    world.client(1, 20, 40_000);
    world.server(2, 30, 40_000);
    world.read(100, 10, &get("/front"));
    world.write(100, 20, &get("/back"));
    world.read(200, 30, &get("/back"));
    world.write(200, 30, OK);
    world.read(100, 20, OK);
    world.write(100, 10, OK);
}

const FRONT_AND_BACK: &str = "\
server GET /front 200 [entry]
  client GET /back 200 [thread]
    server GET /back 200 [join]
";

#[test]
fn a_call_on_the_thread_of_a_request_is_its_child_and_the_other_end_is_joined() {
    let mut world = World::new();
    world.process(1, Threads::Owned);
    front_calls_back(&mut world);
    assert_eq!(world.trees(), FRONT_AND_BACK);
}

#[test]
fn tables_are_empty_at_rest() {
    let mut world = World::new();
    front_calls_back(&mut world);
    world.settle();
    for (table, size) in world.engine.table_sizes() {
        let resting = matches!(table, "connections" | "processes" | "pools" | "routines");
        assert!(resting || size == 0, "{table} has {size} entries at rest");
    }
    [10, 20, 30].into_iter().for_each(|c| world.close(c));
    assert_eq!(world.engine.table_sizes()[0], ("connections", 0));
}

#[test]
fn the_same_input_gives_the_same_output_however_it_is_cut() {
    let mut world = World::new();
    front_calls_back(&mut world);
    let outputs = |cut: usize| {
        let mut engine = Engine::new(EngineConfig::default());
        engine.fact(Fact::Session { secret: [7; 16] });
        world.records().chunks(cut).for_each(|chunk| engine.feed(chunk));
        engine.tick(u64::MAX / 2);
        std::iter::from_fn(|| engine.poll()).collect::<Vec<Output>>()
    };
    let whole = outputs(usize::MAX);
    assert_eq!(whole.iter().filter(|o| matches!(o, Output::Span(_))).count(), 3);
    for cut in 1..300 {
        assert_eq!(outputs(cut), whole, "cut every {cut} bytes");
    }
}

#[test]
fn threads_that_own_requests_keep_concurrent_ones_apart() {
    let mut world = World::new();
    world.process(1, Threads::Owned);
    for n in 0..8u32 {
        world.server(1, 10 + u64::from(n), 50_000);
        world.read(100 + n, 10 + u64::from(n), &get(&format!("/in{n}")));
    }
    for n in (0..8u32).rev() {
        world.client(1, 20 + u64::from(n), 40_000);
        world.write(100 + n, 20 + u64::from(n), &get(&format!("/out{n}")));
    }
    for n in [3, 1, 4, 0, 5, 2, 6, 7u32] {
        world.read(100 + n, 20 + u64::from(n), OK);
        world.write(100 + n, 10 + u64::from(n), OK);
    }
    let expect: String =
        (0..8).map(|n| format!("server GET /in{n} 200 [entry]\n  client GET /out{n} 200 [thread]\n")).collect();
    assert_eq!(world.trees(), expect);
}

#[test]
fn one_thread_with_two_requests_in_flight_gives_no_parent() {
    let mut world = World::new();
    world.process(1, Threads::Owned);
    world.server(1, 10, 50_000);
    world.server(1, 11, 50_001);
    world.client(1, 20, 40_000);
    world.read(100, 10, &get("/a"));
    world.read(100, 11, &get("/b"));
    world.write(100, 20, &get("/of-either"));
    world.read(100, 20, OK);
    world.write(100, 10, OK);
    world.write(100, 11, OK);
    let expect = "server GET /a 200 [entry]\nserver GET /b 200 [entry]\nclient GET /of-either 200 [ambiguous]\n";
    assert_eq!(world.trees(), expect);
}

#[test]
fn an_answered_request_parents_nothing_more() {
    let mut world = World::new();
    world.process(1, Threads::Owned);
    world.server(1, 10, 50_000);
    world.client(1, 20, 40_000);
    world.read(100, 10, &get("/a"));
    world.write(100, 10, OK);
    world.write(100, 20, &get("/later"));
    world.read(100, 20, OK);
    assert_eq!(world.trees(), "server GET /a 200 [entry]\nclient GET /later 200 [answered]\n");
}

#[test]
fn a_trace_context_from_outside_is_continued_through_the_chain() {
    let mut world = World::new();
    world.process(1, Threads::Owned);
    world.server(1, 10, 50_000);
    world.client(1, 20, 40_000);
    world.server(2, 30, 40_000);
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    world.read(
        100,
        10,
        &format!("GET /a HTTP/1.1\r\nHost: x\r\ntraceparent: {traceparent}\r\ntracestate: k=v\r\n\r\n"),
    );
    world.write(100, 20, &get("/b"));
    world.read(200, 30, &get("/b"));
    world.write(200, 30, OK);
    world.read(100, 20, OK);
    world.write(100, 10, OK);
    let expect = "server GET /a 200 [header]\n  client GET /b 200 [thread]\n    server GET /b 200 [join]\n";
    assert_eq!(world.trees(), expect);
    let first = &world.spans[0];
    assert_eq!(first.trace_id[..4], [0x4b, 0xf9, 0x2f, 0x35]);
    assert!(first.parent.expect("a parent").remote);
    assert!(world.spans.iter().all(|s| s.trace_state == "k=v"), "tracestate travels along");
}

#[test]
fn pipelined_requests_each_have_their_span() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    let requests: String = (0..50).map(|n| get(&format!("/{n}"))).collect();
    world.read(100, 10, &requests);
    world.write(100, 10, &OK.repeat(50));
    let expect: String = (0..50).map(|n| format!("server GET /{n} 200 [entry]\n")).collect();
    let mut lines: Vec<String> = world.trees().lines().map(|l| format!("{l}\n")).collect();
    lines.sort_by_key(|l| expect.find(l.as_str()));
    assert_eq!(lines.concat(), expect);
}

#[test]
fn the_ends_of_a_unix_socket_are_joined() {
    let mut world = World::new();
    world.unix(1, 10, 20, Role::Client);
    world.unix(2, 20, 10, Role::Server);
    for path in ["/a", "/b"] {
        world.write(100, 10, &get(path));
        world.read(200, 20, &get(path));
        world.write(200, 20, OK);
        world.read(100, 10, OK);
    }
    let pair = |p| format!("client GET {p} 200 [no_request]\n  server GET {p} 200 [join]\n");
    assert_eq!(world.trees(), pair("/a") + &pair("/b"));
}

#[test]
fn a_response_record_that_overtakes_its_request_is_still_its_answer() {
    let mut world = World::new();
    world.client(1, 20, 40_000);
    let early = world.now;
    world.read(101, 20, OK);
    assert_eq!(world.spans.len(), 0);
    // The write was entered before the read returned, and reported after it.
    let now = std::mem::replace(&mut world.now, early);
    world.write(100, 20, &get("/a"));
    world.now = world.now.max(now);
    assert_eq!(world.trees(), "client GET /a 200 [no_request]\n");
    assert_eq!(world.counter("dropped.request_lost"), 0);
}

#[test]
fn a_span_does_not_wait_for_the_next_request() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.read(100, 10, &get("/a"));
    world.write(100, 10, OK);
    world.settle();
    assert_eq!(world.spans.len(), 1);
}

#[test]
fn bodies_that_are_not_copied_have_their_size() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.read(100, 10, &get("/big"));
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
    world.transfer(100, 10, Direction::Outbound, head, head.len());
    for _ in 0..1024 {
        world.transfer(100, 10, Direction::Outbound, b"edge", 1 << 20);
    }
    world.settle();
    assert_eq!(world.spans.len(), 1);
    let size = world.spans[0].attribute("http.response.body.size");
    assert_eq!(size, Some(&autospan_core::span::Value::Int(1 << 30)));
}

#[test]
fn a_connection_of_another_protocol_is_ignored_from_then_on() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    for _ in 0..4 {
        world.read(100, 10, "\u{16}\u{3}\u{1}garbage that is not a request");
        world.write(100, 10, "\u{16}\u{3}\u{3}nor is this a response at all");
    }
    assert_eq!(world.policies.len(), 1);
    assert_eq!(world.policies[0].1.mode, PolicyMode::Ignore as u32);
    assert_eq!(world.counter("connections.unknown_protocol"), 1);
}

#[test]
fn a_request_whose_connection_closes_unanswered_is_an_error() {
    let mut world = World::new();
    world.client(1, 20, 40_000);
    world.write(100, 20, &get("/a"));
    world.close(20);
    assert_eq!(world.trees(), "client GET /a - [no_request]\n");
    assert!(matches!(world.spans[0].status, autospan_core::span::Status::Error(_)));
}

#[test]
fn the_end_of_a_process_ends_its_unix_connections() {
    let mut world = World::new();
    world.unix(1, 10, 20, Role::Client);
    world.write(100, 10, &get("/a"));
    world.exit(1);
    assert_eq!(world.trees(), "client GET /a - [no_request]\n");
    assert_eq!(world.engine.table_sizes()[0], ("connections", 0));
}

#[test]
fn a_request_whose_first_byte_is_read_before_the_answer_before_is_reported() {
    let mut world = World::new();
    world.process(1, Threads::Multiplexed);
    world.tls_server(1, 10, 50_000);
    for path in ["/b", "/c", "/d"] {
        let request = get(path);
        world.read(101, 10, &request[..1]);
        world.write(100, 10, OK);
        world.read(100, 10, &request[1..]);
    }
    world.write(100, 10, OK);
    let tree = "server GET /b 200 [entry]\nserver GET /c 200 [entry]\nserver GET /d 200 [entry]\n";
    assert_eq!(world.trees(), tree);
}
