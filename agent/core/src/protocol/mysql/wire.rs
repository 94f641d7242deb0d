//! Packets and what they are made of: a length of three bytes, a sequence number, and integers of the lengths that their first
//! byte tells.

/// Of the payload of a packet that goes on in the next.
pub(super) const PAYLOAD_MAX: u64 = 0xff_ffff;
pub(super) const HEADER_BYTES: usize = 4;

/// Bits of what client and server can do, as both say at the start.
pub(super) mod capability {
    /// `CLIENT_MYSQL`: a server that sets it is none of MariaDB's.
    pub(in super::super) const MYSQL: u32 = 1;
    pub(in super::super) const CONNECT_WITH_DB: u32 = 1 << 3;
    pub(in super::super) const COMPRESS: u32 = 1 << 5;
    pub(in super::super) const PROTOCOL_41: u32 = 1 << 9;
    pub(in super::super) const TLS: u32 = 1 << 11;
    pub(in super::super) const SECURE_CONNECTION: u32 = 1 << 15;
    /// `CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA`
    pub(in super::super) const LONG_SCRAMBLE: u32 = 1 << 21;
    pub(in super::super) const DEPRECATE_EOF: u32 = 1 << 24;
    /// `CLIENT_ZSTD_COMPRESSION_ALGORITHM`
    pub(in super::super) const ZSTD: u32 = 1 << 26;
}

/// Bits of the state that an answer ends with.
pub(super) mod status {
    pub(in super::super) const MORE_RESULTS: u16 = 1 << 3;
    pub(in super::super) const CURSOR_EXISTS: u16 = 1 << 6;
    pub(in super::super) const NO_BACKSLASH_ESCAPES: u16 = 1 << 9;
    pub(in super::super) const SESSION_STATE_CHANGED: u16 = 1 << 14;
    /// No server has a meaning for it.
    pub(in super::super) const UNUSED: u16 = 1 << 2;
}

/// First bytes of answers.
pub(super) mod mark {
    pub(in super::super) const OK: u8 = 0x00;
    pub(in super::super) const LOCAL_INFILE: u8 = 0xfb;
    pub(in super::super) const EOF: u8 = 0xfe;
    pub(in super::super) const ERROR: u8 = 0xff;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the payload.
    pub(super) bytes: u64,
    pub(super) sequence: u8,
}

impl Header {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, sequence, ..] = *bytes else { return None };
        Some(Self { bytes: u64::from(u32::from_le_bytes([a, b, c, 0])), sequence })
    }

    /// The next packet goes on with the payload.
    pub(super) fn continues(self) -> bool {
        self.bytes == PAYLOAD_MAX
    }
}

/// Reads one thing after the other; `None` where there are too few bytes, or none of that kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// An integer behind a byte that tells its length, or in it.
    pub(super) fn integer(&mut self) -> Option<u64> {
        match self.u8()? {
            small @ 0..=0xfa => Some(u64::from(small)),
            0xfc => self.u16().map(u64::from),
            0xfd => self.array().map(|[a, b, c]| u64::from(u32::from_le_bytes([a, b, c, 0]))),
            0xfe => self.array().map(u64::from_le_bytes),
            _ => None,
        }
    }

    /// Bytes behind such an integer, which tells how many.
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let n = self.integer()?;
        self.bytes(usize::try_from(n).ok()?)
    }

    /// Bytes up to a NUL, which is taken as well.
    pub(super) fn terminated(&mut self) -> Option<&'a [u8]> {
        let n = self.0.iter().position(|&byte| byte == 0)?;
        let text = self.bytes(n)?;
        self.bytes(1)?;
        Some(text)
    }
}

/// What ends a result, or is all of it: a packet OK or EOF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done<'a> {
    pub(super) status: u16,
    /// The session's database is this one from here on.
    pub(super) namespace: Option<&'a [u8]>,
}

impl<'a> Done<'a> {
    /// `payload`: of a packet of `bytes` bytes, as far as it is known.
    pub(super) fn read(payload: &'a [u8], bytes: u64) -> Option<Self> {
        let mut reader = Reader(payload);
        match reader.u8()? {
            mark::EOF if bytes == EOF_BYTES => {
                reader.u16()?;
                Some(Self { status: reader.u16()?, namespace: None })
            }
            mark::OK | mark::EOF if bytes >= OK_BYTES_MIN => {
                reader.integer()?;
                reader.integer()?;
                let status = reader.u16()?;
                reader.u16()?;
                let changed = status & status::SESSION_STATE_CHANGED != 0;
                Some(Self { status, namespace: if changed { changed_namespace(reader) } else { None } })
            }
            _ => None,
        }
    }

    pub(super) fn more_results(self) -> bool {
        self.status & status::MORE_RESULTS != 0
    }
}

/// Of the payload of an EOF; an OK that says the same has more.
pub(super) const EOF_BYTES: u64 = 5;
pub(super) const OK_BYTES_MIN: u64 = 7;

/// Behind a message, what changed in the session: kind and contents of each. Clients that did not ask for that get a message of
/// which nothing else tells the length: both must fit.
fn changed_namespace<'a>(mut reader: Reader<'a>) -> Option<&'a [u8]> {
    const SCHEMA: u8 = 1;
    reader.counted()?;
    let mut changes = Reader(reader.counted()?);
    if !reader.0.is_empty() {
        return None;
    }
    let mut namespace = None;
    while !changes.0.is_empty() {
        let (kind, contents) = (changes.u8()?, changes.counted()?);
        if kind == SCHEMA {
            namespace = Reader(contents).counted();
        }
    }
    namespace
}

/// Number of an error, behind its mark.
pub(super) fn error_number(payload: &[u8]) -> Option<u16> {
    let mut reader = Reader(payload);
    (reader.u8()? == mark::ERROR).then(|| reader.u16()).flatten()
}

/// What MariaDB says between, in the clothes of an error: how far it is.
pub(super) const PROGRESS: u16 = 0xffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_the_length_that_they_tell() {
        let read = |bytes: &[u8]| Reader(bytes).integer();
        assert_eq!(read(b"\xfa"), Some(250));
        assert_eq!(read(b"\xfc\x01\x02"), Some(0x201));
        assert_eq!(read(b"\xfd\x01\x02\x03"), Some(0x3_0201));
        assert_eq!(read(b"\xfe\x01\x00\x00\x00\x00\x00\x00\x80"), Some(1 << 63 | 1));
        assert_eq!([read(b""), read(b"\xfb"), read(b"\xff"), read(b"\xfc\x01")], [None; 4]);
    }

    #[test]
    fn an_ok_tells_of_a_new_database() {
        let ok = b"\x00\x00\x00\x02\x40\x00\x00\x00\x07\x01\x05\x04shop";
        assert_eq!(Done::read(ok, ok.len() as u64), Some(Done { status: 0x4002, namespace: Some(b"shop") }));
        // Behind a message that nobody counted, it would not fit.
        let text = b"\x00\x00\x00\x02\x40\x00\x00Rows matched: 1";
        assert_eq!(Done::read(text, text.len() as u64), Some(Done { status: 0x4002, namespace: None }));
    }
}
