//! The kernel programs on the kernel that runs this test: the records say what a small Python program did.
//!
//! Needs root; says so and passes where it is not.

mod jobs;
mod refusal;
mod rig;
mod tls;

use std::io::{Read, Seek};
use std::sync::Arc;

use autospan::kernel::LoadOptions;
use autospan_abi::limits::{EDGE_HEAD_BYTES, EDGE_TAIL_BYTES, PAYLOAD_MAX};
use autospan_abi::{Counter, Direction, Policy, Role};
use autospan_core::event::{Data, Ends, EventKind};
use rig::Rig;
use tracing::Level;

const AUTO: LoadOptions =
    LoadOptions { auto: true, follow_forks: false, object: None, debug_log: false, single_probes: false };

/// Everything works, but what the kernel's own types say that it has not.
fn check_capabilities(rig: &Rig) {
    let types = std::fs::read("/sys/kernel/btf/vmlinux").expect("types");
    // Linux 6.6 and newer.
    let has_multi = types.windows(21).any(|name| name == b"bpf_uprobe_multi_link");
    let lost: Vec<_> = rig.kernel.capabilities().iter().filter(|capability| !capability.works()).collect();
    let names: Vec<_> = lost.iter().map(|capability| capability.name).collect();
    assert_eq!(names, if has_multi { &[][..] } else { &["many probes per link"] }, "{lost:?}");
}

/// A listener `l`, a client `c` and the accepted socket `a`.
fn connect(port: u16) -> String {
    format!(
        "l = socket.create_server(('127.0.0.1', {port})); c = socket.create_connection(('127.0.0.1', {port})); a, _ = l.accept()"
    )
}

fn of(data: &[Data<'_>], connection: u64, direction: Direction) -> Vec<(u64, u32)> {
    let matching = data.iter().filter(|data| data.connection == connection && data.direction == direction);
    matching.map(|data| (data.position, data.total)).collect()
}

#[test]
fn this_kernel_can_do_everything() {
    let Some(rig) = Rig::start() else { return };
    check_capabilities(&rig);
    assert!(rig.kernel.map_bytes() < 24 << 20, "maps take {} bytes", rig.kernel.map_bytes());
}

#[test]
fn both_ends_of_a_tcp_connection_agree() {
    let Some(mut rig) = Rig::start() else { return };
    rig.run(&connect(21010));
    rig.run("c.send(b'ask'); a.recv(100); a.send(b'answer'); c.recv(100); c.send(b'again'); a.recv(2); a.recv(100)");
    rig.wait_for_bytes(2 * (3 + 6 + 5));
    let opened = rig.opened();
    let client = opened.iter().find(|opened| opened.role == Role::Client).expect("a client end");
    let server = opened.iter().find(|opened| opened.role == Role::Server).expect("a server end");
    assert!(client.connect_seen);
    let (Ends::Inet { local, remote }, Ends::Inet { local: peer_local, remote: peer_remote }) =
        (client.ends, server.ends)
    else {
        panic!("not TCP: {opened:?}");
    };
    assert_eq!((local, remote), (peer_remote, peer_local));
    assert_eq!(remote, ("127.0.0.1".parse().expect("an address"), 21010));
    let data = rig.data();
    assert_eq!(of(&data, client.connection, Direction::Outbound), [(0, 3), (3, 5)]);
    assert_eq!(of(&data, server.connection, Direction::Inbound), [(0, 3), (3, 2), (5, 3)]);
    assert_eq!(of(&data, server.connection, Direction::Outbound), [(0, 6)]);
    assert_eq!(of(&data, client.connection, Direction::Inbound), [(0, 6)]);
    for (written, read) in [(b"ask".as_slice(), b"ask".as_slice()), (b"answer", b"answer"), (b"again", b"ag")] {
        let sent = data.iter().find(|data| data.direction == Direction::Outbound && data.head == written);
        let received = data.iter().find(|data| data.direction == Direction::Inbound && data.head == read);
        let sequence = sent.expect("sent").sequence;
        assert!(sequence.is_some());
        assert_eq!(sequence, received.expect("received").sequence, "one byte has one sequence number at both ends");
    }
}

#[test]
fn a_close_tells_how_much_went_by() {
    let Some(mut rig) = Rig::start() else { return };
    rig.run(&connect(21011));
    rig.run("c.send(b'12345'); a.recv(100); a.send(b'123'); c.recv(100); c.close(); a.close()");
    rig.wait("two closes", |events| {
        let sizes = events.iter().filter_map(|event| match event.kind {
            EventKind::Closed { inbound_bytes, outbound_bytes, .. } => Some((inbound_bytes, outbound_bytes)),
            _ => None,
        });
        let sizes: Vec<_> = sizes.collect();
        sizes.contains(&(5, 3)) && sizes.contains(&(3, 5))
    });
}

#[test]
fn a_thread_carries_the_request_it_read() {
    let Some(mut rig) = Rig::start() else { return };
    rig.run(&connect(21012));
    rig.run("l2 = socket.create_server(('127.0.0.1', 21013))");
    rig.run("c.send(b'request'); a.recv(100)");
    rig.run("d = socket.create_connection(('127.0.0.1', 21013)); d.send(b'nested')");
    rig.run("t = threading.Thread(target=lambda: (e := l2.accept()[0], e.recv(100), e.send(b'reply'))); t.start(); t.join()");
    rig.run("d.recv(100); a.send(b'response'); c.recv(100)");
    rig.wait_for_bytes(2 * (7 + 6 + 5 + 8));
    let data = rig.data();
    let find = |direction, head: &[u8]| {
        *data.iter().find(|data| data.direction == direction && data.head == head).expect("a record")
    };
    let request = find(Direction::Inbound, b"request");
    assert_ne!(request.token, 0);
    assert_eq!(find(Direction::Outbound, b"request").cause, 0, "nobody asked for the first request");
    assert_eq!(find(Direction::Outbound, b"nested").cause, request.token);
    let nested = find(Direction::Inbound, b"nested");
    assert!(nested.token != 0 && nested.token != request.token);
    assert_eq!(find(Direction::Outbound, b"reply").cause, nested.token, "another thread works for another request");
    assert_eq!(find(Direction::Inbound, b"reply").token, 0, "a response is nobody's request");
    assert_eq!(find(Direction::Outbound, b"response").cause, request.token);
}

#[test]
fn a_response_gives_a_loop_its_request_back() {
    let Some(mut rig) = Rig::start() else { return };
    // One thread, two requests: the second is read before the first's nested call is answered.
    rig.run(&connect(21014));
    rig.run("c2 = socket.create_connection(('127.0.0.1', 21014)); a2, _ = l.accept()");
    rig.run("l3 = socket.create_server(('127.0.0.1', 21015)); d = socket.create_connection(('127.0.0.1', 21015)); e, _ = l3.accept()");
    rig.run("c.send(b'first'); a.recv(100); d.send(b'nested')");
    rig.run("c2.send(b'second'); a2.recv(100)");
    rig.run("t = threading.Thread(target=lambda: (e.recv(100), e.send(b'reply'))); t.start(); t.join()");
    rig.run("d.recv(100); a.send(b'answer')");
    rig.wait_for_bytes(2 * (5 + 6 + 6 + 5) + 6);
    let data = rig.data();
    let first = data.iter().find(|data| data.head == b"first" && data.token != 0).expect("the first request");
    let answer = data.iter().find(|data| data.head == b"answer").expect("its answer");
    assert_eq!(answer.cause, first.token);
}

#[test]
fn of_big_data_only_head_and_edges_are_copied() {
    let Some(mut rig) = Rig::start() else { return };
    rig.run(&connect(21016));
    rig.run("a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20); big = bytes(i % 251 for i in range(50000))");
    rig.run("assert a.send(big) == 50000 and a.send(big) == 50000");
    rig.wait_for_bytes(100_000);
    let data = rig.data();
    let [first, second] = data.as_slice() else { panic!("two records: {data:?}") };
    let byte = |position: usize| (position % 251) as u8;
    assert_eq!(first.head.len(), (PAYLOAD_MAX - EDGE_TAIL_BYTES) as usize);
    assert_eq!(first.tail.len(), EDGE_TAIL_BYTES as usize);
    assert!(first.head.iter().enumerate().all(|(at, &value)| value == byte(at)));
    assert!(first.tail.iter().rev().enumerate().all(|(back, &value)| value == byte(49_999 - back)));
    assert_eq!((second.position, second.total), (50_000, 50_000));
    assert_eq!((second.head.len(), second.tail.len()), (EDGE_HEAD_BYTES as usize, EDGE_TAIL_BYTES as usize));
}

#[test]
fn the_policy_decides_how_much_is_copied() {
    let Some(mut rig) = Rig::start() else { return };
    rig.run(&connect(21017));
    rig.run("c.send(b'x')");
    rig.wait_for_bytes(1);
    let connection = rig.opened()[0].connection;
    rig.kernel.set_policy(connection, Policy::ignore());
    rig.run("c.send(b'y' * 1000)");
    rig.kernel.set_policy(connection, Policy::head(10, Role::Unknown));
    rig.run("a.recv(2000); c.send(b'z')");
    rig.kernel.set_policy(connection, Policy::full(Role::Unknown));
    rig.run("c.send(b'w' * 10000); c.send(b'w' * 10000)");
    rig.wait("the last write", |events| {
        events.iter().any(|event| matches!(event.kind, EventKind::Data(data) if data.position == 11_002))
    });
    let data = rig.data();
    let written: Vec<_> = data.iter().filter(|data| data.connection == connection).collect();
    let copied: Vec<_> = written.iter().map(|data| (data.position, data.head.len(), data.tail.len())).collect();
    assert_eq!(copied, [(0, 1, 0), (1001, 1, 0), (1002, 10_000, 0), (11_002, 10_000, 0)]);
    assert_eq!(counter(&rig, Counter::CallsIgnored), 1);
}

#[test]
fn segments_of_a_call_follow_one_another() {
    let Some(mut rig) = Rig::start() else { return };
    rig.run(&connect(21018));
    rig.run("os.writev(c.fileno(), [b'one', b'', b'three']); c.sendmsg([b'four', b'five'])");
    rig.run("b1, b2 = bytearray(5), bytearray(100); assert a.recvmsg_into([b1, b2])[0] == 16");
    rig.run("c.sendmsg([bytes([65 + i]) * 2 for i in range(20)]); assert os.readv(a.fileno(), [b1, b2]) == 40");
    rig.wait_for_bytes(2 * (16 + 40));
    let data = rig.data();
    let heads = |direction: Direction| -> Vec<&[u8]> {
        data.iter().filter(|data| data.direction == direction).map(|data| data.head).collect()
    };
    assert_eq!(heads(Direction::Outbound)[..4], [b"one".as_slice(), b"three", b"four", b"five"]);
    assert_eq!(
        heads(Direction::Inbound),
        [b"onethr".get(..5).unwrap(), b"reefourfive", b"AABBC", b"CDDEEFFGGHHIIJJKKLLMMNNOOPPQQRRSSTT"]
    );
    assert!(heads(Direction::Outbound)[4..20].iter().all(|head| head.len() == 2), "sixteen segments are captured");
    let rest = data.iter().rfind(|data| data.direction == Direction::Outbound).expect("the rest");
    assert_eq!((rest.position, rest.total, rest.head.len()), (16 + 32, 8, 0), "the other four are counted");
    assert_eq!(counter(&rig, Counter::SegmentsSkipped), 1);
    let tokens: Vec<_> =
        data.iter().filter(|data| data.direction == Direction::Inbound).map(|data| data.token).collect();
    assert!(tokens[0] == tokens[1] && tokens[1] != tokens[2] && tokens[2] == tokens[3], "{tokens:?}");
}

/// Two ctypes structs and one message of two buffers each way.
const MESSAGES: &str = "\
import ctypes as t; \
iov = type('iov', (t.Structure,), {'_fields_': [('base', t.c_void_p), ('len', t.c_size_t)]}); \
hdr = type('hdr', (t.Structure,), {'_fields_': [('name', t.c_void_p), ('namelen', t.c_uint), ('iov', t.POINTER(iov)), \
('iovlen', t.c_size_t), ('control', t.c_void_p), ('controllen', t.c_size_t), ('flags', t.c_int), ('pad', t.c_int), ('len', t.c_uint)]}); \
b = [t.create_string_buffer(text, 4) for text in (b'1one', b'2two', b'3333', b'4444')]; \
v = [(iov * 2)(*[iov(t.addressof(x), 4) for x in b[i:i + 2]]) for i in (0, 2)]; \
m = (hdr * 2)(hdr(None, 0, v[0], 2), hdr(None, 0, v[1], 1))";

#[test]
fn several_messages_of_one_call_are_records_of_their_own() {
    let Some(mut rig) = Rig::start() else { return };
    rig.run(&connect(21026));
    rig.run(MESSAGES);
    rig.run("libc = t.CDLL(None); assert t.sizeof(hdr) == 64 and libc.sendmmsg(c.fileno(), m, 2, 0) == 2");
    rig.run("assert libc.recvmmsg(a.fileno(), m, 2, 0, None) == 2");
    rig.wait_for_bytes(24);
    let data = rig.data();
    let of = |direction: Direction| -> Vec<(u64, &[u8])> {
        let matching = data.iter().filter(|data| data.direction == direction);
        matching.map(|data| (data.position, data.head)).collect()
    };
    let expected: [(u64, &[u8]); 3] = [(0, b"1one"), (4, b"2two"), (8, b"3333")];
    assert_eq!(of(Direction::Outbound), expected);
    assert_eq!(of(Direction::Inbound), expected);
    let sequences: Vec<_> = data.iter().filter_map(|data| data.sequence).collect();
    assert_eq!(sequences[2].wrapping_sub(sequences[0]), 8, "{sequences:?}");
}

#[test]
fn what_the_kernel_moves_itself_is_counted() {
    let Some(mut rig) = Rig::start() else { return };
    rig.run(&connect(21019));
    rig.run("f = os.open(sys.executable, os.O_RDONLY); assert os.sendfile(c.fileno(), f, 0, 10000) == 10000, 'sent in part'");
    rig.run("r, w = os.pipe(); os.write(w, b'through'); assert os.splice(r, c.fileno(), 7) == 7");
    rig.wait_for_bytes(10_007);
    let data = rig.data();
    assert_eq!(data.iter().map(|data| data.total).sum::<u32>(), 10_007);
    assert!(
        data.iter()
            .all(|data| data.head.is_empty() && data.direction == Direction::Outbound && data.sequence.is_some())
    );
}

#[test]
fn reads_that_take_nothing_leave_no_record() {
    let Some(mut rig) = Rig::start() else { return };
    rig.run(&connect(21020));
    rig.run("import contextlib; s = contextlib.suppress(BlockingIOError); a.setblocking(False)");
    rig.run(
        "exec('with s: a.recv(1)'); a.setblocking(True); c.send(b'peeked'); a.recv(100, socket.MSG_PEEK); a.recv(100)",
    );
    rig.wait_for_bytes(12);
    let inbound = rig.data().iter().filter(|data| data.direction == Direction::Inbound).count();
    assert_eq!(inbound, 1);
}

#[test]
fn unix_sockets_know_their_server() {
    let Some(mut rig) = Rig::start() else { return };
    let path = std::env::temp_dir().join(format!("autospan-{}.sock", std::process::id()));
    let path = path.to_str().expect("a plain path");
    rig.run(&format!("l = socket.socket(socket.AF_UNIX); l.bind('{path}'); l.listen(); c = socket.socket(socket.AF_UNIX); c.connect('{path}'); a, _ = l.accept()"));
    rig.run(&format!("os.unlink('{path}'); c.send(b'ask'); a.recv(100); a.send(b'answer'); c.recv(100)"));
    rig.run("x, y = socket.socketpair(); x.send(b'myself'); y.recv(100)");
    rig.wait_for_bytes(18);
    let opened = rig.opened();
    let [client, server] = opened.as_slice() else { panic!("two ends, and none of the socketpair: {opened:?}") };
    assert_eq!((client.role, server.role), (Role::Client, Role::Server));
    assert_eq!((client.sock, client.peer_sock), (server.peer_sock, server.sock));
    for end in [client, server] {
        assert!(matches!(end.ends, Ends::Unix { path: found } if found == path.as_bytes()), "{end:?}");
    }
    assert_eq!(rig.data().len(), 4);
}

#[test]
fn ipv6_addresses_are_told() {
    let Some(mut rig) = Rig::start() else { return };
    rig.run("l = socket.create_server(('::1', 21021), family=socket.AF_INET6); c = socket.create_connection(('::1', 21021))");
    rig.run("c.send(b'x')");
    rig.wait_for_bytes(1);
    let Ends::Inet { local, remote } = rig.opened()[0].ends else { panic!("TCP") };
    assert_eq!((local.0.to_string(), remote), ("::1".into(), ("::1".parse().expect("an address"), 21021)));
}

#[test]
fn children_of_a_target_are_targets() {
    let Some(mut rig) = Rig::start() else { return };
    rig.run(&connect(21022));
    rig.run("p = os.fork(); p or (c.send(b'from the child'), os._exit(0)); os.waitpid(p, 0)");
    let pid = rig.python.pid();
    rig.wait("the child's life", |events| {
        let child = events.iter().find_map(|event| match event.kind {
            EventKind::Forked { child_tgid } if event.tgid == pid => Some(child_tgid),
            _ => None,
        });
        let of_child = |event: &&autospan_core::event::Event<'_>| Some(event.tgid) == child;
        let wrote = |kind: &EventKind<'_>| matches!(kind, EventKind::Data(data) if data.head == b"from the child");
        events.iter().filter(of_child).any(|event| wrote(&event.kind))
            && events.iter().filter(of_child).any(|event| event.kind == EventKind::Exited)
    });
}

#[test]
fn a_program_that_listens_becomes_a_target_and_ends_as_one() {
    let Some(mut rig) = Rig::with(&AUTO) else { return };
    let pid = rig.python.pid();
    assert!(!rig.kernel.is_target(pid));
    rig.run(&connect(21023));
    assert!(rig.kernel.is_target(pid));
    rig.wait("the listener", |events| {
        let is_ours = |kind: &EventKind<'_>| matches!(kind, EventKind::Listening { port: 21023, .. });
        events.iter().any(|event| event.tgid == pid && is_ours(&event.kind))
    });
    rig.python.finish();
    rig.wait("the end", |events| events.iter().any(|event| event.tgid == pid && event.kind == EventKind::Exited));
    assert!(!rig.kernel.is_target(pid));
}

#[test]
fn an_excluded_program_stays_out() {
    let Some(mut rig) = Rig::with(&AUTO) else { return };
    let pid = rig.python.pid();
    rig.kernel.exclude(pid);
    rig.run(&connect(21024));
    rig.run("c.send(b'secret'); a.recv(100)");
    rig.kernel.add_target(pid);
    assert!(!rig.kernel.is_target(pid));
    assert_eq!(rig.opened().len(), 0);
}

#[test]
fn connections_older_than_the_programs_have_roles_and_addresses() {
    let mut python = rig::Python::start();
    python.run(&connect(21025));
    let Some(mut rig) = Rig::start() else { return };
    let netns = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
    let netns = netns.to_string_lossy().trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number");
    rig.kernel.add_listener(netns, 21025);
    rig.kernel.add_target(python.pid());
    std::mem::swap(&mut rig.python, &mut python);
    rig.run("c.send(b'late'); a.recv(100)");
    rig.wait_for_bytes(8);
    let opened = rig.opened();
    let roles: Vec<_> = opened.iter().map(|opened| (opened.role, opened.connect_seen, opened.netns)).collect();
    assert_eq!(roles, [(Role::Client, false, netns), (Role::Server, false, netns)]);
}

#[test]
fn the_programs_can_tell_what_they_do() {
    let options = LoadOptions { debug_log: true, ..AUTO };
    let Some(mut rig) = Rig::with(&options) else { return };
    check_capabilities(&rig);
    let file = Arc::new(tempfile::tempfile().expect("a file"));
    let log = tracing_subscriber::fmt().with_max_level(Level::DEBUG).with_writer(Arc::clone(&file)).finish();
    rig.run(&connect(21027));
    tracing::subscriber::with_default(log, || rig.kernel.drain(1, |_| {}));
    let mut lines = String::new();
    (&*file).rewind().and_then(|()| (&*file).read_to_string(&mut lines)).expect("text");
    assert!(lines.contains(&format!("process {} is traced", rig.python.pid())), "{lines}");
}

pub(crate) fn counter(rig: &Rig, wanted: Counter) -> u64 {
    rig.kernel.counters().into_iter().find(|(counter, _)| *counter == wanted).map_or(0, |(_, count)| count)
}
