//! What no peer may send (RFC 9113), and floods, to a server that takes everything: the agent gives the connection up, for a
//! reason that it counts.

use crate::need::needs_root;
use anyhow::Result;
use rig::agent::Options;
use rig::process::output;
use rig::{Address, App, Process, Receiver, Service, paths};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::process::Command;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
/// `GET http /`
const GET: &[u8] = b"\x82\x86\x84";
/// Memory that the agent may have more of afterwards.
const GROWTH_BYTES: u64 = 48 << 20;

const PROTOCOL: &str = "connections.http2_protocol";
const FRAME_SIZE: &str = "connections.http2_frame_size";
const COMPRESSION: &str = "connections.http2_compression";
const HEAD_TOO_LONG: &str = "connections.http2_head_too_long";
const TOO_MANY_STREAMS: &str = "connections.http2_too_many_streams";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, GET)
}

/// What a client sends behind the preface, and the counter that it ends under.
fn violations() -> Vec<(&'static str, Vec<u8>)> {
    let whole = END_HEADERS | END_STREAM;
    let open = frame(HEADERS, 0, 1, GET);
    let within = |next: Vec<u8>| [open.clone(), next].concat();
    vec![
        (PROTOCOL, frame(DATA, 0, 0, b"a")),
        (PROTOCOL, frame(HEADERS, whole, 0, GET)),
        (PROTOCOL, frame(HEADERS, whole, 2, GET)),
        (PROTOCOL, frame(SETTINGS, 0, 1, b"")),
        (PROTOCOL, frame(PING, 0, 1, &[0; 8])),
        (PROTOCOL, frame(RST_STREAM, 0, 0, &[0; 4])),
        (PROTOCOL, frame(GOAWAY, 0, 1, &[0; 8])),
        (PROTOCOL, frame(PRIORITY, 0, 0, &[0; 5])),
        (PROTOCOL, frame(CONTINUATION, END_HEADERS, 1, GET)),
        (PROTOCOL, [get(1), frame(CONTINUATION, END_HEADERS, 1, GET)].concat()),
        (PROTOCOL, within(frame(DATA, 0, 1, b"a"))),
        (PROTOCOL, within(frame(PING, 0, 0, &[0; 8]))),
        (PROTOCOL, within(frame(CONTINUATION, END_HEADERS, 3, GET))),
        (PROTOCOL, frame(HEADERS, whole | PADDED, 1, b"\x05\x82")),
        (FRAME_SIZE, frame(SETTINGS, 0, 0, &[0; 5])),
        (FRAME_SIZE, frame(SETTINGS, ACK, 0, &[0; 6])),
        (FRAME_SIZE, frame(PING, 0, 0, &[0; 7])),
        (FRAME_SIZE, frame(PRIORITY, 0, 1, &[0; 4])),
        (FRAME_SIZE, frame(RST_STREAM, 0, 1, &[0; 3])),
        (FRAME_SIZE, frame(GOAWAY, 0, 0, &[0; 4])),
        (FRAME_SIZE, frame(WINDOW_UPDATE, 0, 0, &[0; 5])),
        (FRAME_SIZE, frame(DATA, 0, 1, &[0; 16_385])),
        (COMPRESSION, frame(HEADERS, whole, 1, b"\x80")),
        (COMPRESSION, frame(HEADERS, whole, 1, b"\xbe")),
        (COMPRESSION, frame(HEADERS, whole, 1, b"\x82\x20")),
        (COMPRESSION, frame(HEADERS, whole, 1, b"\x41\x01")),
        (COMPRESSION, frame(HEADERS, whole, 1, b"\x41\x81\x00")),
        (COMPRESSION, frame(HEADERS, whole, 1, b"\xff\xff\xff\xff\xff\xff\xff")),
        (HEAD_TOO_LONG, within(frame(CONTINUATION, 0, 1, b"").repeat(10_000))),
        (HEAD_TOO_LONG, within(frame(CONTINUATION, 0, 1, &[0x82; 16_384]).repeat(100))),
        (TOO_MANY_STREAMS, (0..3_000).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, GET)).collect()),
    ]
}

/// What is allowed and costs whoever is not careful: it ends no connection.
fn bombs() -> Vec<Vec<u8>> {
    // An entry of 4,000 bytes, and as many references to it as a frame has room for.
    let entry = [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'y'; 4_000]].concat();
    let bomb = [GET, &entry, &[0xbe; 12_000]].concat();
    let reset = |stream| [get(stream), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat();
    vec![
        (0..20).flat_map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &bomb)).collect(),
        (0..2_000).flat_map(|n| reset(2 * n + 1)).collect(),
        frame(PING, 0, 0, &[0; 8]).repeat(20_000),
        frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0]).repeat(20_000),
        frame(DATA, 0, 1, b"").repeat(20_000),
    ]
}

/// On a connection of its own. The server takes all of it.
fn send(server: &Address, bytes: &[u8]) -> Result<()> {
    let mut socket = TcpStream::connect(server.to_string())?;
    socket.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b""), bytes].concat())?;
    Ok(socket.shutdown(Shutdown::Write)?)
}

#[test]
fn connections_that_break_the_protocol_are_given_up_for_a_counted_reason() -> Result<()> {
    needs_root!();
    let (receiver, service) = (Receiver::start()?, Service::start(App::GoHttp2)?);
    let address = Address::loopback()?;
    let mut command = Command::new(paths::installed("h2-venv/bin/python")?);
    command.arg(paths::app("h2/sink.py")).env("HOST", "127.0.0.1").env("PORT", address.port().to_string());
    let mut sink = Process::start("sink", &command)?;
    sink.wait_until("to accept connections", |_| address.answers())?;
    let mut agent = Options::new().arguments(&["--stats"]).grpc(&receiver).start()?;
    let before = agent.resident_bytes()?;
    bombs().iter().try_for_each(|bytes| send(&address, bytes))?;
    let violations = violations();
    violations.iter().try_for_each(|(_, bytes)| send(&address, bytes))?;
    let pids = service.pids()?;
    output("curl", ["--silent", "--show-error", "--fail", "--http2-prior-knowledge", &service.url("/hello")])?;
    receiver.wait_spans(1, |span| span.serves(&pids) && span.text("network.protocol.version") == "2")?;
    let growth = agent.resident_bytes()?.saturating_sub(before);
    assert!(agent.process().is_running());
    let counters = agent.stop()?.counters();
    println!("{} violations, {growth} bytes of growth", violations.len());
    assert!(growth < GROWTH_BYTES, "{growth} bytes");
    let mut expected = BTreeMap::new();
    violations.iter().for_each(|(counter, _)| *expected.entry(*counter).or_insert(0) += 1);
    for (counter, count) in expected {
        assert_eq!(counters.get(counter), Some(&count), "{counter}: {counters:#?}");
    }
    Ok(())
}
