//! The end of an answer of which a part was not captured. Where its packets start is not known any more, but what ends it stands
//! at the end of a call: a packet of a length that fits, with what only such a packet has.

use super::wire::{Done, EOF_BYTES, HEADER_BYTES, Header, PROGRESS, error_number, mark, status};
use alloc::vec::Vec;

/// Bytes that are looked at: an error's text has 512 at most.
const TAIL_BYTES_MAX: usize = HEADER_BYTES + 9 + 512;

/// Bytes of the end of an error that are enough to tell; so many of each call's end are copied.
const ERROR_TEXT_BYTES: usize = 32;

#[derive(Debug)]
pub(super) struct Lost {
    /// The last bytes since the gap.
    tail: Vec<u8>,
    /// With those, a call ended.
    ends_call: bool,
    /// The packet that ends the definitions of columns has this number, if they are not over.
    columns_end: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Rows follow, the first with this number.
    ColumnsEnd {
        next: u8,
    },
    /// The result is over; another may follow, from this number on.
    Done {
        status: u16,
        next: u8,
    },
    Error(u16),
}

impl Lost {
    pub(super) fn new(columns_end: Option<u8>) -> Self {
        Self { tail: Vec::new(), ends_call: false, columns_end }
    }

    /// More was lost.
    pub(super) fn gap(&mut self) {
        self.tail.clear();
        self.ends_call = false;
    }

    /// The answer is over, and no end was found: those of results are short, so the last bytes are of an error, if they are all of
    /// one text.
    pub(super) fn has_failed(&self) -> bool {
        let text = self.tail.len().checked_sub(ERROR_TEXT_BYTES).and_then(|from| self.tail.get(from..));
        self.ends_call && text.is_some_and(|text| text.iter().all(|byte| matches!(byte, b' '..=b'~' | 0x80..)))
    }

    /// Takes what follows; at the end of a call, says what it ends with.
    pub(super) fn search(&mut self, bytes: &[u8], call_end: bool) -> Option<Found> {
        let kept = bytes.len().min(TAIL_BYTES_MAX);
        let old = self.tail.len().saturating_sub(TAIL_BYTES_MAX - kept);
        self.tail.drain(..old);
        self.tail.extend_from_slice(bytes.get(bytes.len() - kept..).unwrap_or_default());
        if !bytes.is_empty() {
            self.ends_call = call_end;
        }
        if !call_end {
            return None;
        }
        let found = (0..self.tail.len()).find_map(|at| ends(self.tail.get(at..)?))?;
        let Found::Done { next, .. } = found else { return Some(found) };
        let is_columns_end = self.columns_end == Some(next.wrapping_sub(1)) && self.ends_with_eof();
        Some(if is_columns_end { Found::ColumnsEnd { next } } else { found })
    }

    fn ends_with_eof(&self) -> bool {
        let start = self.tail.len().checked_sub(HEADER_BYTES + EOF_BYTES as usize);
        let header = start.and_then(|start| Header::read(self.tail.get(start..)?));
        header.is_some_and(|header| header.bytes == EOF_BYTES)
    }
}

/// What ends a result, and nothing or the packets of further ones that have no rows behind it.
fn ends(bytes: &[u8]) -> Option<Found> {
    let (header, payload, mut rest) = packet(bytes)?;
    let (mut header, mut found) = (header, end(header, payload)?);
    while !rest.is_empty() {
        let Found::Done { status, next } = found else { return None };
        let (following, payload, behind) = packet(rest)?;
        let goes_on = status & status::MORE_RESULTS != 0 && following.sequence == next;
        if !goes_on || following.sequence == header.sequence {
            return None;
        }
        (header, rest) = (following, behind);
        found = result(header, payload)?;
    }
    Some(found)
}

fn packet(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let header = Header::read(bytes)?;
    let (payload, rest) = bytes.get(HEADER_BYTES..)?.split_at_checked(usize::try_from(header.bytes).ok()?)?;
    Some((header, payload, rest))
}

/// Behind rows.
fn end(header: Header, payload: &[u8]) -> Option<Found> {
    match payload.first()? {
        &mark::EOF | &mark::ERROR => result(header, payload),
        _ => None,
    }
}

/// A packet that is all there is of a result.
fn result(header: Header, payload: &[u8]) -> Option<Found> {
    if let Some(number) = error_number(payload) {
        return (number != PROGRESS && is_error(payload)).then_some(Found::Error(number));
    }
    let Done { status, .. } = Done::read(payload, header.bytes)?;
    let has_message = header.bytes > EOF_BYTES + 2 && status & status::SESSION_STATE_CHANGED == 0;
    let is_plausible = status & status::UNUSED == 0 && !(has_message && payload.first() == Some(&mark::EOF));
    is_plausible.then_some(Found::Done { status, next: header.sequence.wrapping_add(1) })
}

/// The number and the state of an error, before its text.
pub(super) fn is_error(payload: &[u8]) -> bool {
    let Some([_, _, _, b'#', state @ ..]) = payload.get(..9) else { return false };
    state.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EOF: &[u8] = b"\x05\x00\x00\x09\xfe\x00\x00\x02\x00";
    const MORE: &[u8] = b"\x05\x00\x00\x09\xfe\x00\x00\x0a\x00";
    const OK: &[u8] = b"\x07\x00\x00\x0a\x00\x00\x00\x02\x00\x00\x00";

    fn found(parts: &[&[u8]]) -> Option<Found> {
        Lost::new(None).search(&parts.concat(), true)
    }

    #[test]
    fn the_last_packet_of_a_call_ends_the_rows() {
        assert_eq!(found(&[b"some row", EOF]), Some(Found::Done { status: 2, next: 10 }));
        assert_eq!(found(&[b"some row", MORE, OK]), Some(Found::Done { status: 2, next: 11 }));
        let error = b"\x0e\x00\x00\x07\xff\x25\x05#70100Query";
        assert_eq!(found(&[b"some row", error]), Some(Found::Error(1_317)));
        let ok = b"\x07\x00\x00\x0a\xfe\x00\x00\x02\x00\x00\x00";
        assert_eq!(found(&[b"some row", ok]), Some(Found::Done { status: 2, next: 11 }));
    }

    #[test]
    fn what_only_looks_like_it_does_not() {
        assert_eq!(found(&[b"some row", OK]), None);
        assert_eq!(found(&[EOF, b"x"]), None);
        assert_eq!(found(&[EOF, OK]), None);
        assert_eq!(found(&[b"\x05\x00\x00\x09\xfe\x00\x00\x06\x00"]), None);
        assert_eq!(Lost::new(None).search(EOF, false), None);
    }

    #[test]
    fn it_may_come_in_pieces_but_not_around_a_gap() {
        let mut lost = Lost::new(None);
        assert_eq!(lost.search(&EOF[..3], true), None);
        assert!(lost.search(&EOF[3..], true).is_some());
        lost.gap();
        assert_eq!(lost.search(&EOF[3..], true), None);
    }

    #[test]
    fn what_ends_with_a_text_has_failed() {
        let failed = |tail: &[u8]| {
            let mut lost = Lost::new(None);
            assert_eq!(lost.search(tail, true), None);
            lost.has_failed()
        };
        assert!(failed(b"ution was interrupted (max_statement_time exceeded)"));
        assert!(!failed(b"a short one"));
        assert!(!failed(b"\x20the last column of a row of \x03its"));
        assert!(!failed(b"\x07\x00\x00\x0a\xfe\x00\x00\x02\x40\x00\x00\x00\x09\x00\x07\x0aautocommit\x02ON"));
    }

    #[test]
    fn rows_follow_the_end_of_columns() {
        let found = Lost::new(Some(9)).search(EOF, true);
        assert_eq!(found, Some(Found::ColumnsEnd { next: 10 }));
    }
}
