//! The commands that need neither root nor a kernel side: replays, and what is refused.

use autospan_abi::{Direction, Role};
use autospan_core::event::{Data, Ends, Event, EventKind, Opened};
use autospan_core::evlog::{Entry, write_header};
use autospan_core::fact::{Fact, Threads};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Output};

const PID: u32 = 4242;
const MILLISECOND: u64 = 1_000_000;

fn autospan(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autospan"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command.args(args).output().expect("the agent runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn record(at: u64, kind: EventKind<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Event { at, tgid: PID, tid: PID, kind }.encode(&mut bytes);
    bytes
}

fn opened(at: u64) -> Vec<u8> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ends = Ends::Inet { local: (loopback, 8000), remote: (loopback, 50_000) };
    let (role, connect_seen) = (Role::Server, true);
    let opened =
        Opened { connection: 1, sock: 1, peer_sock: 0, inode: 7, netns: 1, role, connect_seen, tls: None, ends };
    record(at, EventKind::Opened(opened))
}

fn data(at: u64, direction: Direction, position: u64, head: &[u8]) -> Vec<u8> {
    let token = u64::from(direction == Direction::Inbound) * at;
    let total = u32::try_from(head.len()).expect("short");
    let (cause, sequence, tail) = (0, None, &[][..]);
    let data = Data {
        connection: 1,
        direction,
        turn: 0,
        position,
        entered: at,
        token,
        cause,
        trail: autospan_abi::Trail::Thread,
        sequence,
        total,
        head,
        tail,
    };
    record(at, EventKind::Data(data))
}

/// A recording of `requests` requests to a service named "orders", one after the other.
fn recording(requests: u64) -> Vec<u8> {
    const REQUEST: &[u8] = b"GET /orders/7 HTTP/1.1\r\nHost: shop\r\nX-Tenant: blue\r\n\r\n";
    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let mut log = Vec::new();
    write_header(&mut log);
    for fact in [
        Fact::Session { secret: [7; 16] },
        Fact::Clock { monotonic_ns: 0, unix_ns: 1_767_323_045_000_000_000 },
        Fact::Process { tgid: PID, threads: Threads::Owned },
        Fact::Service { tgid: PID, name: "orders".to_owned() },
    ] {
        Entry::Fact(fact).write(&mut log);
    }
    Entry::Record(&opened(MILLISECOND)).write(&mut log);
    for n in 0..requests {
        let at = (10 + 10 * n) * MILLISECOND;
        let request = data(at, Direction::Inbound, n * REQUEST.len() as u64, REQUEST);
        let response = data(at + 3 * MILLISECOND, Direction::Outbound, n * RESPONSE.len() as u64, RESPONSE);
        Entry::Record(&request).write(&mut log);
        Entry::Record(&response).write(&mut log);
    }
    log
}

/// Replays these bytes as a file.
fn replay(bytes: &[u8], args: &[&str]) -> Output {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("write");
    let path = file.path().to_str().expect("a path");
    autospan(&[&["replay", path], args].concat())
}

fn spans(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object per line")).collect()
}

#[test]
fn a_replay_shows_the_spans_of_a_recording() {
    let output = replay(&recording(3), &["--output", "json", "--capture-header", "X-Tenant", "--stats"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let spans = spans(&output);
    assert_eq!(spans.len(), 3);
    assert_eq!(spans[0]["resource"]["service.name"], "orders");
    assert_eq!(spans[0]["attributes"]["url.path"], "/orders/7");
    assert_eq!(spans[0]["attributes"]["process.pid"], PID);
    assert_eq!(spans[0]["attributes"]["http.request.header.x-tenant"], serde_json::json!(["blue"]));
    assert_eq!(spans[0]["duration_ns"], 3 * MILLISECOND);
    assert!(said(&output).contains("3 spans, nothing lost"), "{}", said(&output));
}

/// Far more spans than the export queue holds: a file can wait.
#[test]
fn a_replay_drops_nothing() {
    let output = replay(&recording(20_000), &["--output", "json"]);
    assert_eq!(spans(&output).len(), 20_000);
    assert!(said(&output).contains("20000 spans, nothing lost"), "{}", said(&output));
}

#[test]
fn replays_are_deterministic() {
    let bytes = recording(50);
    assert_eq!(replay(&bytes, &["--output", "json"]).stdout, replay(&bytes, &["--output", "json"]).stdout);
}

#[test]
fn a_damaged_recording_gives_what_is_there_and_status_1() {
    let whole = recording(3);
    let output = replay(&whole[..whole.len() - 10], &["--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(spans(&output).len(), 2, "the last response is cut off");
    assert!(said(&output).contains("damaged"), "{}", said(&output));
    assert!(!said(&output).contains("panicked"));
}

#[test]
fn nothing_in_a_recording_ends_in_a_panic() {
    let whole = recording(2);
    for at in (16..whole.len()).step_by(37) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        let output = replay(&bytes, &["--output", "json"]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "byte {at}: {:?} {}", output.status, said(&output));
        assert!(!said(&output).contains("panicked"), "byte {at}: {}", said(&output));
    }
}

#[test]
fn foreign_and_missing_files_are_refused() {
    let mut version = recording(1);
    version[8] ^= 0xff;
    for (bytes, reason) in
        [(&b""[..], "neither"), (b"GIF89a", "neither"), (b"autospan", "cut off"), (&version, "version")]
    {
        let output = replay(bytes, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(reason), "{reason}: {}", said(&output));
    }
    let output = autospan(&["replay", "/nonexistent/x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("/nonexistent/x: No such file"), "{}", said(&output));
    assert_eq!(autospan(&["replay", "/"]).status.code(), Some(1));
}

#[test]
fn wrong_variables_of_the_environment_are_usage_errors() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), recording(1)).expect("write");
    let mut command = Command::new(env!("CARGO_BIN_EXE_autospan"));
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "morse").arg("replay").arg(file.path()).args(["--output", "otlp"]);
    let output = command.output().expect("the agent runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{}", said(&output));
}

#[test]
fn help_and_version() {
    for args in [&["--help"][..], &["record", "--help"], &["replay", "--help"], &["doctor", "--help"], &["--version"]] {
        let output = autospan(args);
        assert!(output.status.success() && !output.stdout.is_empty(), "{args:?}");
    }
    assert_eq!(autospan(&["--port", "none"]).status.code(), Some(2));
}

#[test]
fn a_pid_that_does_not_exist_is_named() {
    // No pid is as high as this: PID_MAX_LIMIT is 4,194,304.
    let output = autospan(&["--pid", "4194305"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("4194305") && !Path::new("/proc/4194305").exists(), "{}", said(&output));
}
