//! Ring-buffer records. Each starts with a [`RecordHeader`]; multi-byte fields are native-endian (little-endian on
//! every supported target, which evlog files rely on).

use crate::limits::UNIX_PATH_BYTES;

/// Start of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Meaningful bytes of the record, header included. The ring slot may be larger (size classes).
    pub len: u32,
    /// [`RecordKind`] as a number.
    pub kind: u16,
    /// CPU that wrote the record.
    pub cpu: u16,
    /// `bpf_ktime_get_ns` (CLOCK_MONOTONIC) when the record was written.
    pub at: u64,
    /// Process in the initial pid namespace.
    pub tgid: u32,
    /// Thread in the initial pid namespace.
    pub tid: u32,
}
const _: () = assert!(size_of::<RecordHeader>() == 24);

#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    ConnectionOpened = 1,
    ConnectionClosed = 2,
    Data = 3,
    ProcessForked = 4,
    ProcessExecuted = 5,
    ProcessExited = 6,
    ListenStarted = 7,
    CodeMapped = 8,
    ThreadExited = 9,
    ConnectionMultiplexed = 10,
    StreamAsked = 11,
    CallStarted = 12,
    CallReturned = 13,
}

impl RecordKind {
    pub const fn from_u16(value: u16) -> Option<Self> {
        Some(match value {
            1 => Self::ConnectionOpened,
            2 => Self::ConnectionClosed,
            3 => Self::Data,
            4 => Self::ProcessForked,
            5 => Self::ProcessExecuted,
            6 => Self::ProcessExited,
            7 => Self::ListenStarted,
            8 => Self::CodeMapped,
            9 => Self::ThreadExited,
            10 => Self::ConnectionMultiplexed,
            11 => Self::StreamAsked,
            12 => Self::CallStarted,
            13 => Self::CallReturned,
            _ => return None,
        })
    }
}

/// Way of the bytes as the traced process sees it.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The process read them.
    Inbound = 0,
    /// The process wrote them.
    Outbound = 1,
}

/// First record of every connection end: who talks to whom. Written before the first [`Data`] of the connection; its
/// header names the process that used the socket first.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionOpened {
    pub header: RecordHeader,
    /// Connection id: unique within one run of the kernel programs, never 0, never reused.
    pub connection: u64,
    /// Kernel address of the `struct sock`: an opaque identity, for joining the two ends of a unix socket.
    pub sock: u64,
    /// Unix sockets: the peer's `struct sock`, else 0.
    pub peer_sock: u64,
    /// Inode number of the socket, as in `/proc/<pid>/fd` (`socket:[N]`).
    pub inode: u64,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// `AF_INET` 2, `AF_INET6` 10 or `AF_UNIX` 1.
    pub family: u16,
    /// [`crate::Role`] as a number.
    pub role: u8,
    /// [`ConnectionOpened::FLAG_CONNECT_SEEN`] and others.
    pub flags: u8,
    /// Host byte order; 0 for unix sockets.
    pub local_port: u16,
    pub remote_port: u16,
    /// Bytes of `unix_path` in use.
    pub unix_path_len: u16,
    /// With [`ConnectionOpened::FLAG_TLS`]: version and cipher suite as the ServerHello had them on the wire, 0 where it
    /// was not seen. TLS 1.3 calls itself 1.2 there; its cipher suites tell.
    pub tls_version: u16,
    /// IPv6, IPv4 as IPv4-mapped IPv6; zero for unix sockets.
    pub local_addr: [u8; 16],
    pub remote_addr: [u8; 16],
    /// The path a unix server socket is bound to, from whichever end has one. A leading NUL marks the abstract namespace.
    pub unix_path: [u8; UNIX_PATH_BYTES],
    pub tls_cipher: u16,
    pub pad: u16,
}
const _: () = assert!(size_of::<ConnectionOpened>() == 24 + 32 + 8 + 8 + 32 + 112);

impl ConnectionOpened {
    /// The programs saw this connection being made, so positions start at its first byte.
    pub const FLAG_CONNECT_SEEN: u8 = 1;
    /// What follows is the plaintext inside a TLS connection. The ciphertext, if any of it was reported, had another id,
    /// and that connection is closed.
    pub const FLAG_TLS: u8 = 2;
}

/// Last record of a TCP connection end. Unix sockets have none: the engine forgets them when they idle or their
/// process exits.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionClosed {
    pub header: RecordHeader,
    pub connection: u64,
    /// Bytes seen in each direction over the life of the connection: positions one past the last byte.
    pub inbound_bytes: u64,
    pub outbound_bytes: u64,
    /// Number of the last turn, see [`Data::turn`].
    pub turn: u16,
    /// [`ConnectionClosed::FLAG_DECRYPTED`].
    pub flags: u16,
    pub pad: u32,
}
const _: () = assert!(size_of::<ConnectionClosed>() == 56);

impl ConnectionClosed {
    /// Not the end of the socket: this was ciphertext, and its plaintext is seen from here on, as another connection.
    pub const FLAG_DECRYPTED: u16 = 1;
}

/// Bytes that moved through a connection by one system call (or one segment of its iovec).
///
/// It covers the stream positions `position .. position + total`. The payload that follows the struct is the first
/// `head` and then the last `tail` bytes of that range; whatever lies between was not copied.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    pub header: RecordHeader,
    pub connection: u64,
    /// Position of the first byte in this direction's stream, counted since the connection was first seen.
    pub position: u64,
    /// `bpf_ktime_get_ns` on entry of the call, or 0 where only its exit is hooked; `header.at` is its exit.
    pub entered: u64,
    /// Inbound on a server end: the token minted for this call (the same for all its segments); else 0.
    pub token: u64,
    /// Outbound: the token its execution context carried; else 0.
    pub cause: u64,
    /// TCP sequence number of the first byte (valid with [`Data::FLAG_SEQUENCE`]), the same at both ends of the wire.
    pub sequence: u32,
    pub total: u32,
    pub head: u16,
    pub tail: u16,
    /// [`Direction`] as a number.
    pub direction: u8,
    pub flags: u8,
    /// Number of the connection's turn (a run of calls in one direction), from 1, wrapping. Where records of whole turns
    /// were lost, the numbers tell how many requests nobody will ever see. 0 throughout: not counted.
    pub turn: u16,
}
const _: () = assert!(size_of::<Data>() == 24 + 40 + 16);

impl Data {
    pub const FLAG_SEQUENCE: u8 = 1;
    /// Above the flags: the [`Trail`] of `cause`.
    pub const TRAIL_SHIFT: u32 = 4;
}

/// How a token came to the context that carried it: how far it can be believed.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trail {
    /// The thread read it. Threads may serve several requests in turns.
    #[default]
    Thread = 0,
    /// A context finer than a thread read it, or inherited it: a goroutine, a CPython `Context`.
    Task = 1,
    /// The thread of an event loop read it in the same turn.
    Turn = 2,
    /// The same, and this is the first thing that is written on a connection after a response came on it in this very turn:
    /// whoever waited for the connection may be somebody else. So it may be for all that follows from it.
    Reuse = 3,
    /// The thread was made by one that carried it as [`Trail::Thread`]. It may be one of a pool's, which works for others as
    /// well: its end tells.
    Spawned = 4,
    /// The same, made by one that carried it as [`Trail::Task`].
    SpawnedByTask = 5,
    /// As [`Trail::Task`], and on a connection with many streams at once the context writes the heads of its own requests
    /// only.
    Stream = 6,
    /// As [`Trail::Reuse`], but by a callback that was asked for in this very turn: it did not wait for the connection in a
    /// queue of the runtime's own.
    ReuseAtOnce = 7,
}

impl Trail {
    pub const fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Task,
            2 => Self::Turn,
            3 => Self::Reuse,
            4 => Self::Spawned,
            5 => Self::SpawnedByTask,
            6 => Self::Stream,
            7 => Self::ReuseAtOnce,
            _ => Self::Thread,
        }
    }

    /// It stands for a response that came on the same connection before.
    pub const fn is_reuse(self) -> bool {
        matches!(self, Self::Reuse | Self::ReuseAtOnce)
    }

    pub const fn is_spawned(self) -> bool {
        matches!(self, Self::Spawned | Self::SpawnedByTask)
    }
}

/// From here on, nobody is taken to go on with a cause because of a response that was read on this connection: it has many
/// streams at once, by its first bytes or by the engine's [`crate::Policy`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionMultiplexed {
    pub header: RecordHeader,
    pub connection: u64,
}
const _: () = assert!(size_of::<ConnectionMultiplexed>() == 32);

/// A library was asked for a stream on a connection, as which a request will be sent: who asked carried `cause`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamAsked {
    pub header: RecordHeader,
    pub connection: u64,
    /// As in [`Data`].
    pub cause: u64,
    pub stream: u32,
    /// [`Trail`] as a number.
    pub trail: u32,
}
const _: () = assert!(size_of::<StreamAsked>() == 48);

/// A process (not a thread) was created by `header.tgid`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessForked {
    pub header: RecordHeader,
    pub child_tgid: u32,
    pub pad: u32,
}
const _: () = assert!(size_of::<ProcessForked>() == 32);

/// `header.tgid` began to listen on a stream socket. `family`, `netns` and `port` as in [`ConnectionOpened`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenStarted {
    pub header: RecordHeader,
    pub netns: u32,
    pub family: u16,
    /// 0 for unix sockets.
    pub port: u16,
    pub inode: u64,
}
const _: () = assert!(size_of::<ListenStarted>() == 40);
// `ProcessExecuted`, `ProcessExited`, `CodeMapped` (a file was mapped executable: a library was loaded), `ThreadExited` (of a
// thread that was made on behalf of a request), `CallStarted` and `CallReturned` (the thread entered, or left, the function of a
// library that sends a request, or leaves it to be sent, on whichever connection) are a bare `RecordHeader`.
