//! An answer of which a part was not captured: which of its elements is the last cannot be told, so it is over where the next
//! request begins.

use super::asked::Queue;
use super::value::{Progress, Value};

/// What was seen behind the gap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lost {
    /// The last two bytes.
    last: [u8; 2],
    /// With those, a call ended.
    ends_call: bool,
    /// It was not over when a request came: where it ends will not be known.
    pub(super) is_void: bool,
}

impl Lost {
    pub(super) fn pass(&mut self, bytes: &[u8], call_end: bool) {
        self.last = match *bytes {
            [] => return,
            [last] => [self.last[1], last],
            [.., before, last] => [before, last],
        };
        self.ends_call = call_end;
    }

    pub(super) fn gap(&mut self) {
        *self = Self { is_void: self.is_void, ..Self::default() };
    }

    /// It may have ended here.
    pub(super) fn is_whole(&self) -> bool {
        self.ends_call && self.last == *b"\r\n"
    }

    /// It goes on behind what was seen, or was cut short there.
    pub(super) fn goes_on(&self) -> bool {
        self.ends_call && self.last != *b"\r\n"
    }

    /// These bytes are told unasked, and not in the midst of it.
    pub(super) fn ends_before(&self, bytes: &[u8]) -> bool {
        self.is_whole() && matches!(bytes, [b'>', b'0'..=b'9', ..])
    }
}

/// Whether what comes behind such an answer is what was asked next, or more of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Partial,
    Yes,
    No,
}

/// Bytes of a call that are looked at.
const CALL_BYTES_MAX: usize = 1_024;

/// Of the bytes of a call: no more answers than were asked for. Elements of a list look like answers, but seldom come alone.
pub(super) fn fits(bytes: &[u8], call_end: bool, asked: &Queue) -> Fit {
    let (mut rest, mut answers) = match bytes.get(..CALL_BYTES_MAX) {
        Some(seen) => (seen, 0),
        None if call_end => (bytes, 0),
        None => return Fit::Partial,
    };
    while !rest.is_empty() {
        let mut value = Value::of(1);
        let (taken, progress) = value.read(rest);
        let is_push = rest.first() == Some(&b'>');
        if progress == Progress::Malformed {
            return Fit::No;
        }
        answers += usize::from(!is_push);
        rest = if progress == Progress::Done { rest.get(taken..).unwrap_or_default() } else { &[] };
    }
    if asked.may_have(answers) { Fit::Yes } else { Fit::No }
}
