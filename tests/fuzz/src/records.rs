//! A byte script of records: connections, processes and threads are few, so that they meet.

use crate::dialog::{Dialog, Turn};
use crate::http2::calls::Call;
use autospan_abi::{Direction, Role};
use autospan_core::event::{Data, Ends, Event, EventKind, Opened};
use autospan_core::evlog::Entry;
use autospan_core::fact::{Fact, Threads};
use autospan_core::protocol::Side;
use std::net::{IpAddr, Ipv4Addr};

/// The script is a run of steps: `kind · who · time · u16 a · u16 length · payload`.
pub const STEP_BYTES: usize = 7;

/// Evlog entries in order, for the engine.
#[derive(Debug, Default)]
pub struct Maker {
    now: u64,
    /// Next position by connection and direction.
    positions: [[u64; 2]; 4],
    /// Changes of direction by connection, and the last direction.
    turns: [(u16, bool); 4],
    tokens: u64,
    carriers: [u64; 4],
    record: Vec<u8>,
}

impl Maker {
    /// Turns a script into entries.
    pub fn play(&mut self, mut script: &[u8], mut on_entry: impl FnMut(Entry<'_>)) {
        on_entry(Entry::Fact(Fact::Session { secret: [7; 16] }));
        on_entry(Entry::Fact(Fact::Clock { monotonic_ns: 0, unix_ns: 1 << 60 }));
        while let Some((step, rest)) = script.split_first_chunk::<STEP_BYTES>() {
            let [kind, who, time, a0, a1, l0, l1] = *step;
            let len = usize::from(u16::from_le_bytes([l0, l1])).min(rest.len());
            let (payload, rest) = rest.split_at(len);
            script = rest;
            self.now += u64::from(time) * 1_000_000;
            self.step(kind, who, u16::from_le_bytes([a0, a1]), payload, &mut on_entry);
        }
        on_entry(Entry::Tick(self.now + 10_000_000_000));
    }

    fn step(&mut self, kind: u8, who: u8, a: u16, payload: &[u8], on_entry: &mut impl FnMut(Entry<'_>)) {
        let (c, thread) = (usize::from(who & 3), usize::from((who >> 2) & 3));
        let (tgid, tid) = (100 + u32::from((who >> 4) & 1), 200 + thread as u32);
        let kind = match kind % 9 {
            0 => EventKind::Opened(opened(c, a)),
            1 => self.closed(c),
            2 => EventKind::Forked { child_tgid: u32::from(a & 7) + 100 },
            3 => EventKind::Executed,
            4 => EventKind::Exited,
            5 => {
                let threads = [Threads::Owned, Threads::Multiplexed, Threads::Unproven][usize::from(a % 3)];
                return on_entry(Entry::Fact(Fact::Process { tgid, threads }));
            }
            6 => return on_entry(Entry::Tick(self.now)),
            kind => EventKind::Data(self.data(c, thread, kind == 7, a, payload)),
        };
        self.record.clear();
        Event { at: self.now, tgid, tid, kind }.encode(&mut self.record);
        on_entry(Entry::Record(&self.record));
    }

    fn closed(&self, c: usize) -> EventKind<'static> {
        let [inbound_bytes, outbound_bytes] = self.positions[c];
        EventKind::Closed {
            connection: c as u64 + 1,
            inbound_bytes,
            outbound_bytes,
            turn: self.turns[c].0,
            decrypted: false,
        }
    }

    /// `a`: bytes that were not copied, in front of the payload's last few; its top bits lose or repeat bytes.
    fn data<'p>(&mut self, c: usize, thread: usize, inbound: bool, a: u16, payload: &'p [u8]) -> Data<'p> {
        let position = &mut self.positions[c][usize::from(!inbound)];
        match a >> 14 {
            1 => *position += 10,
            2 => *position = position.saturating_sub(10),
            _ => {}
        }
        let (turn, last) = &mut self.turns[c];
        if *turn == 0 || *last != inbound {
            (*turn, *last) = (turn.wrapping_add(1).max(1), inbound);
        }
        let turn = *turn;
        let uncopied = u32::from(a & 0x3fff);
        let (head, tail) = payload.split_at(payload.len().saturating_sub(if uncopied > 0 { 7 } else { 0 }));
        let total = payload.len() as u32 + uncopied;
        let start = *position;
        *position += u64::from(total);
        if inbound {
            self.tokens += 1;
            self.carriers[thread] = self.tokens;
        }
        Data {
            connection: c as u64 + 1,
            direction: if inbound { Direction::Inbound } else { Direction::Outbound },
            position: start,
            turn,
            entered: self.now.saturating_sub(1_000),
            token: if inbound { self.tokens } else { 0 },
            cause: if inbound { 0 } else { self.carriers[thread] },
            trail: autospan_abi::Trail::from_u8((a & 7) as u8),
            sequence: (a & 1 == 0).then_some(start as u32),
            total,
            head,
            tail,
        }
    }
}

/// Connections 1 and 2 are the ends of one, 3 and 4 have no other end here; the fourth may be a unix socket.
fn opened(c: usize, a: u16) -> Opened<'static> {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (local, remote) = [(80, 5_000), (5_000, 80), (81, 5_001), (5_002, 82)][c];
    let ends = if c == 3 && a & 8 != 0 {
        Ends::Unix { path: b"/run/x.sock" }
    } else {
        Ends::Inet { local: (ip, local), remote: (ip, remote) }
    };
    let connection = c as u64 + 1;
    let role = Role::from_u8((a & 7) as u8);
    Opened {
        connection,
        sock: connection,
        peer_sock: 0,
        inode: 9,
        netns: 1,
        role,
        connect_seen: a & 4 != 0,
        tls: None,
        ends,
    }
}

/// A dialog as seen by its server, as a script.
pub fn script_of(dialog: &Dialog) -> Vec<u8> {
    let mut out = Vec::new();
    let mut step = |kind, a: u16, payload: &[u8]| {
        out.extend_from_slice(&[kind, 0, 1]);
        out.extend_from_slice(&a.to_le_bytes());
        out.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        out.extend_from_slice(payload);
    };
    step(0, 6, b"");
    for turn in &dialog.turns {
        let kind = if turn.side() == Some(Side::Request) { 7 } else { 8 };
        match turn {
            Turn::Bytes { bytes, .. } => bytes.chunks(16_000).for_each(|piece| step(kind, 0, piece)),
            Turn::Gap { len, .. } => step(kind, (*len).min(0x3fff) as u16, b""),
            Turn::Close { .. } => step(1, 0, b""),
            Turn::Assume => step(6, 0, b""),
        }
    }
    out
}

/// A connection of HTTP/2 as seen by its server, as a script.
pub fn script_of_calls(calls: &[Call]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut step = |kind: u8, a: u16, payload: &[u8]| {
        out.extend_from_slice(&[kind, 0, 1]);
        out.extend_from_slice(&a.to_le_bytes());
        out.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        out.extend_from_slice(payload);
    };
    step(0, 2, b"");
    for call in calls {
        let kind = if call.side() == Side::Request { 7 } else { 8 };
        match call {
            Call::Bytes { bytes, .. } => bytes.chunks(16_000).for_each(|piece| step(kind, 0, piece)),
            Call::Gap { len, .. } => step(kind, (*len).min(0x3fff) as u16, b""),
        }
    }
    step(1, 0, b"");
    out
}
