//! TLS libraries that were linked in and lost their symbols. OpenSSL ≥ 3.0 names its functions in the errors that it
//! raises, and two functions that are not exported do all reading and writing: they are found by their names among the
//! constants. What else there is, is said, so that nobody wonders where the plaintext is.

use super::tls::{BORINGSSL, dated_version};
use super::{Probe, entry_offset};
use crate::elf::{Elf, Function, Source};
use crate::probe::plan::{Component, ProbeProgram, Recognised};
use ProbeProgram::{TlsHandshake, TlsReadEx, TlsReturn, TlsSetFd, TlsWriteEx, TlsWriteEx2};
use std::ops::ControlFlow::{Break, Continue};

/// Where errors of OpenSSL and its forks are raised; BoringSSL's source files end in `.cc`.
const SSL_SOURCE: &str = "ssl/ssl_lib.c";
const OPENSSL_VERSION: &str = "OpenSSL ";
/// A folder of cargo's registry, in the messages of panics.
const RUSTLS_SOURCE: &str = "/rustls-0.";

const READ: &str = "ssl_read_internal\0";
const WRITE: &str = "ssl_write_internal\0";
const HANDSHAKE: &str = "SSL_do_handshake\0";
const SET_FD: &str = "SSL_set_fd\0";

/// Places of names among the constants that are looked at.
const TARGETS_MAX: usize = 64;

/// Adds what there is in a file in which nothing was found by name.
pub(super) fn recognise<S: Source + ?Sized>(elf: &Elf<'_, S>, recognised: &mut Recognised) {
    let (ssl, rustls) = libraries(elf);
    let mut lost: Vec<_> = rustls.into_iter().collect();
    if let Some(ssl) = ssl {
        match probes(elf, &ssl) {
            Some(probes) => {
                recognised.probes.extend(probes);
                recognised.what.push(ssl);
            }
            None => lost.insert(0, ssl),
        }
    }
    if !lost.is_empty() {
        let names: Vec<_> = lost.iter().map(ToString::to_string).collect();
        recognised.loss = Some(format!("{}: linked in without symbols", names.join(" and ")));
    }
}

/// OpenSSL or a fork, and rustls.
fn libraries<S: Source + ?Sized>(elf: &Elf<'_, S>) -> (Option<Component>, Option<Component>) {
    let (mut ssl, mut version, mut rustls) = (None, None, None);
    let marks = [SSL_SOURCE, OPENSSL_VERSION, RUSTLS_SOURCE].map(str::as_bytes);
    elf.search(&elf.constants(), &marks, |found| {
        let text = &found.text[marks[found.mark].len()..];
        match found.mark {
            0 => ssl = ssl.or(Some(if text.first() == Some(&b'c') { BORINGSSL } else { "OpenSSL" })),
            1 => version = version.take().or_else(|| dated_version(text)),
            _ => rustls = rustls.take().or_else(|| crate_version(text)),
        }
        if ssl.is_some() && version.is_some() && rustls.is_some() { Break(()) } else { Continue(()) }
    });
    let ssl = ssl.map(|name| Component { name, version: version.filter(|_| name != BORINGSSL) });
    (ssl, rustls.map(|version| Component { name: "rustls", version: Some(version) }))
}

/// `0.23.31` of `23.31/src/…`.
fn crate_version(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|byte| *byte == b'/')?;
    let version = std::str::from_utf8(&text[..end]).ok()?;
    let plain = version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (plain && version.contains('.') && version.len() <= 16).then(|| format!("0.{version}"))
}

/// Probes of OpenSSL's functions. `None` where reading or writing is not found.
fn probes<S: Source + ?Sized>(elf: &Elf<'_, S>, ssl: &Component) -> Option<Vec<Probe>> {
    let write = write_program(ssl.version.as_deref()?)?;
    let [read_at, write_at, handshake_at, set_fd_at] = functions(elf, [READ, WRITE, HANDSHAKE, SET_FD]);
    let with_return = |function: Function, program| {
        let offset = entry_offset(elf, &function)?;
        Some([program, TlsReturn].map(|program| Probe { offset, program }))
    };
    let mut probes = [with_return(read_at?, TlsReadEx)?, with_return(write_at?, write)?].concat();
    probes.extend(handshake_at.and_then(|function| with_return(function, TlsHandshake)).into_iter().flatten());
    let set_fd = set_fd_at.and_then(|function| entry_offset(elf, &function));
    probes.extend(set_fd.map(|offset| Probe { offset, program: TlsSetFd }));
    Some(probes)
}

/// [`ssl_write_internal`](https://github.com/openssl/openssl/blob/openssl-3.3.0/ssl/ssl_lib.c) takes flags since 3.3.
/// Before 3.0, errors had numbers.
fn write_program(version: &str) -> Option<ProbeProgram> {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    match (numbers.next()??, numbers.next()??) {
        (..3, _) => None,
        (3, 0..3) => Some(TlsWriteEx),
        _ => Some(TlsWriteEx2),
    }
}

/// The functions that refer to these names, each where it is the only one.
fn functions<const N: usize, S: Source + ?Sized>(elf: &Elf<'_, S>, names: [&str; N]) -> [Option<Function>; N] {
    let (mut targets, mut of) = (Vec::new(), Vec::new());
    elf.search(&elf.constants(), &names.map(str::as_bytes), |found| {
        targets.extend(elf.address(found.offset));
        of.resize(targets.len(), found.mark);
        if targets.len() < TARGETS_MAX { Continue(()) } else { Break(()) }
    });
    let references = elf.references(&targets);
    let only = |name: usize| {
        let to_name = references.iter().filter(|(target, _)| of[*target] == name);
        let mut functions = to_name.map(|(_, at)| elf.function_at(*at)).collect::<Option<Vec<_>>>()?;
        functions.dedup();
        if let [function] = functions[..] { Some(function) } else { None }
    };
    let found: [Option<Function>; N] = std::array::from_fn(only);
    let called = elf.called(&found.iter().flatten().map(|function| function.address).collect::<Vec<_>>());
    found.map(|function| function.filter(|function| called.contains(&function.address)))
}
