//! Connection roles, and the capture policy that the engine sets per connection.

/// Which end of a connection the traced process holds.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Unknown = 0,
    /// It connected.
    Client = 1,
    /// It accepted.
    Server = 2,
}

impl Role {
    pub const fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Client,
            2 => Self::Server,
            _ => Self::Unknown,
        }
    }
}

#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyMode {
    /// Nothing is read or reported any more; bytes are counted until the close.
    Ignore = 1,
    /// The first `head_bytes` after each change of direction, then only the edges of each call.
    Head = 2,
    /// Everything, in up to `SEGMENTS_MAX` records for a call.
    Full = 3,
}

/// Whose requests may be on their way at once.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One caller's at a time, for all that is known.
    Unknown = 0,
    /// There are many streams.
    Streams = 1,
    /// Many callers', each answered in its turn.
    Pipeline = 2,
}

/// Value of the `POLICIES` map, keyed by connection id. A connection without an entry has
/// `Head(HEAD_DEFAULT_BYTES)`, or `Full` where its client began with the preface of HTTP/2.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// [`PolicyMode`] as a number.
    pub mode: u32,
    pub head_bytes: u32,
    /// [`Role`] as a number where the engine knows better than the kernel side, else 0.
    pub role: u32,
    /// [`Sharing`] as a number.
    pub sharing: u32,
}
const _: () = assert!(size_of::<Policy>() == 16);

impl Policy {
    pub const fn ignore() -> Self {
        Self { mode: PolicyMode::Ignore as u32, head_bytes: 0, role: 0, sharing: Sharing::Unknown as u32 }
    }

    pub const fn head(head_bytes: u32, role: Role) -> Self {
        Self { mode: PolicyMode::Head as u32, head_bytes, role: role as u32, sharing: Sharing::Unknown as u32 }
    }

    /// Everything, of a connection that has many streams at once: no frame's header may be missed.
    pub const fn streams(role: Role) -> Self {
        Self { sharing: Sharing::Streams as u32, ..Self::full(role) }
    }

    /// As [`Self::head`], of a connection that clients share without waiting for one another.
    pub const fn pipeline(head_bytes: u32, role: Role) -> Self {
        Self { sharing: Sharing::Pipeline as u32, ..Self::head(head_bytes, role) }
    }

    pub const fn full(role: Role) -> Self {
        Self { mode: PolicyMode::Full as u32, head_bytes: 0, role: role as u32, sharing: Sharing::Unknown as u32 }
    }
}

/// Key of the `LISTENERS` map: a port in a network namespace that some process listens on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerKey {
    pub netns: u32,
    /// Host byte order.
    pub port: u32,
}
const _: () = assert!(size_of::<ListenerKey>() == 8);

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `repr(C)`, integers only, no implicit padding (sizes asserted above).
    unsafe impl aya::Pod for super::Policy {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::ListenerKey {}
}
