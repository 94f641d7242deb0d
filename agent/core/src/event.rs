//! Ring-buffer records, checked and borrowed: raw bytes are parsed once, here.

mod encode;

use autospan_abi::{Direction, RecordHeader, RecordKind, Role, Trail};
use core::net::{IpAddr, Ipv6Addr};

/// One record of the kernel programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    pub at: u64,
    pub tgid: u32,
    pub tid: u32,
    pub kind: EventKind<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind<'a> {
    Opened(Opened<'a>),
    /// `decrypted`: the socket lives on, and its plaintext is another connection.
    Closed {
        connection: u64,
        inbound_bytes: u64,
        outbound_bytes: u64,
        turn: u16,
        decrypted: bool,
    },
    Data(Data<'a>),
    Forked {
        child_tgid: u32,
    },
    Executed,
    Exited,
    Listening {
        netns: u32,
        port: u16,
        inode: u64,
    },
    /// A file was mapped executable.
    CodeMapped,
    /// A thread ended that was made on behalf of a request.
    ThreadExited,
    /// The thread entered the function of a library that sends a request on whichever connection, or leaves it to be sent.
    CallStarted,
    /// It returned from there.
    CallReturned,
    /// See [`autospan_abi::ConnectionMultiplexed`].
    Multiplexed {
        connection: u64,
    },
    /// See [`autospan_abi::StreamAsked`].
    StreamAsked {
        connection: u64,
        stream: u32,
        cause: u64,
        trail: Trail,
    },
}

/// See [`autospan_abi::ConnectionOpened`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    pub connection: u64,
    pub sock: u64,
    pub peer_sock: u64,
    pub inode: u64,
    pub netns: u32,
    pub role: Role,
    pub connect_seen: bool,
    /// It is the plaintext inside a TLS connection.
    pub tls: Option<Tls>,
    pub ends: Ends<'a>,
}

/// What both sides agreed on, as the ServerHello says it; 0 where it was not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    pub version: u16,
    pub cipher: u16,
}

/// Addresses of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends<'a> {
    Inet {
        local: (IpAddr, u16),
        remote: (IpAddr, u16),
    },
    /// Bytes of the server's path; a leading NUL marks the abstract namespace, empty means unnamed.
    Unix {
        path: &'a [u8],
    },
}

/// See [`autospan_abi::Data`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    pub connection: u64,
    pub direction: Direction,
    pub turn: u16,
    pub position: u64,
    /// Time the call was entered, or the record's own time where that is not known.
    pub entered: u64,
    pub token: u64,
    pub cause: u64,
    /// How the cause came to whoever carried it.
    pub trail: Trail,
    pub sequence: Option<u32>,
    pub total: u32,
    pub head: &'a [u8],
    pub tail: &'a [u8],
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record is cut off")]
    Truncated,
    #[error("unknown record kind {0}")]
    UnknownKind(u16),
    #[error("a field of the record is out of range")]
    Invalid,
}

/// Length of the first record in `bytes`, or `None` until its header is there.
pub fn record_len(bytes: &[u8]) -> Option<Result<usize, RecordError>> {
    let len = u32::from_le_bytes(*bytes.first_chunk::<4>()?) as usize;
    Some(if (size_of::<RecordHeader>()..=RECORD_BYTES_MAX).contains(&len) {
        Ok(len)
    } else {
        Err(RecordError::Invalid)
    })
}

/// The longest record: a data record with a full payload.
pub const RECORD_BYTES_MAX: usize = size_of::<autospan_abi::Data>() + autospan_abi::limits::PAYLOAD_MAX as usize;

impl<'a> Event<'a> {
    /// Reads one record; bytes past its `len` (the rest of a size class) are ignored.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let len = record_len(bytes).ok_or(RecordError::Truncated)??;
        let mut f = Fields(bytes.get(..len).ok_or(RecordError::Truncated)?);
        let (_, kind, _cpu) = (f.u32()?, f.u16()?, f.u16()?);
        let (at, tgid, tid) = (f.u64()?, f.u32()?, f.u32()?);
        let kind = match RecordKind::from_u16(kind).ok_or(RecordError::UnknownKind(kind))? {
            RecordKind::ConnectionOpened => EventKind::Opened(f.opened()?),
            RecordKind::ConnectionClosed => {
                let (connection, inbound_bytes, outbound_bytes) = (f.u64()?, f.u64()?, f.u64()?);
                let (turn, flags) = (f.u16()?, f.u16()?);
                let decrypted = flags & autospan_abi::ConnectionClosed::FLAG_DECRYPTED != 0;
                EventKind::Closed { connection, inbound_bytes, outbound_bytes, turn, decrypted }
            }
            RecordKind::Data => EventKind::Data(f.data(at)?),
            RecordKind::ProcessForked => EventKind::Forked { child_tgid: f.u32()? },
            RecordKind::ProcessExecuted => EventKind::Executed,
            RecordKind::ProcessExited => EventKind::Exited,
            RecordKind::ListenStarted => {
                let (netns, _family, port) = (f.u32()?, f.u16()?, f.u16()?);
                EventKind::Listening { netns, port, inode: f.u64()? }
            }
            RecordKind::CodeMapped => EventKind::CodeMapped,
            RecordKind::ThreadExited => EventKind::ThreadExited,
            RecordKind::CallStarted => EventKind::CallStarted,
            RecordKind::CallReturned => EventKind::CallReturned,
            RecordKind::ConnectionMultiplexed => EventKind::Multiplexed { connection: f.u64()? },
            RecordKind::StreamAsked => {
                let (connection, cause, stream, trail) = (f.u64()?, f.u64()?, f.u32()?, f.u32()?);
                EventKind::StreamAsked { connection, stream, cause, trail: Trail::from_u8(trail as u8) }
            }
        };
        Ok(Self { at, tgid, tid, kind })
    }
}

/// Little-endian fields, front to back.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, n: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(RecordError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(RecordError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, RecordError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    fn ip(&mut self) -> Result<IpAddr, RecordError> {
        Ok(Ipv6Addr::from(self.array::<16>()?).to_canonical())
    }

    fn opened(&mut self) -> Result<Opened<'a>, RecordError> {
        const AF_UNIX: u16 = 1;
        let (connection, sock, peer_sock, inode) = (self.u64()?, self.u64()?, self.u64()?, self.u64()?);
        let (netns, family, role, flags) = (self.u32()?, self.u16()?, self.u8()?, self.u8()?);
        let (local_port, remote_port, path_len, version) = (self.u16()?, self.u16()?, self.u16()?, self.u16()?);
        let (local, remote) = (self.ip()?, self.ip()?);
        let path = self.bytes(autospan_abi::limits::UNIX_PATH_BYTES)?;
        let tls =
            (flags & autospan_abi::ConnectionOpened::FLAG_TLS != 0).then_some(Tls { version, cipher: self.u16()? });
        let ends = match family {
            AF_UNIX => Ends::Unix { path: path.get(..usize::from(path_len)).ok_or(RecordError::Invalid)? },
            _ => Ends::Inet { local: (local, local_port), remote: (remote, remote_port) },
        };
        let connect_seen = flags & autospan_abi::ConnectionOpened::FLAG_CONNECT_SEEN != 0;
        Ok(Opened { connection, sock, peer_sock, inode, netns, role: Role::from_u8(role), connect_seen, tls, ends })
    }

    fn data(&mut self, at: u64) -> Result<Data<'a>, RecordError> {
        let (connection, position, entered) = (self.u64()?, self.u64()?, self.u64()?);
        let (token, cause, sequence, total) = (self.u64()?, self.u64()?, self.u32()?, self.u32()?);
        let (head, tail) = (usize::from(self.u16()?), usize::from(self.u16()?));
        let (direction, flags, turn) = (self.u8()?, self.u8()?, self.u16()?);
        let direction = match direction {
            0 => Direction::Inbound,
            1 => Direction::Outbound,
            _ => return Err(RecordError::Invalid),
        };
        let (head, tail) = (self.bytes(head)?, self.bytes(tail)?);
        if head.len() + tail.len() > total as usize || position.checked_add(u64::from(total)).is_none() {
            return Err(RecordError::Invalid);
        }
        let sequence = (flags & autospan_abi::Data::FLAG_SEQUENCE != 0).then_some(sequence);
        let entered = if entered == 0 { at } else { entered.min(at) };
        let trail = Trail::from_u8(flags >> autospan_abi::Data::TRAIL_SHIFT);
        Ok(Data { connection, direction, turn, position, entered, token, cause, trail, sequence, total, head, tail })
    }
}
