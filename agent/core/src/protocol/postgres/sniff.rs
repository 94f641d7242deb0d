//! Where may a message start? Looks at no more than [`SNIFF_BYTES_MAX`] bytes, and believes lengths that fit, text where there
//! is text, and what follows a short message.

use super::frontend::{CANCEL_REQUEST, GSS_REQUEST, MAJOR_VERSION, SSL_REQUEST, STARTUP_LENGTH_MAX};
use super::message::{HEADER_BYTES, Header, number, short, string};
use super::tail;
use crate::protocol::{Side, Sniff};

const SNIFF_BYTES_MAX: usize = 64;
/// Statements begin with one of these words, or with what is in front of them.
const WORDS: [&str; 50] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "WITH",
    "VALUES",
    "TABLE",
    "BEGIN",
    "START",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "SAVEPOINT",
    "RELEASE",
    "SET",
    "RESET",
    "SHOW",
    "CREATE",
    "ALTER",
    "DROP",
    "TRUNCATE",
    "COPY",
    "CALL",
    "DO",
    "DECLARE",
    "FETCH",
    "MOVE",
    "CLOSE",
    "EXPLAIN",
    "ANALYZE",
    "VACUUM",
    "LISTEN",
    "UNLISTEN",
    "NOTIFY",
    "PREPARE",
    "EXECUTE",
    "DEALLOCATE",
    "DISCARD",
    "LOCK",
    "GRANT",
    "REVOKE",
    "REFRESH",
    "COMMENT",
    "CLUSTER",
    "REINDEX",
    "CHECKPOINT",
    "LOAD",
    "IMPORT",
];
const WORD_BYTES_MAX: usize = 10;
/// `MaxTupleAttributeNumber`
const COLUMNS_MAX: u16 = 1_664;
/// Bytes of a column's description behind its name.
const COLUMN_BYTES: usize = 18;

/// See [`super::DEFINITION`].
pub(super) fn sniff(side: Side, bytes: &[u8]) -> Sniff {
    let view = &bytes[..bytes.len().min(SNIFF_BYTES_MAX)];
    let verdict = match side {
        Side::Request if view.first() == Some(&0) => startup(view),
        Side::Request => frontend(view),
        Side::Response => backend(view),
    };
    // No more is looked at.
    if verdict == Sniff::Undecided && view.len() == SNIFF_BYTES_MAX { Sniff::No } else { verdict }
}

/// The start of the bytes, or the end of what was asked or answered with them.
pub(super) fn resync(side: Side, bytes: &[u8]) -> Option<usize> {
    if sniff(side, bytes) == Sniff::Yes {
        return Some(0);
    }
    match side {
        Side::Request => tail::sync_at(bytes),
        Side::Response => tail::ready_at(bytes),
    }
}

// === requests ===

fn startup(view: &[u8]) -> Sniff {
    let (Some(length), Some(code)) = (number(view), view.get(4..).and_then(number)) else {
        return if view.starts_with(&[0, 0]) || view.len() < 2 { Sniff::Undecided } else { Sniff::No };
    };
    let is_version = code >> 16 == MAJOR_VERSION && matches!(code & 0xffff, 0 | 2);
    match code {
        SSL_REQUEST | GSS_REQUEST => verdict(length == 8),
        CANCEL_REQUEST => verdict((16..=STARTUP_LENGTH_MAX).contains(&length)),
        _ if is_version && (16..=STARTUP_LENGTH_MAX).contains(&length) => parameter(&view[8..]),
        _ => Sniff::No,
    }
}

/// `name NUL value`
fn parameter(view: &[u8]) -> Sniff {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let end = view.iter().position(|byte| !fits(byte));
    match end.map(|end| (end, view[end], view.get(end + 1))) {
        None => Sniff::Undecided,
        Some((0, ..)) => Sniff::No,
        Some((_, 0, None)) => Sniff::Undecided,
        Some((_, 0, Some(value))) => verdict(*value >= b' '),
        Some(_) => Sniff::No,
    }
}

fn frontend(view: &[u8]) -> Sniff {
    let Some((head, body)) = view.split_first_chunk::<HEADER_BYTES>() else { return partial_header(view, b"QPB") };
    let Some(header) = Header::frontend(*head) else { return Sniff::No };
    let verdict = match header.kind {
        b'Q' => text(header, body, 0),
        b'P' => parse(header, body),
        b'B' => bind(header, body),
        _ => Sniff::No,
    };
    // What is still to come of it may contradict.
    let enough = SNIFF_BYTES_MAX.min(HEADER_BYTES + header.body as usize);
    if verdict == Sniff::Yes && view.len() < enough { Sniff::Undecided } else { verdict }
}

/// Less than a header. Lengths of 2^24 and more are not believed.
fn partial_header(view: &[u8], kinds: &[u8]) -> Sniff {
    let kind = view.first().is_none_or(|kind| kinds.contains(kind));
    let length = view.get(1).is_none_or(|byte| *byte == 0);
    if kind && length { Sniff::Undecided } else { Sniff::No }
}

/// The text of a statement, which starts so many bytes behind the header.
fn text(header: Header, body: &[u8], start: usize) -> Sniff {
    if header.body >= 1 << 24 {
        return Sniff::No;
    }
    let Some(seen) = body.get(start..body.len().min(header.body as usize)) else { return Sniff::No };
    let (seen, ends) = match string(seen) {
        Some(text) => (text, true),
        None => (seen, false),
    };
    // A `Query` ends with its text; a `Parse` has at least a count behind it.
    let behind = header.body as usize - (start + seen.len()).min(header.body as usize);
    let fits = if !ends {
        behind > 0
    } else if header.kind == b'Q' {
        behind == 1
    } else {
        behind >= 3
    };
    if !fits || seen.iter().any(|byte| is_control(*byte)) {
        return Sniff::No;
    }
    first_word(seen, ends)
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c)
}

/// A word of SQL, behind blanks and brackets. What comes behind a comment may be far.
fn first_word(text: &[u8], ends: bool) -> Sniff {
    let blank = |byte: &&u8| byte.is_ascii_whitespace() || **byte == b'(';
    let text = &text[text.iter().take_while(blank).count()..];
    let word = &text[..text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count()];
    let is_partial = word.len() == text.len() && !ends;
    match text {
        [b'/', b'*', ..] | [b'-', b'-', ..] => Sniff::Yes,
        [b'/'] | [b'-'] if !ends => Sniff::Undecided,
        _ if is_partial && word.len() <= WORD_BYTES_MAX => Sniff::Undecided,
        _ => verdict(WORDS.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))),
    }
}

/// `name NUL text NUL types`
fn parse(header: Header, body: &[u8]) -> Sniff {
    match name(body) {
        Ok(start) => text(header, body, start),
        Err(verdict) => verdict,
    }
}

/// Bytes of a printable name with its end.
fn name(body: &[u8]) -> Result<usize, Sniff> {
    match body.iter().position(|byte| *byte <= b' ' || *byte == 0x7f) {
        Some(end) if body[end] == 0 => Ok(end + 1),
        Some(_) => Err(Sniff::No),
        None => Err(Sniff::Undecided),
    }
}

/// `portal NUL statement NUL formats parameters`
fn bind(header: Header, body: &[u8]) -> Sniff {
    if header.body >= 1 << 24 {
        return Sniff::No;
    }
    let seen = &body[..body.len().min(header.body as usize)];
    let is_whole = seen.len() == header.body as usize;
    let names = name(seen).and_then(|portal| Ok(portal + name(&seen[portal..])?));
    let counts = match names {
        Ok(end) => &seen[end..],
        Err(Sniff::Undecided) if is_whole => return Sniff::No,
        Err(verdict) => return verdict,
    };
    match formats_and_parameters(counts) {
        Some((false, _)) => Sniff::No,
        None => {
            if is_whole {
                Sniff::No
            } else {
                Sniff::Undecided
            }
        }
        // What has no values at all tells little: the next message has to be there.
        Some((true, 0)) if !is_whole => {
            if header.body > 64 {
                Sniff::No
            } else {
                Sniff::Undecided
            }
        }
        Some((true, 0)) => follows(&body[header.body as usize..], |head| {
            Header::frontend(head).is_some_and(|next| b"DESHC".contains(&next.kind))
        }),
        Some((true, values)) => verdict(values as u32 + 2 < header.body),
    }
}

/// Whether the codes of formats fit the values behind them, and how many bytes the values take at least.
fn formats_and_parameters(bytes: &[u8]) -> Option<(bool, usize)> {
    let formats = usize::from(short(bytes)?);
    let codes = &bytes[2..];
    if codes.chunks_exact(2).take(formats).any(|code| !matches!(code, [0, 0 | 1])) {
        return Some((false, 0));
    }
    let behind = codes.get(2 * formats..)?;
    let parameters = usize::from(short(behind)?);
    if formats > 1 && formats != parameters {
        return Some((false, 0));
    }
    if parameters == 0 {
        return Some((true, 0));
    }
    let length = number(&behind[2..])?;
    Some((length == u32::MAX || length < 1 << 24, 4 * parameters))
}

// === answers ===

const SHORT: &[u8] = b"123ns";

fn backend(view: &[u8]) -> Sniff {
    let Some((head, body)) = view.split_first_chunk::<HEADER_BYTES>() else {
        return partial_header(view, b"123nsITCZERN");
    };
    let Some(header) = Header::backend(*head) else { return Sniff::No };
    if header.body >= 1 << 24 {
        return Sniff::No;
    }
    match header.kind {
        b'Z' => body.first().map_or(Sniff::Undecided, |state| verdict(matches!(state, b'I' | b'T' | b'E'))),
        b'T' => columns(header, body),
        b'C' => tag(header, body),
        b'E' | b'N' => report(body),
        b'R' => authentication(header, body),
        kind if SHORT.contains(&kind) || kind == b'I' => {
            follows(body, |head| Header::backend(head).is_some_and(|next| next.body < 1 << 24))
        }
        _ => Sniff::No,
    }
}

/// Judges the header of the next message.
fn follows(bytes: &[u8], fits: impl Fn([u8; HEADER_BYTES]) -> bool) -> Sniff {
    bytes.first_chunk().map_or(Sniff::Undecided, |head| verdict(fits(*head)))
}

/// A count, then for each column its name and what it is: the format comes last, and is text or binary.
fn columns(header: Header, body: &[u8]) -> Sniff {
    let Some(count) = short(body) else { return Sniff::Undecided };
    let least = 2 + usize::from(count) * (COLUMN_BYTES + 2);
    if count == 0 || count > COLUMNS_MAX || least > header.body as usize + 1 {
        return Sniff::No;
    }
    let end = match string(&body[2..]) {
        Some(name) => 2 + name.len() + 1,
        None => return if body.iter().skip(2).any(|byte| is_control(*byte)) { Sniff::No } else { Sniff::Undecided },
    };
    if body[2..end - 1].iter().any(|byte| is_control(*byte)) {
        return Sniff::No;
    }
    match body.get(end + COLUMN_BYTES - 2..end + COLUMN_BYTES) {
        Some(format) => verdict(matches!(format, [0, 0 | 1])),
        None => Sniff::Undecided,
    }
}

fn tag(header: Header, body: &[u8]) -> Sniff {
    let seen = &body[..body.len().min(header.body as usize)];
    if seen.len() == header.body as usize {
        return verdict(tail::is_tag(seen));
    }
    let fits = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
    if seen.iter().all(fits) { Sniff::Undecided } else { Sniff::No }
}

/// `S severity NUL`, in any language, and since 9.6 `V severity NUL`; then the code.
fn report(body: &[u8]) -> Sniff {
    match body {
        [] => Sniff::Undecided,
        [b'S', severity @ ..] => match severity.iter().position(|byte| *byte <= b' ') {
            None => Sniff::Undecided,
            Some(0) => Sniff::No,
            Some(end) if severity[end] != 0 => Sniff::No,
            Some(end) => match &severity[end + 1..] {
                [] | [_] => Sniff::Undecided,
                [b'V', b'E' | b'F' | b'P' | b'W' | b'N' | b'D' | b'I' | b'L', ..] => Sniff::Yes,
                [b'C', code, ..] => verdict(code.is_ascii_uppercase() || code.is_ascii_digit()),
                _ => Sniff::No,
            },
        },
        _ => Sniff::No,
    }
}

/// Kinds of `Authentication...` and the lengths that they have.
fn authentication(header: Header, body: &[u8]) -> Sniff {
    let Some(kind) = number(body) else { return Sniff::Undecided };
    let fits = match kind {
        0 | 2 | 3 | 6 | 7 | 9 => header.body == 4,
        5 => header.body == 8,
        // Names of mechanisms.
        10 => header.body > 8 && body.get(4).is_none_or(u8::is_ascii_uppercase),
        _ => false,
    };
    if kind == 10 && fits && body.len() == 4 { Sniff::Undecided } else { verdict(fits) }
}

fn verdict(fits: bool) -> Sniff {
    if fits { Sniff::Yes } else { Sniff::No }
}
