//! One direction of a connection: records in, an unbroken run of `Bytes | Gap` out to the parser, with the record that
//! any position came from.

use crate::event::Data;
use crate::limits::{EARLY_BYTES_MAX, HEAD_BYTES_MAX};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use autospan_abi::Trail;
use autospan_abi::limits::PAYLOAD_MAX;

/// Records remembered behind bytes that a parser has not taken yet.
const MARKS_MAX: usize = 16;
/// Bytes that may wait for the parser: a head that is not complete, or an early response.
const STREAM_PENDING_BYTES_MAX: usize = max(HEAD_BYTES_MAX, EARLY_BYTES_MAX) + 16_384;

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// Where and when a run of bytes was moved, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Position of the first byte.
    pub(crate) position: u64,
    pub(crate) entered: u64,
    pub(crate) at: u64,
    pub(crate) token: u64,
    pub(crate) cause: u64,
    pub(crate) trail: Trail,
    pub(crate) sequence: Option<u32>,
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
}

impl Mark {
    pub(crate) fn new(at: u64, tgid: u32, tid: u32, data: &Data<'_>) -> Self {
        let Data { position, entered, token, cause, trail, sequence, .. } = *data;
        Self { position, entered, at, token, cause, trail, sequence, tgid, tid }
    }

    /// TCP sequence number of the byte at `position`.
    pub(crate) fn sequence_of(&self, position: u64) -> Option<u32> {
        self.sequence.map(|s| s.wrapping_add(position.wrapping_sub(self.position) as u32))
    }
}

/// A part of a record, in stream order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Bytes missing because a record was lost.
    Lost(u64),
    /// Bytes that the kernel side counted but did not copy.
    Uncopied(u64),
    Bytes {
        bytes: &'a [u8],
        call_end: bool,
    },
}

/// What the stream does with the next bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sync {
    /// The parser knows where it is.
    #[default]
    Synced,
    /// Looking for the next message boundary.
    Searching,
}

#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Position one past the last byte of the last record. Streams start at 0: what is missing there was lost.
    next: u64,
    /// Position of the next byte the parser will see: that of the first pending byte.
    pub(crate) cursor: u64,
    /// Bytes offered to the parser and not taken yet.
    pub(crate) pending: Vec<u8>,
    /// Body bytes still to come that the parser does not want to see.
    pub(crate) skip: u64,
    pub(crate) sync: Sync,
    /// A response whose request has not been seen waits in `pending`.
    pub(crate) awaiting: bool,
    /// Records that `pending` and the bytes behind it came from, oldest first.
    marks: VecDeque<Mark>,
}

impl Stream {
    /// Nothing has passed yet.
    pub(crate) fn is_unused(&self) -> bool {
        self.next == 0
    }

    /// What waits for more is no start of what comes at `position`, unless it goes up to there.
    pub(crate) fn drop_pending_before(&mut self, position: u64) {
        if position != self.next {
            self.pending.clear();
            self.cursor = self.next;
        }
    }

    /// Takes note of a record and splits it into the pieces that are new.
    pub(crate) fn accept<'a>(&mut self, mark: Mark, data: &Data<'a>) -> [Option<Piece<'a>>; 4] {
        let end = data.position + u64::from(data.total);
        let next = self.next;
        let lost = data.position.saturating_sub(next);
        let seen = next.saturating_sub(data.position);
        self.next = next.max(end);
        self.remember(mark);
        let uncopied = u64::from(data.total) - (data.head.len() + data.tail.len()) as u64;
        let (head, seen) = skip_bytes(data.head, seen);
        let (uncopied, seen) = (uncopied.saturating_sub(seen), seen.saturating_sub(uncopied));
        let (tail, _) = skip_bytes(data.tail, seen);
        // A record that is full may have more of the same call behind it.
        let head_ends = uncopied == 0 && tail.is_empty() && head.len() < PAYLOAD_MAX as usize;
        [
            (lost > 0).then_some(Piece::Lost(lost)),
            (!head.is_empty()).then_some(Piece::Bytes { bytes: head, call_end: head_ends }),
            (uncopied > 0).then_some(Piece::Uncopied(uncopied)),
            (!tail.is_empty()).then_some(Piece::Bytes { bytes: tail, call_end: true }),
        ]
    }

    fn remember(&mut self, mark: Mark) {
        while self.marks.front().is_some_and(|_| self.marks.get(1).is_some_and(|m| m.position <= self.cursor)) {
            self.marks.pop_front();
        }
        // Past the limit the newest mark stands for what follows: only times inside one huge head get coarser.
        if self.marks.len() < MARKS_MAX {
            self.marks.push_back(mark);
        }
    }

    /// The record that holds the byte at `position`.
    pub(crate) fn mark_at(&self, position: u64) -> Option<&Mark> {
        self.marks.iter().rev().find(|m| m.position <= position).or(self.marks.front())
    }

    /// The records that hold any byte of `from..to`.
    pub(crate) fn marks_within(&self, from: u64, to: u64) -> impl Iterator<Item = &Mark> {
        let first = self.marks.iter().rposition(|m| m.position <= from).unwrap_or(0);
        self.marks.iter().skip(first).take_while(move |m| m.position < to)
    }

    /// The record that the first pending byte came from.
    pub(crate) fn pending_mark(&self) -> Option<&Mark> {
        self.mark_at(self.cursor)
    }

    /// A response that was read by then waits for its request.
    pub(crate) fn awaits_since(&self, by: u64) -> bool {
        self.awaiting && self.pending_mark().is_some_and(|mark| mark.at <= by)
    }

    /// The stream ends at this position: the bytes up to there that no record brought were lost.
    pub(crate) fn end_at(&mut self, position: u64) -> u64 {
        let lost = position.saturating_sub(self.next);
        self.next += lost;
        lost
    }

    /// Moves past `n` bytes that were taken or will never be looked at.
    pub(crate) fn advance(&mut self, n: u64) {
        self.cursor = self.cursor.saturating_add(n);
    }

    /// Keeps bytes for later; `false` when that would be too many.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> bool {
        if self.pending.len() + bytes.len() > STREAM_PENDING_BYTES_MAX {
            return false;
        }
        self.pending.extend_from_slice(bytes);
        true
    }

    /// Forgets what was kept, and moves past it.
    pub(crate) fn drop_pending(&mut self) {
        self.advance(self.pending.len() as u64);
        self.pending.clear();
    }

    /// Forgets what was kept and any body being skipped, and moves past it.
    pub(crate) fn abandon(&mut self) {
        self.drop_pending();
        self.skip = 0;
        self.awaiting = false;
        self.sync = Sync::Searching;
    }

    /// Takes from `available` bytes what belongs to the body being skipped.
    pub(crate) fn take_skip(&mut self, available: u64) -> u64 {
        let n = self.skip.min(available);
        self.skip -= n;
        self.advance(n);
        n
    }
}

fn skip_bytes(bytes: &[u8], n: u64) -> (&[u8], u64) {
    let k = n.min(bytes.len() as u64);
    (&bytes[k as usize..], n - k)
}

#[cfg(test)]
mod tests {
    use super::*;
    use autospan_abi::Direction;

    fn data(position: u64, total: u32, head: &'static [u8], tail: &'static [u8]) -> Data<'static> {
        let direction = Direction::Inbound;
        Data {
            connection: 1,
            direction,
            turn: 0,
            position,
            entered: 1,
            token: 0,
            cause: 0,
            trail: Trail::Thread,
            sequence: Some(7),
            total,
            head,
            tail,
        }
    }

    fn pieces(stream: &mut Stream, d: &Data<'static>) -> Vec<Piece<'static>> {
        stream.accept(Mark::new(2, 1, 1, d), d).into_iter().flatten().collect()
    }

    #[test]
    fn a_whole_record_is_one_piece() {
        let got = pieces(&mut Stream::default(), &data(0, 3, b"abc", b""));
        assert_eq!(got, [Piece::Bytes { bytes: b"abc", call_end: true }]);
    }

    #[test]
    fn the_middle_of_a_long_record_is_uncopied() {
        let got = pieces(&mut Stream::default(), &data(0, 10, b"ab", b"yz"));
        let head = Piece::Bytes { bytes: b"ab", call_end: false };
        assert_eq!(got, [head, Piece::Uncopied(6), Piece::Bytes { bytes: b"yz", call_end: true }]);
    }

    #[test]
    fn a_full_record_may_have_more_of_its_call_behind_it() {
        static FULL: [u8; PAYLOAD_MAX as usize] = [b'x'; PAYLOAD_MAX as usize];
        let got = pieces(&mut Stream::default(), &data(0, PAYLOAD_MAX, &FULL, b""));
        assert_eq!(got, [Piece::Bytes { bytes: &FULL, call_end: false }]);
    }

    #[test]
    fn a_missing_record_is_lost_bytes() {
        let mut stream = Stream::default();
        pieces(&mut stream, &data(0, 3, b"abc", b""));
        let got = pieces(&mut stream, &data(5, 1, b"f", b""));
        assert_eq!(got, [Piece::Lost(2), Piece::Bytes { bytes: b"f", call_end: true }]);
    }

    #[test]
    fn bytes_seen_before_are_not_seen_again() {
        let mut stream = Stream::default();
        pieces(&mut stream, &data(0, 4, b"abcd", b""));
        assert_eq!(pieces(&mut stream, &data(0, 4, b"abcd", b"")), []);
        assert_eq!(pieces(&mut stream, &data(2, 4, b"cdef", b"")), [Piece::Bytes { bytes: b"ef", call_end: true }]);
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mark = Mark::new(1, 1, 1, &Data { sequence: Some(u32::MAX), ..data(10, 4, b"abcd", b"") });
        assert_eq!(mark.sequence_of(12), Some(1));
    }
}
