//! TLS sessions and their connections, in a program that decrypts from memory, where nothing but order tells which
//! session belongs to which socket; and in one that gives the library its sockets.

use std::process::Command;
use std::time::{Duration, Instant};

use autospan::kernel::LoadOptions;
use autospan::probe::{FileId, Libraries, ProbeChange};
use autospan_abi::process::TRAIT_TLS;
use autospan_abi::{Counter, Direction, Role};
use autospan_core::event::{Ends, Event, EventKind, Opened};
use aya::sys::{Stats, enable_stats};

use crate::counter;
use crate::rig::Rig;

const CODE: &str = include_str!("tls.py");

/// Python with both ends' contexts `cc` and `sc`, and probes on its TLS library.
fn start() -> Option<Rig> {
    start_with(LoadOptions::default())
}

fn start_with(options: LoadOptions) -> Option<Rig> {
    let mut rig = Rig::start_with(options)?;
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]);
    openssl.args(["-subj", "/CN=localhost", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    assert!(openssl.output().expect("openssl is installed").status.success());
    rig.run(&format!("exec({CODE:?})"));
    rig.run(&format!("cc, sc = contexts({:?}, {:?})", certificate.display().to_string(), key.display().to_string()));
    attach(&mut rig);
    rig.kernel.add_traits(rig.python.pid(), TRAIT_TLS);
    Some(rig)
}

/// Probes on the TLS libraries of Python. Which files these are.
fn attach(rig: &mut Rig) -> Vec<FileId> {
    let mut files = Vec::new();
    for change in Libraries::default().mapped(rig.python.pid()) {
        if let ProbeChange::Attach { file, path, recognised } = change {
            rig.kernel.attach_probes(file, &path, &recognised.probes).expect("the kernel takes the probes");
            files.push(file);
        }
    }
    assert!(!files.is_empty(), "Python's TLS library was not recognised");
    files
}

/// What was seen inside TLS, by the port of the client: role, direction, text.
fn plaintext(rig: &Rig) -> Vec<(u16, Role, Direction, String)> {
    let opened = rig.opened();
    let of = |connection| opened.iter().find(|opened| opened.connection == connection && opened.tls.is_some());
    let data = rig.data();
    let inside = data.iter().filter_map(|data| Some((of(data.connection)?, data)));
    inside
        .map(|(opened, data)| {
            let text = String::from_utf8_lossy(data.head).into_owned();
            (client_port(opened), opened.role, data.direction, text)
        })
        .collect()
}

fn client_port(opened: &Opened<'_>) -> u16 {
    let Ends::Inet { local, remote } = opened.ends else { panic!("not TCP: {opened:?}") };
    if opened.role == Role::Client { local.1 } else { remote.1 }
}

fn has_read(events: &[Event<'_>], text: &[u8]) -> bool {
    let read = |event: &Event<'_>| match event.kind {
        EventKind::Data(data) => data.head == text && data.direction == Direction::Inbound,
        _ => false,
    };
    events.iter().any(read)
}

/// Port of the client of a pair.
fn port_of(rig: &mut Rig, pair: &str, at: u16) -> u16 {
    // The program has no way to answer but a connection of its own.
    rig.run(&format!("assert {pair}[1].sock.getpeername()[1] == {pair}[0].sock.getsockname()[1]"));
    let opened = rig.opened();
    let of_pair = opened.iter().find(|opened| match opened.ends {
        Ends::Inet { local, remote } => local.1 == at || remote.1 == at,
        Ends::Unix { .. } => false,
    });
    client_port(of_pair.expect("its connection was reported"))
}

#[test]
fn sessions_in_memory_are_bound_by_the_ciphertext_that_was_just_read() {
    let Some(mut rig) = start() else { return };
    rig.run("a = pair(21301, cc, sc); a[0].say(b'ask'); a[1].get(); a[1].say(b'answer'); a[0].get()");
    rig.wait_for_plaintext(4);
    let port = port_of(&mut rig, "a", 21301);
    let mut seen = plaintext(&rig);
    seen.sort_by_key(|(_, role, direction, _)| (*role as u8, *direction as u8));
    let (ask, answer) = ("ask".to_owned(), "answer".to_owned());
    assert_eq!(
        seen,
        [
            (port, Role::Client, Direction::Inbound, answer.clone()),
            (port, Role::Client, Direction::Outbound, ask.clone()),
            (port, Role::Server, Direction::Inbound, ask),
            (port, Role::Server, Direction::Outbound, answer),
        ]
    );
    let inside: Vec<_> = rig.opened().into_iter().filter_map(|opened| opened.tls).collect();
    assert!(inside.iter().all(|tls| tls.version == 0x0303 && tls.cipher >> 8 == 0x13), "{inside:?}");
    assert_eq!(counter(&rig, Counter::TlsConflicts), 0);
}

#[test]
fn who_reads_several_sockets_before_it_decrypts_keeps_its_bindings() {
    let Some(mut rig) = start() else { return };
    rig.run("a = pair(21302, cc, sc); b = pair(21303, cc, sc)");
    rig.run("a[0].say(b'to a'); b[0].say(b'to b'); a[1].pull(); b[1].pull(); a[1].hear(); b[1].hear()");
    rig.wait_for_plaintext(4);
    let (a, b) = (port_of(&mut rig, "a", 21302), port_of(&mut rig, "b", 21303));
    let seen = plaintext(&rig);
    assert!(seen.contains(&(a, Role::Server, Direction::Inbound, "to a".to_owned())), "{seen:?}");
    assert!(seen.contains(&(b, Role::Server, Direction::Inbound, "to b".to_owned())), "{seen:?}");
    assert_eq!(counter(&rig, Counter::TlsConflicts), 0);
}

/// Two bytes of a's wait in the library while b's socket is read: for once, order lies.
#[test]
fn evidence_that_contradicts_itself_loses_bytes_and_never_moves_them() {
    let Some(mut rig) = start() else { return };
    rig.run("a = pair(21304, cc, sc); b = pair(21305, cc, sc)");
    rig.run("a[0].say(b'a1'); a[1].get(); b[0].say(b'b1'); b[1].get()");
    rig.run("a[0].say(b'a2'); a[0].say(b'a3'); a[1].pull(); a[1].hear(); b[0].say(b'b2'); b[1].pull(); a[1].hear()");
    assert_eq!(counter(&rig, Counter::TlsConflicts), 1);
    rig.run("b[1].hear()");
    assert_eq!(counter(&rig, Counter::LostTlsUnbound), 4, "a3 and b2");
    for round in ["4", "5", "6"] {
        rig.run(&format!("a[0].say(b'a{round}'); a[1].get(); b[0].say(b'b{round}'); b[1].get()"));
    }
    rig.wait("the last of both", |events| has_read(events, b"a6") && has_read(events, b"b6"));
    let (a, b) = (port_of(&mut rig, "a", 21304), port_of(&mut rig, "b", 21305));
    for (port, role, direction, text) in plaintext(&rig) {
        let owner = if text.starts_with('a') { a } else { b };
        assert_eq!(port, owner, "{text} {role:?} {direction:?}");
    }
}

#[test]
fn a_library_that_has_the_socket_is_believed_at_once() {
    let Some(mut rig) = start() else { return };
    rig.run("cs, ss = sockets(21306)");
    rig.run("t = threading.Thread(target=lambda: globals().update(s=sc.wrap_socket(ss, server_side=True))); t.start()");
    rig.run("c = cc.wrap_socket(cs); t.join(); c.sendall(b'ask'); s.recv(10); s.sendall(b'answer'); c.recv(10)");
    rig.wait_for_plaintext(4);
    let texts: Vec<_> = plaintext(&rig).into_iter().map(|(.., text)| text).collect();
    assert_eq!(texts, ["ask", "ask", "answer", "answer"]);
    let ciphertext = rig.opened().iter().filter(|opened| opened.tls.is_none()).count();
    assert_eq!(ciphertext, 0, "what is bound from the start shows no ciphertext");
}

#[test]
fn a_forked_worker_goes_on_with_its_parents_session() {
    let Some(mut rig) = start() else { return };
    rig.run("cs, ss = sockets(21307)");
    rig.run("t = threading.Thread(target=lambda: globals().update(s=sc.wrap_socket(ss, server_side=True))); t.start()");
    rig.run("c = cc.wrap_socket(cs); t.join(); c.sendall(b'before'); s.recv(10)");
    rig.run(
        "pid = os.fork(); pid or (s.recv(10), s.sendall(b'child'), os._exit(0)); c.sendall(b'inherited'); c.recv(10)",
    );
    rig.run("os.waitpid(pid, 0)");
    rig.wait("what the child read", |events| has_read(events, b"inherited"));
    assert_eq!(counter(&rig, Counter::TlsConflicts), 0);
}

/// How often programs on the TLS library ran; needs the kernel's statistics.
fn runs(rig: &Rig) -> u64 {
    let programs = rig.kernel.program_stats();
    programs.iter().filter(|program| program.name.starts_with("tls_")).map(|program| program.run_count).sum()
}

/// How many of them one exchange costs.
fn runs_of_an_exchange(rig: &mut Rig) -> u64 {
    let before = runs(rig);
    rig.run("a[0].say(b'ask'); a[1].get()");
    runs(rig) - before
}

fn probes_that_are_let_go_of_fire_no_more(options: LoadOptions, port: u16) {
    // What single links take is the kernel's: see ADR 13.
    let deadline = Duration::from_secs(if options.single_probes { 60 } else { 10 });
    let Some(mut rig) = start_with(options) else { return };
    let _statistics = enable_stats(Stats::RunTime).expect("the kernel counts runs");
    rig.run(&format!("a = pair({port}, cc, sc)"));
    assert!(runs_of_an_exchange(&mut rig) > 0);
    for file in attach(&mut rig) {
        rig.kernel.detach_probes(file);
    }
    let begin = Instant::now();
    while runs_of_an_exchange(&mut rig) > 0 {
        assert!(begin.elapsed() < deadline, "probes fire still");
    }
    attach(&mut rig);
    assert!(runs_of_an_exchange(&mut rig) > 0, "a file that was detached can be attached again");
}

#[test]
fn probes_of_one_link_end_together() {
    probes_that_are_let_go_of_fire_no_more(LoadOptions::default(), 21308);
}

#[test]
fn probes_with_links_of_their_own_end_too() {
    probes_that_are_let_go_of_fire_no_more(LoadOptions { single_probes: true, ..LoadOptions::default() }, 21309);
}

/// What older kernels do, on this one.
#[test]
fn a_link_for_each_probe_sees_the_same() {
    let Some(mut rig) = start_with(LoadOptions { single_probes: true, ..LoadOptions::default() }) else { return };
    let lost: Vec<_> = rig.kernel.capabilities().iter().filter(|c| !c.works()).map(|c| c.name).collect();
    assert_eq!(lost, ["many probes per link"]);
    rig.run("a = pair(21310, cc, sc); a[0].say(b'ask'); a[1].get(); a[1].say(b'answer'); a[0].get()");
    rig.wait_for_plaintext(4);
    let mut texts: Vec<_> = plaintext(&rig).into_iter().map(|(.., text)| text).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["answer", "answer", "ask", "ask"]);
}
