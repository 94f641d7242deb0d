//! Chunk framing (RFC 9112 section 7.1), byte by byte; chunk data is never looked at.

use crate::limits::HEAD_BYTES_MAX;

/// Hex digits of a chunk size at most; keeps a size below any stream position's overflow.
const DIGITS_MAX: u8 = 15;

/// Reader of a chunked body's framing, from the first size line to the empty line after the trailers.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    at: At,
    size: u64,
    digits: u8,
    /// Bytes of the current size line, or of all trailers.
    line_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Size,
    /// After the size: optional whitespace and extensions.
    Extension,
    /// After the chunk's data: CR LF.
    DataEnd,
    Trailers {
        line_empty: bool,
    },
}

/// What the bytes led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All of them are framing, and it goes on.
    Nothing,
    /// So many bytes of chunk data follow.
    Chunk(u64),
    /// The body is complete.
    Last,
    /// This is not chunk framing.
    Faulty,
}

impl Chunked {
    /// Reads framing up to the next chunk's data, and says how many bytes that were.
    pub(super) fn read(&mut self, bytes: &[u8]) -> (usize, Found) {
        for (i, &byte) in bytes.iter().enumerate() {
            match self.step(byte) {
                Found::Nothing => {}
                found => return (i + 1, found),
            }
        }
        (bytes.len(), Found::Nothing)
    }

    fn step(&mut self, byte: u8) -> Found {
        self.line_bytes += 1;
        if self.line_bytes > HEAD_BYTES_MAX {
            return Found::Faulty;
        }
        match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => return self.digit(byte),
            (At::Size | At::Extension, b'\n') => return self.size_line_end(),
            (At::Size, b'\r' | b'\t' | b' ' | b';') if self.digits > 0 => self.at = At::Extension,
            (At::Extension, _) | (At::DataEnd, b'\r') | (At::Trailers { .. }, b'\r') => {}
            (At::DataEnd, b'\n') => *self = Self::default(),
            (At::Trailers { line_empty: true }, b'\n') => return Found::Last,
            (At::Trailers { .. }, _) => self.at = At::Trailers { line_empty: byte == b'\n' },
            (At::Size | At::DataEnd, _) => return Found::Faulty,
        }
        Found::Nothing
    }

    fn digit(&mut self, byte: u8) -> Found {
        let value = (byte as char).to_digit(16).unwrap_or(0);
        self.size = self.size << 4 | u64::from(value);
        self.digits += 1;
        if self.digits > DIGITS_MAX { Found::Faulty } else { Found::Nothing }
    }

    fn size_line_end(&mut self) -> Found {
        self.line_bytes = 0;
        match (self.digits, self.size) {
            (0, _) => Found::Faulty,
            (_, 0) => {
                self.at = At::Trailers { line_empty: true };
                Found::Nothing
            }
            (_, size) => {
                *self = Self { at: At::DataEnd, ..Self::default() };
                Found::Chunk(size)
            }
        }
    }
}
