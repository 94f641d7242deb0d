//! Frames (RFC 9113 sections 4 and 6): the header of nine bytes, and the shape of what follows it.

/// Length of a frame's header.
pub const HEADER_BYTES: usize = 9;
/// What every endpoint takes without having said so (`SETTINGS_MAX_FRAME_SIZE`).
pub const PAYLOAD_DEFAULT_BYTES: u32 = 16_384;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const PRIORITY: u8 = 0x20;

/// Bytes of the priority fields in front of a HEADERS frame's fragment.
const PRIORITY_BYTES: usize = 5;
const SETTING_BYTES: u32 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// An extension, to be passed over (section 5.5).
    Unknown(u8),
}

/// A frame's header, as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the payload.
    pub length: u32,
    pub kind: Kind,
    pub flags: u8,
    /// Without the reserved bit; 0 is the connection.
    pub stream: u32,
    pub reserved: bool,
}

/// What is wrong with a frame, by the error code that its receiver would answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `FRAME_SIZE_ERROR`
    Size,
    /// `PROTOCOL_ERROR`
    Protocol,
}

impl Kind {
    const fn from_u8(kind: u8) -> Self {
        match kind {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::RstStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            other => Self::Unknown(other),
        }
    }

    /// Flags that mean something. Others are ignored, and no sender sets them.
    const fn flags(self) -> u8 {
        match self {
            Self::Data => END_STREAM | PADDED,
            Self::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            Self::Settings | Self::Ping => ACK,
            Self::PushPromise => END_HEADERS | PADDED,
            Self::Continuation => END_HEADERS,
            _ => 0,
        }
    }
}

impl Header {
    /// The header at the start of `bytes`; `None`: there are too few of them.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk::<HEADER_BYTES>()?;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        Some(Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind: Kind::from_u8(kind),
            flags,
            stream: stream & 0x7fff_ffff,
            reserved: stream >> 31 != 0,
        })
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.length as usize
    }

    /// What the header alone tells: length and stream must suit the kind.
    ///
    /// # Errors
    /// As its receiver would see it, whatever it said about sizes of its own.
    pub fn check(&self) -> Result<(), Fault> {
        let on_stream = match self.kind {
            Kind::Data | Kind::Headers | Kind::Priority | Kind::RstStream | Kind::PushPromise | Kind::Continuation => {
                self.stream != 0
            }
            Kind::Settings | Kind::Ping | Kind::GoAway => self.stream == 0,
            Kind::WindowUpdate | Kind::Unknown(_) => true,
        };
        let sized = match self.kind {
            Kind::Priority => self.length == 5,
            Kind::RstStream | Kind::WindowUpdate => self.length == 4,
            Kind::Settings if self.has(ACK) => self.length == 0,
            Kind::Settings => self.length.is_multiple_of(SETTING_BYTES),
            Kind::Ping => self.length == 8,
            Kind::GoAway => self.length >= 8,
            Kind::PushPromise => self.length >= 4,
            _ => true,
        };
        match (on_stream, sized) {
            (true, true) => Ok(()),
            (false, _) => Err(Fault::Protocol),
            (_, false) => Err(Fault::Size),
        }
    }

    /// As strict as can be, for bytes that may be anything: nothing that only a careless sender would write.
    pub fn is_plausible(&self) -> bool {
        let used = match self.kind {
            Kind::Data => self.length > 0 || self.has(END_STREAM),
            Kind::Headers => self.length > 0,
            // Nobody pushes, and a block goes on only behind its start.
            Kind::PushPromise | Kind::Continuation | Kind::Unknown(_) => false,
            _ => true,
        };
        let by_client = self.stream == 0 || self.stream % 2 == 1;
        let known_flags = self.flags & !self.kind.flags() == 0;
        used && by_client
            && known_flags
            && !self.reserved
            && self.length <= PAYLOAD_DEFAULT_BYTES
            && self.check().is_ok()
    }

    /// Bytes of padding and priority in front of the content of a DATA or HEADERS frame.
    pub fn front_bytes(&self) -> usize {
        let priority = self.kind == Kind::Headers && self.has(PRIORITY);
        usize::from(self.is_padded()) + if priority { PRIORITY_BYTES } else { 0 }
    }

    pub fn is_padded(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers | Kind::PushPromise) && self.has(PADDED)
    }

    /// The data or the fragment of a header block, without padding, priority and the promised stream.
    ///
    /// # Errors
    /// The padding is longer than what there is, or the fields in front of the content are cut off.
    pub fn content<'p>(&self, payload: &'p [u8]) -> Result<&'p [u8], Fault> {
        let promised = if self.kind == Kind::PushPromise { 4 } else { 0 };
        let padding = if self.is_padded() { usize::from(*payload.first().ok_or(Fault::Size)?) } else { 0 };
        let rest = payload.get(self.front_bytes() + promised..).ok_or(Fault::Size)?;
        let content = rest.len().checked_sub(padding).ok_or(Fault::Protocol)?;
        Ok(&rest[..content])
    }
}

/// `(identifier, value)` of a SETTINGS frame's payload.
pub fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    payload.chunks_exact(SETTING_BYTES as usize).map(|setting| {
        let [i0, i1, v0, v1, v2, v3] = *setting.first_chunk().unwrap_or(&[0; 6]);
        (u16::from_be_bytes([i0, i1]), u32::from_be_bytes([v0, v1, v2, v3]))
    })
}

/// The first four bytes, without the reserved bit: error code, last stream, promised stream, increment.
pub fn word(payload: &[u8]) -> Option<u32> {
    payload.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}
