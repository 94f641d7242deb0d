//! Connections with many exchanges at once.

use crate::world::{Conn, World, text};
use crate::{OK, get};
use autospan_abi::{Direction, PolicyMode, Trail};
use autospan_core::fact::Threads;
use autospan_core::span::{Status, Value};
use proptest::prelude::*;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
pub(crate) const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
pub(crate) const ACK: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
const END_STREAM: u8 = 1;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A name and value of at most 126 bytes, not to be indexed.
fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

fn headers(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let block: Vec<_> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    frame(1, 4 | flags, stream, &block)
}

pub(crate) fn h2_get(stream: u32, path: &str) -> Vec<u8> {
    headers(END_STREAM, stream, &[(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "shop")])
}

pub(crate) fn h2_ok(stream: u32) -> Vec<u8> {
    [headers(0, stream, &[(":status", "200")]), frame(0, END_STREAM, stream, b"ok")].concat()
}

pub(crate) trait Bytes {
    fn read_bytes(&mut self, tid: u32, connection: Conn, bytes: &[u8]);
    fn write_bytes(&mut self, tid: u32, connection: Conn, bytes: &[u8]);
    /// What both ends of a connection say first.
    fn begin(&mut self, tid: u32, client: Option<Conn>, server: Option<Conn>);
}

impl Bytes for World {
    fn read_bytes(&mut self, tid: u32, connection: Conn, bytes: &[u8]) {
        self.transfer(tid, connection, Direction::Inbound, bytes, bytes.len());
    }

    fn write_bytes(&mut self, tid: u32, connection: Conn, bytes: &[u8]) {
        self.transfer(tid, connection, Direction::Outbound, bytes, bytes.len());
    }

    fn begin(&mut self, tid: u32, client: Option<Conn>, server: Option<Conn>) {
        client.into_iter().for_each(|client| self.write_bytes(tid, client, PREFACE));
        server.into_iter().for_each(|server| self.read_bytes(tid, server, PREFACE));
        server.into_iter().for_each(|server| self.write_bytes(tid, server, &[SETTINGS, ACK].concat()));
        client.into_iter().for_each(|client| self.read_bytes(tid, client, &[SETTINGS, ACK].concat()));
    }
}

/// Three streams at once, whose heads come in one call and whose answers come in another order, seen at both ends.
fn joined(mut world: World) -> String {
    world.begin(100, Some(20), Some(30));
    let requests = [h2_get(1, "/a"), h2_get(3, "/b"), h2_get(5, "/c")].concat();
    world.write_bytes(100, 20, &requests);
    world.read_bytes(200, 30, &requests);
    for stream in [5, 1, 3] {
        world.write_bytes(200, 30, &h2_ok(stream));
        world.read_bytes(100, 20, &h2_ok(stream));
    }
    world.trees()
}

#[test]
fn streams_at_once_are_spans_and_their_two_ends_are_joined() {
    let mut world = World::new();
    world.client(1, 20, 40_000);
    world.server(2, 30, 40_000);
    let pair = |path| format!("client GET {path} 200 [no_request]\n  server GET {path} 200 [join]\n");
    let expected = pair("/a") + &pair("/b") + &pair("/c");
    assert_eq!(joined(world), expected, "by sequence number");
    let mut world = World::new();
    world.tls_client(1, 20, 40_000);
    world.tls_server(2, 30, 40_000);
    assert_eq!(joined(world), expected, "inside TLS, by stream");
}

#[test]
fn nothing_is_skipped_on_a_connection_of_frames() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.begin(100, None, Some(10));
    assert!(world.policies.iter().any(|(id, policy)| *id == 10 && policy.mode == PolicyMode::Full as u32));
}

#[test]
fn calls_of_a_process_with_several_streams_have_no_parent_whoever_makes_them() {
    for trail in [Trail::Thread, Trail::Task, Trail::Turn, Trail::Reuse] {
        let mut world = World::new();
        world.trail = trail;
        world.process(1, Threads::Owned);
        world.server(1, 10, 50_000);
        world.client(1, 20, 40_000);
        world.begin(100, None, Some(10));
        world.read_bytes(100, 10, &h2_get(1, "/one"));
        world.read_bytes(100, 10, &h2_get(3, "/two"));
        world.write(100, 20, &get("/back"));
        world.read(100, 20, OK);
        world.write_bytes(100, 10, &[h2_ok(3), h2_ok(1)].concat());
        let trees = world.trees();
        assert_eq!(world.spans.len(), 3, "{trees}");
        assert!(world.spans.iter().all(|span| span.parent.is_none()), "{trail:?}: {trees}");
    }
}

#[test]
fn calls_on_a_shared_connection_are_nobody_s() {
    for trail in [Trail::Thread, Trail::Task, Trail::Turn, Trail::Reuse] {
        let mut world = World::new();
        world.process(1, Threads::Owned);
        world.server(1, 10, 50_000);
        world.server(1, 11, 50_001);
        world.client(1, 20, 40_000);
        world.begin(100, Some(20), None);
        world.trail = trail;
        world.read(100, 10, &get("/one"));
        world.read(101, 11, &get("/two"));
        // The second thread writes for both.
        world.write_bytes(101, 20, &[h2_get(1, "/for-one"), h2_get(3, "/for-two")].concat());
        world.read_bytes(101, 20, &[h2_ok(1), h2_ok(3)].concat());
        world.write(100, 10, OK);
        world.write(101, 11, OK);
        let trees = world.trees();
        assert_eq!(world.spans.len(), 4, "{trees}");
        assert!(world.spans.iter().all(|span| span.parent.is_none()), "{trail:?}: {trees}");
    }
}

/// Two requests are in flight, and a call is made for each, on a connection of its own.
#[test]
fn who_works_on_a_stream_calls_for_its_request() {
    let mut world = World::new();
    world.trail = Trail::Task;
    world.process(1, Threads::Multiplexed);
    world.server(1, 10, 50_000);
    world.client(1, 20, 40_000);
    world.client(1, 21, 40_001);
    world.begin(100, None, Some(10));
    world.read_bytes(100, 10, &[h2_get(1, "/one"), h2_get(3, "/two")].concat());
    world.works_on_stream(101, 10, 1);
    world.works_on_stream(102, 10, 3);
    world.works_on_stream(103, 10, 5);
    world.write(102, 20, &get("/for-two"));
    world.write(101, 21, &get("/for-one"));
    world.read(102, 20, OK);
    world.read(101, 21, OK);
    world.write_bytes(100, 10, &[h2_ok(3), h2_ok(1)].concat());
    world.write(101, 21, &get("/after-one"));
    world.write(103, 20, &get("/for-none"));
    let expected = "server GET /one 200 [entry]\n  client GET /for-one 200 [task]\n\
                    server GET /two 200 [entry]\n  client GET /for-two 200 [task]\n\
                    client GET /after-one - [answered]\nclient GET /for-none - [answered]\n";
    world.close(20);
    world.close(21);
    assert_eq!(world.trees(), expected);
}

/// A process to which two connections lead, and from which one does that requests of both may go over.
fn two_requests_and_a_client() -> World {
    let mut world = World::new();
    world.process(1, Threads::Multiplexed);
    world.server(1, 10, 50_000);
    world.server(1, 11, 50_001);
    world.client(1, 20, 40_000);
    world
}

#[test]
fn who_writes_the_heads_of_its_own_requests_only_is_believed_on_a_shared_connection() {
    let mut world = two_requests_and_a_client();
    world.begin(100, Some(20), None);
    world.trail = Trail::Stream;
    world.read(100, 10, &get("/one"));
    world.read(101, 11, &get("/two"));
    world.write_bytes(101, 20, &h2_get(1, "/for-two"));
    // Bytes of another's body are in front.
    world.write_bytes(100, 20, &[frame(0, 0, 1, b"more"), h2_get(3, "/for-one")].concat());
    world.read_bytes(102, 20, &[h2_ok(3), h2_ok(1)].concat());
    world.write(100, 10, OK);
    world.write(101, 11, OK);
    let expected = "server GET /one 200 [entry]\n  client GET /for-one 200 [task]\n\
                    server GET /two 200 [entry]\n  client GET /for-two 200 [task]\n";
    assert_eq!(world.trees(), expected);
}

#[test]
fn an_upgraded_request_is_that_of_the_first_stream() {
    let request = "GET /first HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let mut world = World::new();
    world.trail = Trail::Task;
    world.process(1, Threads::Multiplexed);
    world.server(1, 10, 50_000);
    world.client(1, 20, 40_000);
    world.read(100, 10, request);
    world.write_bytes(100, 10, &[switch.as_bytes(), SETTINGS].concat());
    world.works_on_stream(101, 10, 1);
    world.write(101, 20, &get("/for-first"));
    world.read(101, 20, OK);
    world.write_bytes(100, 10, &h2_ok(1));
    assert_eq!(world.trees(), "server GET /first 200 [entry]\n  client GET /for-first 200 [task]\n");
}

/// An event loop asks for each in the turn of its request, and writes both at once in a turn of nobody's.
#[test]
fn a_stream_is_for_whoever_asked_for_it() {
    let mut world = two_requests_and_a_client();
    world.trail = Trail::Turn;
    world.multiplexed(20);
    world.begin(99, Some(20), None);
    world.read(100, 10, &get("/one"));
    world.ask(100, 20, 1);
    // Given up before it was sent.
    world.ask(100, 20, 3);
    world.read(100, 11, &get("/two"));
    world.ask(100, 20, 5);
    world.write_bytes(99, 20, &[h2_get(1, "/for-one"), h2_get(5, "/for-two"), h2_get(7, "/for-whom")].concat());
    world.read_bytes(99, 20, &[h2_ok(5), h2_ok(7), h2_ok(1)].concat());
    world.write(100, 11, OK);
    world.write(100, 10, OK);
    let expected = "server GET /one 200 [entry]\n  client GET /for-one 200 [turn]\n\
                    server GET /two 200 [entry]\n  client GET /for-two 200 [turn]\n\
                    client GET /for-whom 200 [ambiguous]\n";
    assert_eq!(world.trees(), expected);
}

/// Goroutines ask, and another one writes what they asked for, maybe before each of them has said so.
#[test]
fn who_asks_may_say_so_after_the_head_was_written() {
    let mut world = two_requests_and_a_client();
    world.begin(99, Some(20), None);
    world.trail = Trail::Task;
    world.read(100, 10, &get("/one"));
    world.read(101, 11, &get("/two"));
    world.write_bytes(99, 20, &[h2_get(1, "/for-one"), h2_get(3, "/for-two"), h2_get(5, "/for-whom")].concat());
    world.ask(101, 20, 3);
    world.ask(100, 20, 1);
    world.trail = Trail::Turn;
    world.ask(100, 20, 5);
    world.read_bytes(99, 20, &[h2_ok(5), h2_ok(3), h2_ok(1)].concat());
    world.write(101, 11, OK);
    world.write(100, 10, OK);
    let expected = "server GET /one 200 [entry]\n  client GET /for-one 200 [task]\n\
                    server GET /two 200 [entry]\n  client GET /for-two 200 [task]\n\
                    client GET /for-whom 200 [ambiguous]\n";
    assert_eq!(world.trees(), expected);
}

/// Until it knew, it took who read an answer there for one who goes on with what was asked last.
#[test]
fn turns_are_believed_for_requests_since_the_kernel_side_knew_of_the_shared_connection() {
    let mut world = two_requests_and_a_client();
    world.trail = Trail::Turn;
    world.client(1, 21, 40_001);
    world.client(1, 22, 40_002);
    world.client(1, 23, 40_003);
    world.begin(99, Some(20), None);
    world.read(100, 10, &get("/before"));
    world.write(100, 21, &get("/may-be-for-another"));
    world.multiplexed(20);
    world.write(100, 22, &get("/may-be-still"));
    world.read(100, 11, &get("/since"));
    world.write(100, 23, &get("/for-since"));
    [21, 22, 23].into_iter().for_each(|connection| world.read(99, connection, OK));
    world.write(100, 10, OK);
    world.write(100, 11, OK);
    let expected = "server GET /before 200 [entry]\nclient GET /may-be-for-another 200 [ambiguous]\n\
                    client GET /may-be-still 200 [ambiguous]\n\
                    server GET /since 200 [entry]\n  client GET /for-since 200 [turn]\n";
    assert_eq!(world.trees(), expected);
}

/// The kernel side takes whoever reads an answer for one who works on what was asked last.
#[test]
fn whoever_reads_an_answer_from_a_shared_connection_may_work_for_another() {
    for trail in [Trail::Thread, Trail::Turn, Trail::Reuse] {
        let mut world = World::new();
        world.process(1, Threads::Owned);
        world.server(1, 10, 50_000);
        world.server(1, 11, 50_001);
        world.client(1, 20, 40_000);
        world.client(1, 21, 40_001);
        world.begin(100, Some(20), None);
        world.trail = trail;
        world.read(100, 10, &get("/one"));
        world.read(101, 11, &get("/two"));
        world.write_bytes(100, 20, &h2_get(1, "/for-one"));
        world.write_bytes(101, 20, &h2_get(3, "/for-two"));
        world.read_bytes(100, 20, &h2_ok(1));
        world.write(100, 21, &get("/then-one"));
        world.read(100, 21, OK);
        world.write(100, 10, OK);
        world.write(101, 11, OK);
        let trees = world.trees();
        assert!(trees.contains("/then-one"), "{trees}");
        let wrong = world.spans.iter().filter(|span| span.parent.is_some()).count();
        assert_eq!(wrong, 0, "{trail:?}: {trees}");
    }
}

#[test]
fn a_server_may_speak_first_and_a_preface_come_in_pieces() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.write_bytes(100, 10, SETTINGS);
    world.write_bytes(100, 10, &frame(8, 0, 0, &[0, 1, 0, 0]));
    world.read_bytes(100, 10, &PREFACE[..5]);
    world.read_bytes(100, 10, &PREFACE[5..20]);
    world.read_bytes(100, 10, &PREFACE[20..]);
    world.read_bytes(100, 10, &h2_get(1, "/a"));
    world.write_bytes(100, 10, &[ACK, &h2_ok(1)].concat());
    assert_eq!(world.trees(), "server GET /a 200 [entry]\n");
    assert_eq!(world.counter("stream.desyncs"), 0);
}

#[test]
fn http1_may_be_upgraded_and_answers_on_the_first_stream() {
    let request = "GET /first HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    for whole in [true, false] {
        let mut world = World::new();
        world.client(1, 20, 40_000);
        world.server(2, 30, 40_000);
        world.write(100, 20, request);
        world.read(200, 30, request);
        let calls = [switch.as_bytes().to_vec(), SETTINGS.to_vec(), headers(0, 1, &[(":status", "404")])];
        let calls = if whole { vec![calls.concat()] } else { calls.to_vec() };
        for call in &calls {
            world.write_bytes(200, 30, call);
            world.read_bytes(100, 20, call);
        }
        let next = [PREFACE, &h2_get(3, "/next")].concat();
        world.write_bytes(100, 20, &next);
        world.read_bytes(200, 30, &next);
        let answers = [h2_ok(3), frame(0, END_STREAM, 1, b"none")].concat();
        world.write_bytes(200, 30, &answers);
        world.read_bytes(100, 20, &answers);
        let pair =
            |path, status| format!("client GET {path} {status} [no_request]\n  server GET {path} {status} [join]\n");
        assert_eq!(world.trees(), pair("/first", 404) + &pair("/next", 200), "in one call: {whole}");
    }
}

#[test]
fn a_connection_is_joined_in_the_middle_with_names_that_are_known_or_said_to_be_unknown() {
    // Entry 62 is one that nobody saw; the literal becomes one.
    let known = [&[0x82, 0x86][..], &[0x44, 4], b"/new", &[0xbf]].concat();
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.read_bytes(100, 10, &frame(1, 5, 2_001, &[0x82, 0x86, 0xbe, 0xbf]));
    world.write_bytes(100, 10, &frame(1, 5, 2_001, &[0x88]));
    world.read_bytes(100, 10, &frame(1, 5, 2_003, &known));
    world.write_bytes(100, 10, &frame(1, 5, 2_003, &[0xc0]));
    world.read_bytes(100, 10, &frame(1, 5, 2_005, &[0x82, 0x86, 0xbe, 0xc0]));
    world.write_bytes(100, 10, &frame(1, 5, 2_005, &[0x88]));
    let expected = "server GET <unknown> 200 [entry]\nserver GET /new - [entry]\nserver GET /new 200 [entry]\n";
    assert_eq!(world.trees(), expected);
    assert_eq!((world.counter("connections.http2_joined"), world.counter("http2.unknown_names")), (1, 1));
}

/// Go's servers read a frame's header by itself, and its payload by another call.
#[test]
fn frames_are_found_where_headers_are_read_by_themselves() {
    let apart = |world: &mut World, frame: &[u8]| {
        world.read_bytes(100, 10, &frame[..9]);
        world.read_bytes(100, 10, &frame[9..]);
    };
    let mut world = World::new();
    world.server(1, 10, 50_000);
    apart(&mut world, &frame(0, 0, 2_001, &[7; 50]));
    for stream in [2_003, 2_005] {
        apart(&mut world, &h2_get(stream, "/joined"));
        world.write_bytes(100, 10, &h2_ok(stream));
    }
    world.lossy = true;
    world.read_bytes(100, 10, &[7; 40]);
    world.lossy = false;
    apart(&mut world, &h2_get(2_007, "/found"));
    world.write_bytes(100, 10, &h2_ok(2_007));
    let server = |path| format!("server GET {path} 200 [entry]\n");
    assert_eq!(world.trees(), server("/joined") + &server("/joined") + &server("/found"));
}

/// A server that is asked for thousands of streams a second, some of whose answers are lost.
#[test]
fn streams_that_are_silent_since_a_loss_make_room_for_others() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.begin(100, None, Some(10));
    let mut stream = 1;
    for _ in 0..4 {
        (0..400).for_each(|_| {
            world.read_bytes(100, 10, &h2_get(stream, "/unanswered"));
            stream += 2;
        });
        world.lossy = true;
        world.write_bytes(100, 10, &[7; 40]);
        world.lossy = false;
        world.read_bytes(100, 10, &h2_get(stream, "/answered"));
        world.write_bytes(100, 10, &h2_ok(stream));
        stream += 2;
    }
    assert_eq!(world.counter("connections.http2_too_many_streams"), 0);
    assert_eq!(world.trees(), "server GET /answered 200 [entry]\n".repeat(4));
    // The other half may be answered yet.
    assert_eq!(world.counter("dropped.response_lost"), 800);
}

/// gRPC's C core writes its frames in segments of 23 bytes.
#[test]
fn frames_are_found_again_in_calls_of_many_segments() {
    let requests = [h2_get(3, "/found"), h2_get(5, "/as-well")].concat();
    for bytes in [1, 5, 9, 23, 1_000] {
        let mut world = World::new();
        world.client(1, 20, 40_000);
        world.begin(100, Some(20), None);
        world.write_bytes(100, 20, &h2_get(1, "/seen"));
        world.lossy = true;
        world.write_bytes(100, 20, &[7; 40]);
        world.lossy = false;
        // The end of a frame whose start was lost, then a call of whole frames.
        world.write_segments(100, 20, &[&requests[5..20], &requests[20..40]]);
        world.write_segments(100, 20, &requests.chunks(bytes).collect::<Vec<_>>());
        world.read_bytes(100, 20, &[h2_ok(5), h2_ok(3), h2_ok(1)].concat());
        let trees = world.trees();
        let client = |path| format!("client GET {path} 200 [ambiguous]\n");
        let expected = client("/seen").replace("ambiguous", "no_request") + &client("/found") + &client("/as-well");
        assert_eq!(trees.replace("no_request", "ambiguous"), expected.replace("no_request", "ambiguous"), "{bytes}");
        assert_eq!(world.counter("stream.desyncs"), 1, "{bytes}");
    }
}

#[test]
fn a_status_that_is_unknown_may_be_that_of_an_interim_response() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.read_bytes(100, 10, &frame(1, 5, 901, &[0x82, 0x86, 0x84]));
    world.write_bytes(100, 10, &frame(1, 4, 901, &[0xbe]));
    world.write_bytes(100, 10, &[frame(1, 4, 901, &[0x8e]), frame(1, 5, 901, &[0xbf])].concat());
    world.read_bytes(100, 10, &frame(1, 5, 903, &[0x82, 0x86, 0x84]));
    world.write_bytes(100, 10, &[frame(1, 4, 903, &[0xbe]), frame(1, 5, 903, &[0xbf])].concat());
    assert_eq!(world.trees(), "server GET / 500 [entry]\nserver GET / - [entry]\n");
}

#[test]
fn frames_that_tell_nothing_do_not_end_the_wait_for_those_that_do() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    for _ in 0..10 {
        world.read_bytes(100, 10, &frame(6, 0, 0, &[1; 8]));
        world.write_bytes(100, 10, &frame(6, 1, 0, &[1; 8]));
    }
    world.read_bytes(100, 10, &h2_get(77, "/a"));
    world.write_bytes(100, 10, &h2_ok(77));
    assert_eq!(world.trees(), "server GET /a 200 [entry]\n");
}

#[test]
fn every_request_is_a_span_or_a_counted_loss() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.begin(100, None, Some(10));
    for n in 0..60u32 {
        let stream = 2 * n + 1;
        world.lossy = n % 10 == 3;
        world.read_bytes(100, 10, &h2_get(stream, &format!("/{n}")));
        world.lossy = n % 10 == 5;
        world.write_bytes(100, 10, &h2_ok(stream));
        world.lossy = false;
    }
    world.close(10);
    let trees = world.trees();
    let (requests, responses) = (world.counter("dropped.request_lost"), world.counter("dropped.response_lost"));
    assert_eq!((requests, responses), (6, 6), "{trees}");
    assert_eq!(world.spans.len() as u64 + requests + responses, 60, "{trees}");
    assert!(!trees.contains(" - "), "all that is left has its answer: {trees}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Requests and their answers in any order, several in a call or one in several, and any records lost.
    #[test]
    fn whatever_is_lost_every_request_is_a_span_or_counted_once(
        delays in prop::collection::vec(0usize..6, 1..40),
        lost in prop::collection::vec(prop::bool::weighted(0.15), 200),
        bodies in prop::collection::vec(0usize..40, 40),
    ) {
        let mut world = World::new();
        world.server(1, 10, 50_000);
        world.begin(100, None, Some(10));
        let (mut lost, mut due) = (lost.into_iter(), Vec::new());
        for (n, delay) in delays.iter().enumerate() {
            let stream = 2 * n as u32 + 1;
            world.lossy = lost.next().unwrap_or(false);
            world.read_bytes(100, 10, &h2_get(stream, &format!("/{n}")));
            due.push((n + delay, n));
            due.sort_unstable();
            while let Some(&(_, answered)) = due.first().filter(|(at, _)| *at <= n) {
                due.remove(0);
                answer(&mut world, answered, bodies[answered], &mut lost);
            }
        }
        for (_, answered) in due {
            answer(&mut world, answered, bodies[answered], &mut lost);
        }
        world.lossy = false;
        let last = delays.len();
        world.read_bytes(100, 10, &h2_get(2 * last as u32 + 1, &format!("/{last}")));
        world.write_bytes(100, 10, &h2_ok(2 * last as u32 + 1));
        world.close(10);
        let trees = world.trees();
        for span in &world.spans {
            // The status is that of the path.
            let n: i64 = text(span, "url.path").and_then(|path| path[1..].parse().ok()).expect("a known path");
            let status = span.attribute("http.response.status_code");
            let expected = Value::Int(if n as usize == last { 200 } else { 200 + n });
            prop_assert!(status.is_none_or(|status| *status == expected), "{}", trees);
        }
        let dropped = ["dropped.request_lost", "dropped.response_lost"].map(|name| world.counter(name));
        prop_assert_eq!(world.spans.len() as u64 + dropped[0] + dropped[1], last as u64 + 1, "{:?}\n{}", dropped, trees);
    }
}

/// The status is 200 and the number of the request; the body comes in calls of their own.
fn answer(world: &mut World, n: usize, body: usize, lost: &mut impl Iterator<Item = bool>) {
    let (stream, status) = (2 * n as u32 + 1, (200 + n).to_string());
    let last = if body < 20 { END_STREAM } else { 0 };
    world.lossy = lost.next().unwrap_or(false);
    let head = headers(0, stream, &[(":status", &status)]);
    world.write_bytes(100, 10, &[head, frame(0, last, stream, &vec![b'x'; body])].concat());
    if last == 0 {
        world.lossy = lost.next().unwrap_or(false);
        world.write_bytes(100, 10, &frame(0, END_STREAM, stream, &vec![b'y'; body]));
    }
}

#[test]
fn grpc_is_told_by_its_fields_where_the_content_type_is_unknown() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    let request = [&[0x83, 0x86, 0xbe, 0xbf][..], &literal("grpc-timeout", "5S")].concat();
    world.read_bytes(100, 10, &frame(1, 5, 901, &request));
    world.write_bytes(100, 10, &[frame(1, 4, 901, &[0x88, 0xbe]), frame(1, 5, 901, &[0xbf])].concat());
    world.settle();
    let [span] = &world.spans[..] else { panic!("{:#?}", world.spans) };
    assert_eq!((&*span.name, text(span, "rpc.method")), ("grpc", Some("<unknown>")));
    assert_eq!((text(span, "rpc.response.status_code"), &span.status), (None, &Status::Unset));
}

#[test]
fn a_response_whose_head_was_lost_has_no_status_and_is_no_failure() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.begin(100, None, Some(10));
    world.read_bytes(100, 10, &h2_get(1, "/a"));
    world.lossy = true;
    world.write_bytes(100, 10, &headers(0, 1, &[(":status", "500")]));
    world.lossy = false;
    world.write_bytes(100, 10, &frame(0, END_STREAM, 1, b"oops"));
    assert_eq!(world.trees(), "server GET /a - [entry]\n");
    assert_eq!(text(&world.spans[0], "error.type"), None);
}

#[test]
fn payload_that_was_not_copied_is_no_loss() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.begin(100, None, Some(10));
    let head = headers(0, 1, &[(":method", "POST"), (":scheme", "http"), (":path", "/up")]);
    world.read_bytes(100, 10, &head);
    let data = frame(0, END_STREAM, 1, &vec![b'x'; 16_000]);
    world.transfer(100, 10, Direction::Inbound, &data[..1_000], data.len());
    world.read_bytes(100, 10, &h2_get(3, "/next"));
    world.write_bytes(100, 10, &[h2_ok(1), h2_ok(3)].concat());
    assert_eq!(world.trees(), "server POST /up 200 [entry]\nserver GET /next 200 [entry]\n");
    let up = world.spans.iter().find(|span| span.name == "POST").expect("a span");
    assert_eq!(up.attribute("http.request.body.size"), Some(&Value::Int(16_000)));
    assert_eq!(world.counter("stream.desyncs"), 0);
}

#[test]
fn a_connection_that_breaks_the_protocol_is_given_up_with_its_reason() {
    let cases = [
        (frame(0, 0, 0, b"x"), "connections.http2_protocol"),
        (frame(6, 0, 0, b"x"), "connections.http2_frame_size"),
        (frame(1, 5, 3, &[0x80]), "connections.http2_compression"),
        (frame(1, 0, 3, &[0x82]).repeat(1), "connections.http2_head_too_long"),
    ];
    for (bytes, counter) in cases {
        let mut world = World::new();
        world.server(1, 10, 50_000);
        world.begin(100, None, Some(10));
        world.read_bytes(100, 10, &h2_get(1, "/a"));
        world.write_bytes(100, 10, &h2_ok(1));
        world.read_bytes(100, 10, &bytes);
        for _ in 0..100 {
            world.read_bytes(100, 10, &frame(9, 0, 3, &[]));
        }
        assert_eq!(world.trees(), "server GET /a 200 [entry]\n");
        assert_eq!(world.counter(counter), 1, "{counter}");
        assert!(world.policies.iter().any(|(id, policy)| *id == 10 && policy.mode == PolicyMode::Ignore as u32));
    }
}

pub(crate) fn grpc_request(stream: u32, path: &str) -> Vec<u8> {
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "shop:50051")];
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let message = frame(0, END_STREAM, stream, b"\0\0\0\0\0");
    [headers(0, stream, &[fields.as_slice(), &grpc].concat()), message].concat()
}

pub(crate) fn grpc_answer(stream: u32, status: &str) -> Vec<u8> {
    let head = headers(0, stream, &[(":status", "200"), ("content-type", "application/grpc")]);
    [head, headers(END_STREAM, stream, &[("grpc-status", status)])].concat()
}

#[test]
fn grpc_has_the_attributes_of_rpc() {
    let mut world = World::new();
    world.server(1, 10, 50_000);
    world.client(2, 20, 40_000);
    world.begin(100, Some(20), None);
    world.begin(100, None, Some(10));
    for (stream, status) in [(1, "0"), (3, "5"), (5, "14")] {
        let path = format!("/shop.Cart/Take{status}");
        world.read_bytes(100, 10, &grpc_request(stream, &path));
        world.write_bytes(100, 10, &grpc_answer(stream, status));
        world.write_bytes(200, 20, &grpc_request(stream, &path));
        world.read_bytes(200, 20, &grpc_answer(stream, status));
    }
    world.write_bytes(200, 20, &grpc_request(7, "/shop.Cart/Cancelled"));
    world.write_bytes(200, 20, &frame(3, 0, 7, &[0, 0, 0, 8]));
    world.read_bytes(100, 10, &grpc_request(9, "/shop.Cart/Cancelled"));
    world.read_bytes(100, 10, &frame(3, 0, 9, &[0, 0, 0, 8]));
    for (stream, timeout) in [(11, "1n"), (13, "1H"), (15, "1"), (17, "99999999H")] {
        let fields =
            [(":method", "POST"), (":scheme", "http"), (":path", "/shop.Cart/Late"), (":authority", "shop:50051")];
        let grpc = [("content-type", "application/grpc"), ("grpc-timeout", timeout)];
        world.write_bytes(200, 20, &headers(0, stream, &[fields.as_slice(), &grpc].concat()));
        world.write_bytes(200, 20, &frame(3, 0, stream, &[0, 0, 0, 8]));
    }
    world.settle();
    let seen: Vec<_> = world
        .spans
        .iter()
        .map(|span| {
            let value = |key| text(span, key).unwrap_or("-").to_owned();
            let failed = if span.status == Status::Unset { "" } else { " error" };
            format!(
                "{:?} {} {} {}{failed}",
                span.kind,
                span.name,
                value("rpc.response.status_code"),
                value("error.type")
            )
        })
        .collect();
    let expected = [
        "Server shop.Cart/Take0 OK -",
        "Client shop.Cart/Take0 OK -",
        "Server shop.Cart/Take5 NOT_FOUND -",
        "Client shop.Cart/Take5 NOT_FOUND NOT_FOUND error",
        "Server shop.Cart/Take14 UNAVAILABLE UNAVAILABLE error",
        "Client shop.Cart/Take14 UNAVAILABLE UNAVAILABLE error",
        "Client shop.Cart/Cancelled CANCELLED CANCELLED error",
        "Server shop.Cart/Cancelled CANCELLED -",
        "Client shop.Cart/Late DEADLINE_EXCEEDED DEADLINE_EXCEEDED error",
        "Client shop.Cart/Late CANCELLED CANCELLED error",
        "Client shop.Cart/Late CANCELLED CANCELLED error",
        "Client shop.Cart/Late CANCELLED CANCELLED error",
    ];
    let mut seen = seen;
    seen.sort();
    let mut expected = expected.map(str::to_owned);
    expected.sort();
    assert_eq!(seen, expected);
    for span in &world.spans {
        assert_eq!(text(span, "rpc.system.name"), Some("grpc"));
        assert_eq!(text(span, "rpc.method"), Some(&*span.name));
        assert_eq!(text(span, "server.address"), Some("shop"));
        assert_eq!(span.attribute("server.port"), Some(&Value::Int(50_051)));
        assert_eq!(span.attribute("http.request.method"), None);
    }
}
