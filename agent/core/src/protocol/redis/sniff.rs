//! What is a command or an answer for sure, and what may be one.

use super::asked::About;
use super::commands::{Command, Kind, NAME_BYTES_MAX, is_of_module};
use super::value::{Progress, Value};
use super::wire::{Length, bulk};
use crate::protocol::{Side, Sniff};

/// Bytes that are looked at.
const SNIFF_BYTES: usize = 64;
/// Digits of a count of arguments that is believed.
const COUNT_MAX: i64 = 1 << 20;

/// Commands that are taken for such without the framing of RESP, with how many words at least. Other line protocols have words of
/// their own, and some have those of Redis: `GET` (HTTP/0.9, memcached), `PING` and `INFO` (NATS), `QUIT`, `AUTH`, `TYPE`, `WATCH`.
const INLINE: [(&[u8], core::ops::RangeInclusive<usize>); 24] = [
    (b"DBSIZE", 1..=1),
    (b"EXPIRE", 3..=3),
    (b"FLUSHALL", 1..=1),
    (b"FLUSHDB", 1..=1),
    (b"HGET", 3..=3),
    (b"HGETALL", 2..=2),
    (b"HMGET", 3..=64),
    (b"HSET", 4..=64),
    (b"INCRBY", 3..=3),
    (b"LLEN", 2..=2),
    (b"LPUSH", 3..=64),
    (b"LRANGE", 4..=4),
    (b"MGET", 2..=64),
    (b"MSET", 3..=64),
    (b"RPUSH", 3..=64),
    (b"SADD", 3..=64),
    (b"SET", 3..=3),
    (b"SETEX", 4..=4),
    (b"SMEMBERS", 2..=2),
    (b"TTL", 2..=2),
    (b"XADD", 5..=64),
    (b"XLEN", 2..=2),
    (b"ZADD", 4..=64),
    (b"ZRANGE", 4..=64),
];

/// See [`crate::protocol::Definition::sniff`].
pub(super) fn sniff(side: Side, bytes: &[u8]) -> Sniff {
    let bytes = bytes.get(..SNIFF_BYTES).unwrap_or(bytes);
    match (side, bytes) {
        (_, []) => Sniff::Undecided,
        (Side::Request, [b'*', ..]) => array(bytes),
        (Side::Request, [first, ..]) if first.is_ascii_alphabetic() => match inline(bytes) {
            Sniff::No => pings(bytes),
            verdict => verdict,
        },
        (Side::Request, _) => Sniff::No,
        // A subscription's message. What else a server says, others do as well, or it stands in the midst of an answer.
        (Side::Response, [b'*', rest @ ..]) => match About::read(rest) {
            About::Partial => Sniff::Undecided,
            About::Message => Sniff::Yes,
            About::Confirmation(_) | About::Other => Sniff::No,
        },
        (Side::Response, _) => starts_like(bytes, b"+PONG\r\n"),
    }
}

/// The same from NATS, but for the answer.
fn pings(bytes: &[u8]) -> Sniff {
    let mut pings = bytes.chunks(6).map(|ping| starts_like(&ping.to_ascii_uppercase(), b"PING\r\n"));
    if bytes.len() < SNIFF_BYTES && pings.all(|verdict| verdict != Sniff::No) { Sniff::Undecided } else { Sniff::No }
}

fn starts_like(bytes: &[u8], literal: &[u8]) -> Sniff {
    let n = bytes.len().min(literal.len());
    match bytes.get(..n) == literal.get(..n) {
        true if n == literal.len() => Sniff::Yes,
        true => Sniff::Undecided,
        false => Sniff::No,
    }
}

/// `*2\r\n$3\r\nGET\r\n`: a name that Redis knows, with as many arguments as it takes.
fn array(bytes: &[u8]) -> Sniff {
    let undecided = if bytes.len() < SNIFF_BYTES { Sniff::Undecided } else { Sniff::No };
    let (count, at) = match Length::read(bytes.get(1..).unwrap_or_default()) {
        Length::Of { n: n @ 1..=COUNT_MAX, bytes } => (n.unsigned_abs(), 1 + bytes),
        Length::Partial => return undecided,
        _ => return Sniff::No,
    };
    let (len, at) = match bytes.get(at..) {
        Some([]) | None => return undecided,
        Some([b'$', length @ ..]) => match Length::read(length) {
            Length::Of { n, bytes } if (1..=NAME_BYTES_MAX as i64).contains(&n) => (n.unsigned_abs(), at + 1 + bytes),
            Length::Partial => return undecided,
            _ => return Sniff::No,
        },
        _ => return Sniff::No,
    };
    let Some(name) = bulk(bytes, at, len) else { return undecided };
    let ends = bytes.get(at + name.len()..).is_some_and(|rest| rest.starts_with(b"\r\n"));
    let known = Command::find(name, None).map_or_else(
        || is_of_module(name) && count > 1,
        // A replica's stream is not followed.
        |command| command.takes(count) && !matches!(command.kind, Kind::Acknowledge | Kind::Replicate),
    );
    if ends && known { Sniff::Yes } else { Sniff::No }
}

fn inline(bytes: &[u8]) -> Sniff {
    let printable = bytes.iter().position(|byte| !matches!(byte, b' '..=b'~')).unwrap_or(bytes.len());
    let line = bytes.get(..printable).unwrap_or_default();
    let ended = match bytes.get(printable..) {
        Some([b'\r', b'\n', ..]) => true,
        Some([] | [b'\r']) if bytes.len() < SNIFF_BYTES => false,
        _ => return Sniff::No,
    };
    let mut words = line.split(|byte| *byte == b' ');
    let name = words.next().unwrap_or_default();
    let names_end = ended || name.len() < line.len();
    let fits = |known: &[u8]| {
        if names_end {
            known.eq_ignore_ascii_case(name)
        } else {
            known.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        }
    };
    let count = 1 + words.filter(|word| !word.is_empty()).count();
    let mut known = INLINE.iter().filter(|(known, _)| fits(known)).map(|(_, counts)| counts.contains(&count));
    match known.next() {
        None => Sniff::No,
        Some(_) if !ended => Sniff::Undecided,
        Some(true) => Sniff::Yes,
        Some(false) => Sniff::No,
    }
}

/// See [`crate::protocol::Parser::resync`].
pub(super) fn resync(side: Side, bytes: &[u8]) -> Option<usize> {
    match side {
        Side::Request => {
            let line_starts = bytes.windows(2).enumerate().filter(|(_, pair)| *pair == b"\r\n").map(|(at, _)| at + 2);
            let command = |at: &usize| {
                bytes.get(*at..).is_some_and(|rest| array(rest.get(..SNIFF_BYTES).unwrap_or(rest)) == Sniff::Yes)
            };
            if sniff(side, bytes) == Sniff::Yes {
                Some(0)
            } else {
                line_starts.filter(|at| bytes.get(*at) == Some(&b'*')).find(command)
            }
        }
        // Elements of an answer look like answers: only the start of a call may be one.
        Side::Response => may_be_answer(bytes).then_some(0),
    }
}

/// The bytes start with a value, as far as they go.
fn may_be_answer(bytes: &[u8]) -> bool {
    let mut value = Value::of(1);
    let (taken, progress) = value.read(bytes);
    match progress {
        Progress::Malformed => false,
        Progress::Done => bytes.get(..taken).is_some_and(|value| value.ends_with(b"\r\n")),
        Progress::More | Progress::Skip(_) => taken > 0 && !matches!(bytes, [b'+' | b'-', ..]),
    }
}
