//! Bodies: counted and skipped, never kept.

use super::chunked::{Chunked, Found as FoundChunk};
use super::framing::Body;
use super::lost::{Found as FoundLost, Lost};
use super::{Side, at};
use crate::protocol::{Advance, Input, MessageEnd, Step};

/// Reader of one body, from behind the head to the end of the message.
#[derive(Debug)]
pub(super) enum Reader {
    /// `length` bytes to skip; `u64::MAX`: until the close.
    Whole { length: u64 },
    /// They are being skipped, or have passed.
    WholePassed { length: u64 },
    /// `chunk`: the data of the last chunk, which is being skipped or has passed; part of `body_bytes`.
    Chunked { framing: Chunked, body_bytes: u64, chunk: u64 },
    /// Chunked, and some of the framing is missing.
    Lost { lost: Lost, body_bytes: u64 },
}

impl Reader {
    pub(super) fn new(body: Body) -> Self {
        match body {
            Body::Length(length) => Self::Whole { length },
            Body::UntilClose => Self::Whole { length: u64::MAX },
            Body::Chunked => Self::Chunked { framing: Chunked::default(), body_bytes: 0, chunk: 0 },
        }
    }

    pub(super) fn read(&mut self, side: Side, input: Input<'_>) -> Advance {
        match *self {
            Self::Whole { length: 0 } => end(0, 0, false),
            Self::Whole { length } => {
                *self = Self::WholePassed { length };
                at(0, Step::Skip(length))
            }
            Self::WholePassed { length } => whole_passed(length, input),
            Self::Chunked { .. } => self.read_chunked(input),
            Self::Lost { .. } => self.read_lost(side, input),
        }
    }

    fn read_chunked(&mut self, input: Input<'_>) -> Advance {
        let Self::Chunked { framing, body_bytes, chunk } = self else { return at(0, Step::NeedMore) };
        match input {
            Input::Bytes { bytes: [], .. } => at(0, Step::NeedMore),
            Input::Bytes { bytes, .. } => {
                let (consumed, found) = framing.read(bytes);
                let step = match found {
                    FoundChunk::Nothing => Step::Continue,
                    FoundChunk::Last => return end(consumed, *body_bytes, false),
                    FoundChunk::Faulty => Step::Desync,
                    FoundChunk::Chunk(size) => {
                        (*body_bytes, *chunk) = (body_bytes.saturating_add(size), size);
                        Step::Skip(size)
                    }
                };
                at(consumed as u64, step)
            }
            Input::Gap(n) => {
                *self = Self::Lost { lost: Lost::default(), body_bytes: body_bytes.saturating_add(n) };
                at(n, Step::Continue)
            }
            Input::Closed { unskipped } => end(0, body_bytes.saturating_sub(unskipped.min(*chunk)), true),
        }
    }

    fn read_lost(&mut self, side: Side, input: Input<'_>) -> Advance {
        let Self::Lost { lost, body_bytes } = self else { return at(0, Step::NeedMore) };
        match input {
            Input::Bytes { bytes: [], .. } => at(0, Step::NeedMore),
            Input::Bytes { bytes, call_end } => {
                let found = lost.read(side, bytes, call_end);
                let with_these = body_bytes.saturating_add(bytes.len() as u64);
                match found {
                    FoundLost::NextMessage => return end(0, *body_bytes, false),
                    FoundLost::Undecided => return at(0, Step::NeedMore),
                    FoundLost::Last => return end(bytes.len(), with_these, false),
                    FoundLost::Body => *body_bytes = with_these,
                }
                at(bytes.len() as u64, Step::Continue)
            }
            Input::Gap(n) => {
                lost.gap();
                *body_bytes = body_bytes.saturating_add(n);
                at(n, Step::Continue)
            }
            Input::Closed { .. } => end(0, *body_bytes, !lost.is_last_chunk()),
        }
    }
}

/// A body that the close ends cannot be cut short by it.
fn whole_passed(length: u64, input: Input<'_>) -> Advance {
    match input {
        Input::Closed { unskipped } => end(0, length.saturating_sub(unskipped), unskipped > 0 && length != u64::MAX),
        _ if length == u64::MAX => at(0, Step::Skip(length)),
        _ => end(0, length, false),
    }
}

fn end(consumed: usize, body_bytes: u64, truncated: bool) -> Advance {
    at(consumed as u64, Step::End(MessageEnd { body_bytes: Some(body_bytes), truncated }))
}
