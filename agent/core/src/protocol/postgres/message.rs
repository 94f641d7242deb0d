//! What all messages look like: a byte that tells the kind, a length that counts itself, and a body.
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

/// Bytes in front of a body.
pub(super) const HEADER_BYTES: usize = 5;
/// The server refuses longer messages: `PQ_LARGE_MESSAGE_LIMIT`, `PQ_SMALL_MESSAGE_LIMIT` and `PG_MAX_AUTH_TOKEN_LENGTH` of
/// `src/include/libpq/libpq.h` and `auth.h`.
const LARGE_MAX: u32 = 0x3fff_ffff;
const SMALL_MAX: u32 = 10_000;
const TOKEN_MAX: u32 = 65_535;
/// `CommandComplete` has a word or two and a number or two.
pub(super) const TAG_BYTES_MAX: u32 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u8,
    /// Bytes of the body.
    pub(super) body: u32,
}

impl Header {
    /// `None`: the client says nothing of this kind, or not in so many bytes.
    pub(super) fn frontend(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let header = Self::read(bytes)?;
        let (min, max) = match header.kind {
            b'Q' => (1, LARGE_MAX),
            b'P' => (4, LARGE_MAX),
            b'B' => (8, LARGE_MAX),
            b'E' => (5, SMALL_MAX),
            b'D' | b'C' => (2, SMALL_MAX),
            b'F' => (10, LARGE_MAX),
            b'd' => (0, LARGE_MAX),
            b'f' => (1, SMALL_MAX),
            b'p' => (0, TOKEN_MAX),
            b'S' | b'H' | b'c' | b'X' => (0, 0),
            _ => return None,
        };
        (min..=max).contains(&header.body).then_some(header)
    }

    /// As that, of the server.
    pub(super) fn backend(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let header = Self::read(bytes)?;
        let (min, max) = match header.kind {
            b'1' | b'2' | b'3' | b'I' | b'n' | b's' | b'c' => (0, 0),
            b'Z' => (1, 1),
            b'C' => (2, TAG_BYTES_MAX),
            b'D' | b'T' | b't' => (2, LARGE_MAX),
            b'd' => (0, LARGE_MAX),
            b'E' | b'N' | b'S' => (1, LARGE_MAX),
            b'A' => (6, SMALL_MAX),
            b'G' | b'H' | b'W' => (3, SMALL_MAX),
            b'K' => (8, SMALL_MAX),
            b'R' => (4, TOKEN_MAX),
            b'V' => (4, LARGE_MAX),
            b'v' => (8, SMALL_MAX),
            _ => return None,
        };
        (min..=max).contains(&header.body).then_some(header)
    }

    fn read([kind, length @ ..]: [u8; HEADER_BYTES]) -> Option<Self> {
        let body = u32::from_be_bytes(length).checked_sub(4)?;
        Some(Self { kind, body })
    }
}

/// A header that arrives in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Partial {
    bytes: [u8; HEADER_BYTES],
    len: usize,
}

impl Partial {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of `bytes` belong to it, and the whole header if it is complete with them.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> (usize, Option<[u8; HEADER_BYTES]>) {
        let missing = &mut self.bytes[self.len..];
        let n = missing.len().min(bytes.len());
        missing[..n].copy_from_slice(&bytes[..n]);
        self.len += n;
        if self.len < HEADER_BYTES {
            return (n, None);
        }
        self.len = 0;
        (n, Some(self.bytes))
    }
}

/// The bytes up to the zero that ends them, if it is there.
pub(super) fn string(bytes: &[u8]) -> Option<&[u8]> {
    bytes.iter().position(|&byte| byte == 0).map(|end| &bytes[..end])
}

pub(super) fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

pub(super) fn short(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}
