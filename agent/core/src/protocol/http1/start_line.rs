//! Where may a message start? Judged by its first line alone (RFC 9112 sections 3 and 4).

use super::{Side, Sniff};

/// A sniffer looks at no more.
const SNIFF_BYTES_MAX: usize = 64;
/// Longest method that is believed. The longest registered one is UPDATEREDIRECTREF.
const METHOD_BYTES_MAX: usize = 24;

/// Methods believed by their name: those of RFC 9110, PATCH, and what WebDAV, UPnP and caches use.
const METHODS: [&[u8]; 25] = [
    b"GET",
    b"POST",
    b"PUT",
    b"DELETE",
    b"HEAD",
    b"OPTIONS",
    b"PATCH",
    b"CONNECT",
    b"TRACE",
    b"QUERY",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"MERGE",
    b"NOTIFY",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"M-SEARCH",
    b"PURGE",
];

/// See [`crate::protocol::Definition`].
pub(super) fn sniff(side: Side, bytes: &[u8]) -> Sniff {
    let view = &bytes[..bytes.len().min(SNIFF_BYTES_MAX)];
    let line = &view[empty_lines(view)..];
    let verdict = sniff_line(side, line);
    let complete = view.len() == SNIFF_BYTES_MAX;
    match verdict {
        // All that may be looked at fits: a name that everybody knows is enough, one that nobody knows is not.
        Sniff::Undecided if complete && side == Side::Request && starts_with_method(line) => Sniff::Yes,
        Sniff::Undecided if complete => Sniff::No,
        _ => verdict,
    }
}

/// See [`crate::protocol::Parser::resync`].
pub(super) fn resync(side: Side, bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while !may_start(side, &bytes[at..]) {
        at += bytes[at..].iter().position(|&b| b == b'\n')? + 1;
    }
    Some(at)
}

/// Bytes of the empty lines in front of a message (RFC 9112 section 2.2), CR and LF taken as they come.
pub(super) fn empty_lines(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count()
}

/// Offset of the first byte that cannot stand there in any message of `side`, however the line goes on.
pub(super) fn misfit(side: Side, bytes: &[u8]) -> Option<usize> {
    match side {
        Side::Request => {
            let at = bytes.iter().take(METHOD_BYTES_MAX + 1).position(|&b| !is_token(b));
            match at {
                Some(at) => (at == 0 || bytes[at] != b' ').then_some(at),
                None => (bytes.len() > METHOD_BYTES_MAX).then_some(METHOD_BYTES_MAX),
            }
        }
        Side::Response => bytes.iter().zip(b"HTTP/1.").position(|(byte, wanted)| byte != wanted),
    }
}

/// In the midst of anything, a message is believed by its method's name only, and from its fourth byte on.
fn may_start(side: Side, bytes: &[u8]) -> bool {
    let view = &bytes[..bytes.len().min(SNIFF_BYTES_MAX)];
    let fits = sniff_line(side, view) != Sniff::No && view.len() >= 4;
    fits && (side == Side::Response || starts_with_method(view))
}

fn sniff_line(side: Side, line: &[u8]) -> Sniff {
    match side {
        Side::Request => request_line(line),
        Side::Response => status_line(line),
    }
}

/// `method SP target SP HTTP/1.x`
fn request_line(line: &[u8]) -> Sniff {
    if misfit(Side::Request, line).is_some() {
        return Sniff::No;
    }
    let Some(space) = line.iter().position(|&b| b == b' ') else { return Sniff::Undecided };
    let (method, target) = (&line[..space], &line[space + 1..]);
    match target_start(method, target) {
        Sniff::Yes => {}
        other => return other,
    }
    let Some(end) = target.iter().position(|&b| b <= b' ' || b == 0x7f) else { return Sniff::Undecided };
    if target[end] != b' ' {
        return Sniff::No;
    }
    like(&target[end + 1..], b"HTTP/1.m")
}

/// `HTTP/1.x SP 3DIGIT (SP / CR / LF)`
fn status_line(line: &[u8]) -> Sniff {
    like(line, b"HTTP/1.m 000$")
}

/// Does a target start here, in any of its four forms?
fn target_start(method: &[u8], target: &[u8]) -> Sniff {
    match target {
        [] => Sniff::Undecided,
        [b'/', ..] => Sniff::Yes,
        [b'*', rest @ ..] => like(rest, b" "),
        [first, ..] if method == b"CONNECT" => sniffed(first.is_ascii_alphanumeric() || *first == b'['),
        _ => {
            let known = target.len().min(b"http".len());
            match target[..known].eq_ignore_ascii_case(&b"http"[..known]) {
                true if known < b"http".len() => Sniff::Undecided,
                fits => sniffed(fits),
            }
        }
    }
}

fn sniffed(fits: bool) -> Sniff {
    if fits { Sniff::Yes } else { Sniff::No }
}

/// Compares byte by byte with a pattern in which `0` stands for a digit, `m` for a minor version and `$` for what ends a
/// status code.
fn like(bytes: &[u8], pattern: &[u8]) -> Sniff {
    let fits = |(&byte, &wanted): (&u8, &u8)| match wanted {
        b'0' => byte.is_ascii_digit(),
        b'm' => matches!(byte, b'0' | b'1'),
        b'$' => matches!(byte, b' ' | b'\r' | b'\n'),
        _ => byte == wanted,
    };
    if !bytes.iter().zip(pattern).all(fits) {
        return Sniff::No;
    }
    if bytes.len() < pattern.len() { Sniff::Undecided } else { Sniff::Yes }
}

fn starts_with_method(line: &[u8]) -> bool {
    METHODS.iter().any(|method| match line.strip_prefix(*method) {
        Some(rest) => rest.first().is_none_or(|&b| b == b' '),
        None => method.starts_with(line),
    })
}

/// `tchar` of RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
