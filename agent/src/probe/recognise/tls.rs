//! TLS libraries with C's calling convention: OpenSSL and its forks, GnuTLS. In shared libraries, or linked into an
//! executable that has kept its symbols.

use super::entry_offset;
use crate::elf::{Elf, Function, Machine, Source};
use crate::probe::plan::{Component, Probe, ProbeProgram, Recognised};
use ProbeProgram::{TlsFree, TlsHandshake, TlsRead, TlsReadEx, TlsReturn, TlsSetFd, TlsWrite, TlsWriteEx, TlsWriteEx2};
use std::ops::ControlFlow::{Break, Continue};

/// What a symbol tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Probe(Family, ProbeProgram),
    /// Only this fork of OpenSSL has the function.
    Mark(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    OpenSsl,
    GnuTls,
}
use Family::{GnuTls, OpenSsl};

pub(super) const BORINGSSL: &str = "BoringSSL";
const LIBRESSL: &str = "LibreSSL";

const SYMBOLS: [(&str, Role); 18] = [
    ("SSL_read", Role::Probe(OpenSsl, TlsRead)),
    ("SSL_read_ex", Role::Probe(OpenSsl, TlsReadEx)),
    ("SSL_read_early_data", Role::Probe(OpenSsl, TlsReadEx)),
    ("SSL_write", Role::Probe(OpenSsl, TlsWrite)),
    ("SSL_write_ex", Role::Probe(OpenSsl, TlsWriteEx)),
    ("SSL_write_early_data", Role::Probe(OpenSsl, TlsWriteEx)),
    ("SSL_write_ex2", Role::Probe(OpenSsl, TlsWriteEx2)),
    ("SSL_do_handshake", Role::Probe(OpenSsl, TlsHandshake)),
    ("SSL_free", Role::Probe(OpenSsl, TlsFree)),
    ("SSL_set_fd", Role::Probe(OpenSsl, TlsSetFd)),
    ("gnutls_record_recv", Role::Probe(GnuTls, TlsRead)),
    ("gnutls_record_send", Role::Probe(GnuTls, TlsWrite)),
    ("gnutls_record_send2", Role::Probe(GnuTls, TlsWrite)),
    ("gnutls_handshake", Role::Probe(GnuTls, TlsHandshake)),
    ("gnutls_deinit", Role::Probe(GnuTls, TlsFree)),
    ("SSL_set_custom_verify", Role::Mark(BORINGSSL)),
    ("SSL_CTX_set_custom_verify", Role::Mark(BORINGSSL)),
    ("SSL_CTX_use_certificate_chain_mem", Role::Mark(LIBRESSL)),
];

/// Adds what a file has of these libraries.
pub(super) fn recognise<S: Source + ?Sized>(elf: &Elf<'_, S>, recognised: &mut Recognised) {
    if elf.machine == Machine::Other {
        return;
    }
    let mut functions = elf.functions(&SYMBOLS.map(|(name, _)| name));
    // A symbol that leads nowhere tells nothing.
    functions.retain(|function| entry_offset(elf, function).is_some());
    let reads_or_writes = |wanted: Family| {
        functions.iter().any(|function| match SYMBOLS[function.name].1 {
            Role::Probe(family, TlsRead | TlsReadEx | TlsWrite | TlsWriteEx | TlsWriteEx2) => family == wanted,
            _ => false,
        })
    };
    let openssl = reads_or_writes(OpenSsl).then(|| openssl(elf, &functions));
    let gnutls = reads_or_writes(GnuTls).then(|| gnutls(elf));
    if openssl.is_some() || gnutls.is_some() {
        recognised.probes.extend(functions.iter().flat_map(|function| probes(elf, function)));
        recognised.what.extend([openssl, gnutls].into_iter().flatten());
    }
}

fn probes<S: Source + ?Sized>(elf: &Elf<'_, S>, function: &Function) -> impl Iterator<Item = Probe> {
    let programs = match SYMBOLS[function.name].1 {
        Role::Mark(_) => [None, None],
        Role::Probe(_, program @ (TlsFree | TlsSetFd)) => [Some(program), None],
        Role::Probe(_, program) => [Some(program), Some(TlsReturn)],
    };
    let offset = entry_offset(elf, function);
    programs.into_iter().flatten().filter_map(move |program| Some(Probe { offset: offset?, program }))
}

fn openssl<S: Source + ?Sized>(elf: &Elf<'_, S>, functions: &[Function]) -> Component {
    let mark = |function: &Function| if let Role::Mark(name) = SYMBOLS[function.name].1 { Some(name) } else { None };
    match functions.iter().find_map(mark) {
        Some(BORINGSSL) => Component { name: BORINGSSL, version: None },
        Some(name) => Component { name, version: version_text(elf, "LibreSSL ", full_version) },
        None => {
            let version = version_text(elf, "OpenSSL ", dated_version).or_else(|| soname_version(elf));
            Component { name: "OpenSSL", version }
        }
    }
}

fn gnutls<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Component {
    Component { name: "GnuTLS", version: version_text(elf, "GnuTLS ", full_version) }
}

/// `3.0.17` of a text `OpenSSL 3.0.17 1 Jul 2025` among the constants. A shared libssl has none: libcrypto has it.
fn version_text<S: Source + ?Sized>(
    elf: &Elf<'_, S>,
    mark: &str,
    version_of: fn(&[u8]) -> Option<String>,
) -> Option<String> {
    let mut version = None;
    elf.search(&elf.constants(), &[mark.as_bytes()], |found| {
        version = version_of(&found.text[mark.len()..]);
        if version.is_some() { Break(()) } else { Continue(()) }
    });
    version
}

/// `3.0.17` of `3.0.17 1 Jul 2025`. Others speak of versions of OpenSSL too, as CPython's documentation does in its code.
pub(super) fn dated_version(text: &[u8]) -> Option<String> {
    let version = full_version(text)?;
    let date = text[version.len()..].trim_ascii_start();
    date.first().is_some_and(u8::is_ascii_digit).then_some(version)
}

/// `3.0.17`, `1.1.1w`, `1.0.2k-fips`: three numbers at least, then a space.
fn full_version(text: &[u8]) -> Option<String> {
    const VERSION_BYTES_MAX: usize = 24;
    let end = text.iter().take(VERSION_BYTES_MAX).position(|byte| byte.is_ascii_whitespace() || *byte == 0)?;
    let version = std::str::from_utf8(&text[..end]).ok()?;
    let mut numbers = version.splitn(3, '.');
    let numeric = |part: Option<&str>| part.is_some_and(|part| part.starts_with(|c: char| c.is_ascii_digit()));
    let plain = version.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+'));
    (plain && (0..3).all(|_| numeric(numbers.next()))).then(|| version.to_owned())
}

/// `3` of `libssl.so.3` or `libssl-6a9b88ec.so.3`; `1.1.1` where the version of a symbol says so.
fn soname_version<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Option<String> {
    let mut found = None;
    elf.dynamic_strings(|string| {
        if string == b"OPENSSL_1_1_1" {
            found = Some("1.1.1".to_owned());
            return Break(());
        }
        let name = std::str::from_utf8(string).ok().filter(|name| name.starts_with("libssl"));
        let number = name.and_then(|name| name.split_once(".so.")).map(|(_, number)| number);
        let plain =
            |number: &&str| number.len() <= 8 && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        found = found.take().or_else(|| number.filter(plain).map(str::to_owned));
        Continue(())
    });
    found
}
