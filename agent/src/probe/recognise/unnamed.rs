//! TLS libraries that were linked in and lost their names: said, so that nobody wonders where the plaintext is.

use super::tls::{BORINGSSL, full_version};
use crate::elf::{Elf, Source};
use crate::probe::plan::{Component, Recognised};
use std::ops::ControlFlow::{Break, Continue};

/// Where errors of OpenSSL and its forks are raised; BoringSSL's source files end in `.cc`.
const SSL_SOURCE: &str = "ssl/ssl_lib.c";
const OPENSSL_VERSION: &str = "OpenSSL ";
/// A folder of cargo's registry, in the messages of panics.
const RUSTLS_SOURCE: &str = "/rustls-0.";

/// Adds what there is in a file in which nothing was found by name.
pub(super) fn recognise<S: Source + ?Sized>(elf: &Elf<'_, S>, recognised: &mut Recognised) {
    let (mut ssl, mut version, mut rustls) = (None, None, None);
    let marks = [SSL_SOURCE, OPENSSL_VERSION, RUSTLS_SOURCE].map(str::as_bytes);
    elf.search(&elf.constants(), &marks, |found| {
        let text = &found.text[marks[found.mark].len()..];
        match found.mark {
            0 => ssl = ssl.or(Some(if text.first() == Some(&b'c') { BORINGSSL } else { "OpenSSL" })),
            1 => version = version.take().or_else(|| full_version(text)),
            _ => rustls = rustls.take().or_else(|| crate_version(text)),
        }
        if ssl.is_some() && version.is_some() && rustls.is_some() { Break(()) } else { Continue(()) }
    });
    let ssl = ssl.map(|name| Component { name, version: version.filter(|_| name != BORINGSSL) });
    let rustls = rustls.map(|version| Component { name: "rustls", version: Some(version) });
    let names: Vec<_> = [ssl, rustls].into_iter().flatten().map(|component| component.to_string()).collect();
    if !names.is_empty() {
        recognised.loss = Some(format!("{}: linked in without symbols", names.join(" and ")));
    }
}

/// `0.23.31` of `23.31/src/…`.
fn crate_version(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|byte| *byte == b'/')?;
    let version = std::str::from_utf8(&text[..end]).ok()?;
    let plain = version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (plain && version.contains('.') && version.len() <= 16).then(|| format!("0.{version}"))
}
