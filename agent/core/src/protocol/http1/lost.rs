//! A chunked body whose framing was not captured: the capture policy keeps only the edges of each call's data. The end
//! is recognised instead of computed.

use super::{Side, Sniff, start_line};

const LAST_CHUNK: &[u8; 5] = b"0\r\n\r\n";
const CHUNK_END_LAST_CHUNK: &[u8; 7] = b"\r\n0\r\n\r\n";

/// Watches the ends of calls for the last chunk, and the starts of calls for the next message.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// The last bytes of the stream, in order.
    window: [u8; CHUNK_END_LAST_CHUNK.len()],
    /// Bytes of the current call so far; `None` where its start was not captured.
    call_bytes: Option<u64>,
}

/// What the bytes led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All of them are body, and it goes on.
    Body,
    /// All of them are body, and it is complete.
    Last,
    /// The next message starts here, so the body ended before.
    NextMessage,
    /// Too few bytes to tell one from the other.
    Undecided,
}

impl Lost {
    pub(super) fn read(&mut self, side: Side, bytes: &[u8], call_end: bool) -> Found {
        if self.call_bytes == Some(0) {
            match start_line::sniff(side, bytes) {
                Sniff::Yes => return Found::NextMessage,
                Sniff::Undecided if !call_end => return Found::Undecided,
                _ => {}
            }
        }
        self.push(bytes);
        let last = call_end && self.is_last_chunk();
        if call_end {
            self.call_bytes = Some(0);
        }
        if last { Found::Last } else { Found::Body }
    }

    pub(super) fn gap(&mut self) {
        *self = Self::default();
    }

    /// The stream stands right behind a last chunk. A call that holds nothing else needs no chunk before it; inside a
    /// call, text that ends in "0" would look the same.
    pub(super) fn is_last_chunk(&self) -> bool {
        let alone = self.call_bytes == Some(LAST_CHUNK.len() as u64) && self.window.ends_with(LAST_CHUNK);
        alone || self.window == *CHUNK_END_LAST_CHUNK
    }

    fn push(&mut self, bytes: &[u8]) {
        let size = self.window.len();
        match bytes.last_chunk() {
            Some(last) => self.window = *last,
            None => {
                self.window.copy_within(bytes.len().., 0);
                self.window[size - bytes.len()..].copy_from_slice(bytes);
            }
        }
        self.call_bytes = self.call_bytes.map(|n| n.saturating_add(bytes.len() as u64));
    }
}
