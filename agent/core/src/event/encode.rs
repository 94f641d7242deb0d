//! Records as bytes: the exact inverse of [`Event::parse`], for inputs that no kernel wrote (packet captures, tests).

use super::{Data, Ends, Event, EventKind, Opened};
use alloc::vec::Vec;
use autospan_abi::limits::{PAYLOAD_MAX, UNIX_PATH_BYTES};
use autospan_abi::{ConnectionClosed, ConnectionOpened, Data as Raw, RecordHeader, RecordKind};
use core::net::IpAddr;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

impl Event<'_> {
    /// Appends the record. What no record can hold is cut: payload past `PAYLOAD_MAX`, a path past `UNIX_PATH_BYTES`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer { start: out.len(), out };
        w.header(self);
        match &self.kind {
            EventKind::Opened(opened) => w.opened(opened),
            EventKind::Closed { connection, inbound_bytes, outbound_bytes, turn, decrypted } => {
                w.u64s(&[*connection, *inbound_bytes, *outbound_bytes]);
                w.u16s(&[*turn, if *decrypted { ConnectionClosed::FLAG_DECRYPTED } else { 0 }]);
                w.u32s(&[0]);
            }
            EventKind::Data(data) => w.data(data),
            EventKind::Forked { child_tgid } => w.u32s(&[*child_tgid, 0]),
            EventKind::Executed
            | EventKind::Exited
            | EventKind::CodeMapped
            | EventKind::ThreadExited
            | EventKind::CallStarted
            | EventKind::CallReturned => {}
            EventKind::Multiplexed { connection } => w.u64s(&[*connection]),
            EventKind::StreamAsked { connection, stream, cause, trail } => {
                w.u64s(&[*connection, *cause]);
                w.u32s(&[*stream, *trail as u32]);
            }
            EventKind::Listening { netns, port, inode } => {
                w.u32s(&[*netns]);
                w.u16s(&[if *port == 0 { AF_UNIX } else { AF_INET }, *port]);
                w.u64s(&[*inode]);
            }
        }
        w.finish();
    }
}

impl EventKind<'_> {
    fn record_kind(&self) -> RecordKind {
        match self {
            Self::Opened(_) => RecordKind::ConnectionOpened,
            Self::Closed { .. } => RecordKind::ConnectionClosed,
            Self::Data(_) => RecordKind::Data,
            Self::Forked { .. } => RecordKind::ProcessForked,
            Self::Executed => RecordKind::ProcessExecuted,
            Self::Exited => RecordKind::ProcessExited,
            Self::Listening { .. } => RecordKind::ListenStarted,
            Self::CodeMapped => RecordKind::CodeMapped,
            Self::ThreadExited => RecordKind::ThreadExited,
            Self::CallStarted => RecordKind::CallStarted,
            Self::CallReturned => RecordKind::CallReturned,
            Self::Multiplexed { .. } => RecordKind::ConnectionMultiplexed,
            Self::StreamAsked { .. } => RecordKind::StreamAsked,
        }
    }
}

/// Little-endian fields, back to back; the length is filled in at the end.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
}

impl Writer<'_> {
    fn u16s(&mut self, values: &[u16]) {
        values.iter().for_each(|v| self.out.extend_from_slice(&v.to_le_bytes()));
    }

    fn u32s(&mut self, values: &[u32]) {
        values.iter().for_each(|v| self.out.extend_from_slice(&v.to_le_bytes()));
    }

    fn u64s(&mut self, values: &[u64]) {
        values.iter().for_each(|v| self.out.extend_from_slice(&v.to_le_bytes()));
    }

    fn ip(&mut self, addr: IpAddr) {
        let v6 = match addr {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        self.out.extend_from_slice(&v6.octets());
    }

    fn header(&mut self, event: &Event<'_>) {
        self.u32s(&[0]);
        self.u16s(&[event.kind.record_kind() as u16, 0]);
        self.u64s(&[event.at]);
        self.u32s(&[event.tgid, event.tid]);
        debug_assert_eq!(self.out.len() - self.start, size_of::<RecordHeader>());
    }

    fn opened(&mut self, o: &Opened<'_>) {
        let unspecified = (IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED), 0);
        let (family, local, remote, path) = match o.ends {
            Ends::Unix { path } => (AF_UNIX, unspecified, unspecified, &path[..path.len().min(UNIX_PATH_BYTES)]),
            Ends::Inet { local, remote } if local.0.is_ipv4() => (AF_INET, local, remote, &[][..]),
            Ends::Inet { local, remote } => (AF_INET6, local, remote, &[][..]),
        };
        self.u64s(&[o.connection, o.sock, o.peer_sock, o.inode]);
        self.u32s(&[o.netns]);
        self.u16s(&[family]);
        let flag = |set, flag| if set { flag } else { 0 };
        let flags = flag(o.connect_seen, ConnectionOpened::FLAG_CONNECT_SEEN)
            | flag(o.tls.is_some(), ConnectionOpened::FLAG_TLS);
        let tls = o.tls.unwrap_or_default();
        self.out.extend_from_slice(&[o.role as u8, flags]);
        self.u16s(&[local.1, remote.1, path.len() as u16, tls.version]);
        self.ip(local.0);
        self.ip(remote.0);
        self.out.extend_from_slice(path);
        // Behind the path, the cipher suite and padding.
        self.out.resize(self.start + size_of::<ConnectionOpened>() - 4, 0);
        self.u16s(&[tls.cipher, 0]);
    }

    fn data(&mut self, d: &Data<'_>) {
        let head = &d.head[..d.head.len().min(PAYLOAD_MAX as usize)];
        let tail = &d.tail[d.tail.len().saturating_sub(PAYLOAD_MAX as usize - head.len())..];
        self.u64s(&[d.connection, d.position, d.entered, d.token, d.cause]);
        self.u32s(&[d.sequence.unwrap_or(0), d.total]);
        self.u16s(&[head.len() as u16, tail.len() as u16]);
        let sequence = if d.sequence.is_some() { Raw::FLAG_SEQUENCE } else { 0 };
        let flags = sequence | ((d.trail as u8) << Raw::TRAIL_SHIFT);
        self.out.extend_from_slice(&[d.direction as u8, flags]);
        self.u16s(&[d.turn]);
        debug_assert_eq!(self.out.len() - self.start, size_of::<Raw>());
        self.out.extend_from_slice(head);
        self.out.extend_from_slice(tail);
    }

    fn finish(self) {
        let len = (self.out.len() - self.start) as u32;
        self.out[self.start..self.start + 4].copy_from_slice(&len.to_le_bytes());
    }
}
