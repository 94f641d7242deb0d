//! The tables of RFC 7541: the static one (appendix A), and a dynamic one of which only a part may be known.
//!
//! Whoever joins in the middle of a connection, or has lost a header block, does not know what the table holds. But new
//! entries go in at the front, and a sender refers only to what is there. So the entries that were seen to go in keep
//! their indices, whatever was there before and whenever that is evicted: a reference to one of them is right, and one
//! past them is to an entry that nobody knows. An entry larger than the table empties it instead of going in; whatever
//! is referred to afterwards is newer than it, or else it did go in.

use super::Text;
use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// Size of the dynamic table before any update of it (RFC 9113 section 6.5.2).
pub(super) const LIMIT_DEFAULT: usize = 4_096;
/// What an entry counts for besides its text (section 4.1).
pub(super) const ENTRY_BYTES: usize = 32;
/// Bytes, counted so, that are kept of a table, whatever its size. Browsers ask for as many.
pub(super) const KEPT_BYTES_MAX: usize = 65_536;

/// Entries that a table may have without anybody knowing: more than any endpoint asks for.
const UNKNOWN_MAX: usize = 1 << 15;

#[derive(Debug)]
struct Entry {
    /// The name, then the value, as far as they are known.
    text: Box<[u8]>,
    /// Bytes of the name; `None`: unknown.
    name: Option<usize>,
    /// The value is known.
    value: bool,
}

impl Entry {
    fn name(&self) -> Text<'_> {
        self.name.map(|len| &self.text[..len])
    }

    fn value(&self) -> Text<'_> {
        self.value.then(|| &self.text[self.name.unwrap_or(0)..])
    }

    /// At least so many.
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.text.len()
    }
}

/// What an index leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Field(&'a [u8], &'a [u8]),
    /// Something is not known.
    Partly(Text<'a>, Text<'a>),
    Nothing,
}

#[derive(Debug)]
pub(super) struct Table {
    /// Newest first.
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Size of the sender's table; `None`: nobody knows.
    limit: Option<usize>,
    /// It may hold more than `entries`.
    partial: bool,
}

impl Default for Table {
    /// Of a connection seen from its first byte on.
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: 0, limit: Some(LIMIT_DEFAULT), partial: false }
    }
}

impl Table {
    /// From here on, anything may be in the table.
    pub(super) fn forget(&mut self) {
        *self = Self { entries: VecDeque::new(), bytes: 0, limit: None, partial: true };
    }

    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }

    /// Memory that the entries take, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn find(&self, index: usize) -> Found<'_> {
        if let Some((name, value)) = index.checked_sub(1).and_then(|i| STATIC.get(i)) {
            return Found::Field(name, value);
        }
        let Some(place) = index.checked_sub(1 + STATIC.len()) else { return Found::Nothing };
        match self.entries.get(place) {
            Some(entry) => match (entry.name(), entry.value()) {
                (Some(name), Some(value)) => Found::Field(name, value),
                (name, value) => Found::Partly(name, value),
            },
            None if self.partial && place < UNKNOWN_MAX => Found::Partly(None, None),
            None => Found::Nothing,
        }
    }

    pub(super) fn insert(&mut self, name: Text<'_>, value: Text<'_>) {
        let (name_bytes, value_bytes) = (name.unwrap_or_default(), value.unwrap_or_default());
        let text = [name_bytes, value_bytes].concat().into_boxed_slice();
        let entry = Entry { text, name: name.map(<[u8]>::len), value: value.is_some() };
        let bytes = entry.bytes();
        self.make_room(bytes);
        if bytes <= self.room() {
            self.bytes += bytes;
            self.entries.push_front(entry);
        } else {
            // Either it is in the sender's table and not kept here, or it emptied that.
            self.partial = self.limit.is_none_or(|limit| limit >= bytes);
        }
    }

    /// The sender's table has another size from here on.
    pub(super) fn resize(&mut self, limit: usize) {
        self.limit = Some(limit);
        self.make_room(0);
        if limit == 0 {
            self.partial = false;
        }
    }

    /// What is kept of the table.
    fn room(&self) -> usize {
        self.limit.unwrap_or(usize::MAX).min(KEPT_BYTES_MAX)
    }

    fn make_room(&mut self, wanted: usize) {
        let room = self.room();
        while self.bytes + wanted > room
            && let Some(entry) = self.entries.pop_back()
        {
            self.bytes -= entry.bytes();
            self.partial |= self.limit.is_none_or(|limit| limit > KEPT_BYTES_MAX);
        }
    }
}

/// Appendix A.
#[rustfmt::skip]
const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];
