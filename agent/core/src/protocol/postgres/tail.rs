//! How calls end: where the middle of an answer was not captured, its end is recognised instead of computed.

use super::message::TAG_BYTES_MAX;

/// Enough for a `CommandComplete` with what may follow it.
const WINDOW_BYTES: usize = 128;
const SYNC: [u8; 5] = *b"S\0\0\0\x04";
const COPY_DONE: [u8; 5] = *b"c\0\0\0\x04";
const READY_BYTES: usize = 6;

/// The last bytes that passed, in order, since the last that were not captured.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    bytes: [u8; WINDOW_BYTES],
    len: usize,
}

impl Default for Tail {
    fn default() -> Self {
        Self { bytes: [0; WINDOW_BYTES], len: 0 }
    }
}

/// What stands in front of a `ReadyForQuery`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending<'a> {
    /// `CommandComplete`, with its tag.
    Complete(&'a [u8]),
    /// `PortalSuspended` and the like.
    Other,
    /// `ErrorResponse`, whose code may be out of sight.
    Failed,
}

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(WINDOW_BYTES)..];
        let kept = self.len.min(WINDOW_BYTES - bytes.len());
        self.bytes.copy_within(self.len - kept..self.len, 0);
        self.bytes[kept..kept + bytes.len()].copy_from_slice(bytes);
        self.len = kept + bytes.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The end of an answer, if the bytes end so.
    pub(super) fn answer(&self) -> Option<Ending<'_>> {
        ending(self.bytes())
    }

    /// The end of the data that a client copies: `CopyDone`, and (true) a `Sync` behind it.
    pub(super) fn copy_done(&self) -> Option<bool> {
        let bytes = self.bytes();
        match bytes.strip_suffix(&SYNC) {
            Some(rest) => rest.ends_with(&COPY_DONE).then_some(true),
            None => bytes.ends_with(&COPY_DONE).then_some(false),
        }
    }
}

/// Of bytes that end with an answer.
pub(super) fn ending(bytes: &[u8]) -> Option<Ending<'_>> {
    let mut rest = strip_ready(bytes)?;
    let mut stripped = false;
    while let Some(shorter) = strip_empty(rest).or_else(|| strip_parameter(rest)) {
        (rest, stripped) = (shorter, true);
    }
    match command_complete(rest) {
        Some(tag) => Some(Ending::Complete(tag)),
        None if is_error(rest) => Some(Ending::Failed),
        None => stripped.then_some(Ending::Other),
    }
}

/// Where the last `ReadyForQuery` of bytes that end with an answer is.
pub(super) fn ready_at(bytes: &[u8]) -> Option<usize> {
    ending(bytes).map(|_| bytes.len() - READY_BYTES)
}

/// Where the `Sync` is that these bytes end with.
pub(super) fn sync_at(bytes: &[u8]) -> Option<usize> {
    bytes.strip_suffix(&SYNC).map(<[u8]>::len)
}

fn strip_ready(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.split_last_chunk::<READY_BYTES>()? {
        (rest, [b'Z', 0, 0, 0, 5, b'I' | b'T' | b'E']) => Some(rest),
        _ => None,
    }
}

/// A message without a body.
fn strip_empty(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.split_last_chunk::<5>()? {
        (rest, [b'1' | b'2' | b'3' | b'I' | b'n' | b's' | b'c', 0, 0, 0, 4]) => Some(rest),
        _ => None,
    }
}

/// A `ParameterStatus`: what SET changed.
fn strip_parameter(bytes: &[u8]) -> Option<&[u8]> {
    let (rest, body) = last_message(bytes, b'S')?;
    let strings = body.iter().filter(|byte| **byte == 0).count();
    (strings == 2 && body.first().is_some_and(u8::is_ascii_alphabetic)).then_some(rest)
}

fn command_complete(bytes: &[u8]) -> Option<&[u8]> {
    let (_, body) = last_message(bytes, b'C')?;
    is_tag(body).then_some(body)
}

/// Upper-case words and numbers.
pub(super) fn is_tag(body: &[u8]) -> bool {
    let Some((0, tag)) = body.split_last() else { return false };
    let fits = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
    tag.first().is_some_and(u8::is_ascii_uppercase) && tag.iter().all(fits)
}

/// The message of this kind that the bytes end with, and what is in front of it.
fn last_message(bytes: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let from = bytes.len().saturating_sub(TAG_BYTES_MAX as usize + 5);
    let starts = (from..bytes.len()).rev().filter(|at| bytes[*at] == kind);
    starts.into_iter().find_map(|at| {
        let (length, body) = bytes[at + 1..].split_first_chunk::<4>()?;
        let fits = u32::from_be_bytes(*length) as usize == body.len() + 4 && body.last() == Some(&0);
        fits.then_some((&bytes[..at], body))
    })
}

/// Its last field is the name of the C function that reported it.
fn is_error(bytes: &[u8]) -> bool {
    let Some(fields) = bytes.strip_suffix(b"\0\0") else { return false };
    let is_name = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match fields.iter().rposition(|byte| *byte == 0) {
        Some(zero) => matches!(&fields[zero + 1..], [b'R', name @ ..] if !name.is_empty() && is_name(name)),
        None => false,
    }
}
