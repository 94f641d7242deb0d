//! What is taken for this protocol: the start of a session from either end, and in the midst of one commands with SQL in them or
//! executions of prepared statements, and answers that are errors or have columns.

use super::attributes;
use super::command::{code, payload_bytes};
use super::login::{self, GREETING_VERSION, LOGIN_BYTES_MIN};
use super::lost::is_error;
use super::session::LAST_PREPARED;
use super::wire::{Done, EOF_BYTES, HEADER_BYTES, Header, OK_BYTES_MIN, Reader, mark, status};
use crate::protocol::{Side, Sniff};

/// Bytes that are looked at.
const SNIFFED_BYTES: usize = 64;

pub(super) fn sniff(side: Side, bytes: &[u8]) -> Sniff {
    let view = bytes.get(..SNIFFED_BYTES).unwrap_or(bytes);
    let verdict = match (side, Header::read(view)) {
        (_, None) => Sniff::Undecided,
        (Side::Request, Some(header)) => request(header, view),
        (Side::Response, Some(header)) => response(header, view),
    };
    if verdict == Sniff::Undecided && view.len() == SNIFFED_BYTES { Sniff::No } else { verdict }
}

/// Behind a loss, where the protocol is known, a packet that is all of a call will do as well.
pub(super) fn resync(side: Side, bytes: &[u8]) -> bool {
    if sniff(side, bytes) == Sniff::Yes {
        return true;
    }
    let Some(header) = Header::read(bytes) else { return false };
    let payload = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let is_whole = payload.len() as u64 == header.bytes;
    match side {
        Side::Request => {
            let fits = |first: &u8| payload_bytes(*first).is_some_and(|lengths| lengths.contains(&header.bytes));
            is_whole && header.sequence == 0 && payload.first().is_some_and(fits)
        }
        Side::Response => header.sequence == 1 && (is_prepared(payload) || (is_whole && is_done(header, payload))),
    }
}

// === clients ===

fn request(header: Header, view: &[u8]) -> Sniff {
    let payload = view.get(HEADER_BYTES..).unwrap_or_default();
    match (header.sequence, payload.first()) {
        (0, None) if header.bytes > 0 => Sniff::Undecided,
        (0, Some(&code::QUERY | &code::STMT_PREPARE)) => statement(header, view),
        (0, Some(&code::STMT_EXECUTE)) => execution(header, payload),
        // Five bytes are not much, but all there is of connections that wait in a pool.
        (0, Some(&code::PING)) => sniffed(header.bytes == 1),
        (1 | 2, _) if header.bytes >= LOGIN_BYTES_MIN as u64 => match view.get(..HEADER_BYTES + LOGIN_BYTES_MIN) {
            Some(start) => sniffed(login::is_login(start)),
            None => Sniff::Undecided,
        },
        _ => Sniff::No,
    }
}

/// A query or a preparation: nothing but text up to the end of the packet or the view, and first a word of SQL.
fn statement(header: Header, view: &[u8]) -> Sniff {
    let packet = HEADER_BYTES.saturating_add(header.bytes as usize);
    let seen = packet.min(SNIFFED_BYTES);
    let Some(payload) = view.get(HEADER_BYTES + 1..seen) else { return Sniff::Undecided };
    let Some(text) = attributes::text(payload) else { return Sniff::No };
    let is_control = |byte: &u8| *byte < b' ' && !byte.is_ascii_whitespace();
    sniffed(!text.iter().any(is_control) && starts_with_sql(text, packet > seen))
}

/// `is_cut`: more of the text follows.
fn starts_with_sql(text: &[u8], is_cut: bool) -> bool {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"(").unwrap_or(text).trim_ascii_start();
    match text {
        // A comment that ends in view has SQL behind it.
        [b'/', b'*', comment @ ..] => match comment.windows(2).position(|end| end == b"*/") {
            Some(end) if !comment.starts_with(b"!") => {
                starts_with_sql(comment.get(end + 2..).unwrap_or_default(), is_cut)
            }
            Some(_) => true,
            None => is_cut,
        },
        [b'-', b'-', b' ', comment @ ..] | [b'#', comment @ ..] => match comment.iter().position(|&byte| byte == b'\n')
        {
            Some(end) => starts_with_sql(comment.get(end..).unwrap_or_default(), is_cut),
            None => is_cut,
        },
        _ => {
            let end = text.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(text.len());
            let (word, rest) = text.split_at(end);
            let ends = rest.first().is_none_or(|byte| byte.is_ascii_whitespace() || b"(;*/@`'\"-".contains(byte));
            ends && WORDS.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
        }
    }
}

/// What statements start with.
const WORDS: [&str; 54] = [
    "ALTER",
    "ANALYZE",
    "BEGIN",
    "BINLOG",
    "CALL",
    "CHANGE",
    "CHECK",
    "CHECKSUM",
    "COMMIT",
    "CREATE",
    "DEALLOCATE",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DO",
    "DROP",
    "EXECUTE",
    "EXPLAIN",
    "FLUSH",
    "GET",
    "GRANT",
    "HANDLER",
    "HELP",
    "IMPORT",
    "INSERT",
    "INSTALL",
    "KILL",
    "LOAD",
    "LOCK",
    "OPTIMIZE",
    "PREPARE",
    "PURGE",
    "RELEASE",
    "RENAME",
    "REPAIR",
    "REPLACE",
    "RESET",
    "RESIGNAL",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SELECT",
    "SET",
    "SHOW",
    "SHUTDOWN",
    "SIGNAL",
    "START",
    "STOP",
    "TABLE",
    "TRUNCATE",
    "UNLOCK",
    "UPDATE",
    "USE",
    "WITH",
];

/// A statement's number, flags, and that it is to be executed once.
fn execution(header: Header, payload: &[u8]) -> Sniff {
    const NUMBER_MAX: u32 = 0xff_ffff;
    const FLAGS_MAX: u8 = 15;
    const BYTES_MIN: u64 = 10;
    let mut reader = Reader(payload.get(1..).unwrap_or_default());
    if header.bytes < BYTES_MIN {
        return Sniff::No;
    }
    let (Some(number), Some(flags), Some(times)) = (reader.u32(), reader.u8(), reader.u32()) else {
        return Sniff::Undecided;
    };
    let fits = matches!(number, 1..=NUMBER_MAX | LAST_PREPARED);
    sniffed(fits && flags <= FLAGS_MAX && times == 1)
}

// === servers ===

fn response(header: Header, view: &[u8]) -> Sniff {
    let payload = view.get(HEADER_BYTES..).unwrap_or_default();
    let Some(&first) = payload.first() else {
        return if header.bytes > 0 && header.sequence < 2 { Sniff::Undecided } else { Sniff::No };
    };
    match (header.sequence, first) {
        (0, GREETING_VERSION) => greeting(header, payload),
        (1, mark::ERROR) if (9..=1_024).contains(&header.bytes) => match payload.get(..9) {
            Some(_) => sniffed(is_error(payload)),
            None => Sniff::Undecided,
        },
        (1, 1..=0xfa) if header.bytes == 1 => definition(payload.get(1..).unwrap_or_default()),
        _ => Sniff::No,
    }
}

/// A version that starts with a digit, and behind it and the first half of a scramble a NUL.
fn greeting(header: Header, payload: &[u8]) -> Sniff {
    const LENGTHS: core::ops::RangeInclusive<u64> = 40..=300;
    const VERSION_BYTES_MAX: usize = 46;
    let version = payload.get(1..).unwrap_or_default();
    let end = version.iter().position(|&byte| byte == 0);
    let seen = version.get(..end.unwrap_or(version.len())).unwrap_or_default();
    let is_version = seen.iter().all(u8::is_ascii_graphic) && seen.first().is_none_or(u8::is_ascii_digit);
    let may_be = is_version && LENGTHS.contains(&header.bytes) && seen.len() <= VERSION_BYTES_MAX;
    let filler = end.and_then(|end| version.get(end + 1 + 4 + 8));
    match filler {
        _ if !may_be => Sniff::No,
        None => Sniff::Undecided,
        Some(filler) => sniffed(*filler == 0 && seen.contains(&b'.')),
    }
}

/// The first column, behind how many there are.
fn definition(view: &[u8]) -> Sniff {
    const START: &[u8] = b"\x00\x02\x03def";
    let Some(start) = view.get(2..) else { return Sniff::Undecided };
    if !start.iter().zip(START).all(|(byte, wanted)| byte == wanted) {
        return Sniff::No;
    }
    if start.len() < START.len() { Sniff::Undecided } else { Sniff::Yes }
}

fn is_done(header: Header, payload: &[u8]) -> bool {
    let is_short = matches!(header.bytes, EOF_BYTES | OK_BYTES_MIN);
    is_short && Done::read(payload, header.bytes).is_some_and(|done| done.status & status::UNUSED == 0)
}

/// The number of a statement, how many columns and parameters it has, a filler and the number of warnings; then the first
/// definition, if there is any.
fn is_prepared(payload: &[u8]) -> bool {
    let mut reader = Reader(payload);
    let (Some(mark::OK), Some(number), Some(columns), Some(parameters), Some(0), Some(_)) =
        (reader.u8(), reader.u32(), reader.u16(), reader.u16(), reader.u8(), reader.u16())
    else {
        return false;
    };
    let is_defined = definition(reader.0) == Sniff::Yes;
    number > 0 && if columns > 0 || parameters > 0 { is_defined } else { reader.0.is_empty() }
}

fn sniffed(fits: bool) -> Sniff {
    if fits { Sniff::Yes } else { Sniff::No }
}
