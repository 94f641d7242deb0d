//! The connections of a capture: who is the server, and what an agent there would have recorded.

use super::frame::Segment;
use super::half::{Half, Run};
use autospan_abi::limits::PAYLOAD_MAX;
use autospan_abi::{Direction, Role};
use autospan_core::event::{Data, Ends, Event, EventKind, Opened};
use autospan_core::evlog::Entry;
use autospan_core::fact::Fact;
use autospan_core::limits::{CONNECTIONS_MAX, PROCESSES_MAX};
use autospan_core::protocol::{PROTOCOLS, Side, Sides, Sniff};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

/// Bytes behind holes: of one direction, and of all together. Past them, holes are given up.
const WAITING_BYTES_MAX: usize = 1 << 20;
const WAITING_BYTES_TOTAL_MAX: usize = 64 << 20;

type OnEntry<'o> = &'o mut dyn FnMut(Entry<'_>);

#[derive(Debug, Default)]
pub(super) struct Flows {
    /// By both addresses, the lower one first.
    flows: HashMap<(SocketAddr, SocketAddr), Flow>,
    /// All of them, oldest first.
    ages: VecDeque<(SocketAddr, SocketAddr)>,
    servers: HashMap<SocketAddr, u32>,
    waiting_bytes: usize,
    pub(super) connections: u64,
    pub(super) lost_bytes: u64,
    records: Records,
}

/// One connection.
#[derive(Debug)]
struct Flow {
    id: u64,
    /// Stands for the server's process.
    tgid: u32,
    client: SocketAddr,
    /// From the client to the server.
    inbound: Half,
    outbound: Half,
    closed: bool,
}

/// Writes records.
#[derive(Debug, Default)]
struct Records {
    buffer: Vec<u8>,
    tokens: u64,
}

impl Flows {
    pub(super) fn segment(&mut self, at: u64, segment: &Segment<'_>, on_entry: OnEntry<'_>) {
        let key = key(segment);
        let opens = segment.syn && segment.acknowledged.is_none();
        if opens && self.flows.get(&key).is_some_and(Flow::is_used) {
            self.remove(at, key, on_entry);
        }
        if !self.flows.contains_key(&key) {
            if !segment.syn && segment.payload.is_empty() {
                return;
            }
            self.open(at, key, segment, on_entry);
        }
        let Some(flow) = self.flows.get_mut(&key) else { return };
        let waiting = flow.waiting_bytes();
        flow.segment(at, segment, &mut self.records, on_entry);
        if self.waiting_bytes + flow.waiting_bytes() - waiting > WAITING_BYTES_TOTAL_MAX {
            flow.flush(at, &mut self.records, on_entry);
        }
        self.waiting_bytes = self.waiting_bytes + flow.waiting_bytes() - waiting;
    }

    /// The capture ends: what waits for something will not get it.
    pub(super) fn finish(&mut self, at: u64, on_entry: OnEntry<'_>) {
        for key in std::mem::take(&mut self.ages) {
            let Some(mut flow) = self.flows.remove(&key) else { continue };
            flow.flush(at, &mut self.records, on_entry);
            self.lost_bytes += flow.lost_bytes();
        }
    }

    fn open(&mut self, at: u64, key: (SocketAddr, SocketAddr), segment: &Segment<'_>, on_entry: OnEntry<'_>) {
        while self.flows.len() >= CONNECTIONS_MAX {
            let Some(oldest) = self.ages.front().copied() else { break };
            self.remove(at, oldest, on_entry);
        }
        let (client, server) = client_and_server(segment);
        let tgid = self.server(server, on_entry);
        self.connections += 1;
        let id = self.connections;
        let opened = Opened {
            connection: id,
            sock: id,
            peer_sock: 0,
            inode: id,
            netns: 0,
            role: Role::Server,
            connect_seen: segment.syn,
            tls: None,
            ends: Ends::Inet { local: (server.ip(), server.port()), remote: (client.ip(), client.port()) },
        };
        self.records.write(at, tgid, EventKind::Opened(opened), on_entry);
        let (inbound, outbound) = (Half::default(), Half::default());
        self.flows.insert(key, Flow { id, tgid, client, inbound, outbound, closed: false });
        self.ages.push_back(key);
    }

    fn remove(&mut self, at: u64, key: (SocketAddr, SocketAddr), on_entry: OnEntry<'_>) {
        // Mostly the oldest.
        if let Some(i) = self.ages.iter().position(|known| *known == key) {
            self.ages.remove(i);
        }
        let Some(mut flow) = self.flows.remove(&key) else { return };
        self.waiting_bytes -= flow.waiting_bytes();
        flow.close(at, &mut self.records, on_entry);
        self.lost_bytes += flow.lost_bytes();
    }

    /// Number of a server, as if it were a process.
    fn server(&mut self, address: SocketAddr, on_entry: OnEntry<'_>) -> u32 {
        if let Some(tgid) = self.servers.get(&address) {
            return *tgid;
        }
        if self.servers.len() >= PROCESSES_MAX {
            return 0;
        }
        let tgid = self.servers.len() as u32 + 1;
        self.servers.insert(address, tgid);
        on_entry(Entry::Fact(Fact::Service { tgid, name: address.to_string() }));
        tgid
    }
}

impl Flow {
    /// A second SYN for it is not a retransmission.
    fn is_used(&self) -> bool {
        self.closed || self.inbound.position() > 0 || self.outbound.position() > 0
    }

    fn segment(&mut self, at: u64, segment: &Segment<'_>, records: &mut Records, on_entry: OnEntry<'_>) {
        if self.closed {
            return;
        }
        let inbound = segment.source == self.client;
        let (half, other) =
            if inbound { (&mut self.inbound, &mut self.outbound) } else { (&mut self.outbound, &mut self.inbound) };
        let (id, tgid) = (self.id, self.tgid);
        // Before the segment's own bytes, which may be the answer.
        if let Some(sequence) = segment.acknowledged {
            other.acknowledged(sequence, &mut |run| records.run(at, tgid, id, !inbound, run, on_entry));
        }
        if segment.syn {
            half.start(segment.sequence);
        } else {
            let total = segment.payload.len() as u32 + segment.missing;
            let mut emit = |run: Run<'_>| records.run(at, tgid, id, inbound, run, on_entry);
            half.segment(segment.sequence, segment.payload, total, &mut emit);
            if half.waiting_bytes > WAITING_BYTES_MAX {
                half.flush(&mut emit);
            }
        }
        half.finished |= segment.fin;
        let complete = |half: &Half| half.finished && !half.is_waiting();
        if segment.rst || (complete(&self.inbound) && complete(&self.outbound)) {
            self.close(at, records, on_entry);
        }
    }

    fn flush(&mut self, at: u64, records: &mut Records, on_entry: OnEntry<'_>) {
        let (id, tgid) = (self.id, self.tgid);
        self.inbound.flush(&mut |run| records.run(at, tgid, id, true, run, on_entry));
        self.outbound.flush(&mut |run| records.run(at, tgid, id, false, run, on_entry));
    }

    fn close(&mut self, at: u64, records: &mut Records, on_entry: OnEntry<'_>) {
        if self.closed {
            return;
        }
        self.flush(at, records, on_entry);
        self.closed = true;
        let (inbound_bytes, outbound_bytes) = (self.inbound.position(), self.outbound.position());
        let closed =
            EventKind::Closed { connection: self.id, inbound_bytes, outbound_bytes, turn: 0, decrypted: false };
        records.write(at, self.tgid, closed, on_entry);
    }

    fn waiting_bytes(&self) -> usize {
        self.inbound.waiting_bytes + self.outbound.waiting_bytes
    }

    fn lost_bytes(&self) -> u64 {
        self.inbound.lost_bytes + self.outbound.lost_bytes
    }
}

impl Records {
    fn write(&mut self, at: u64, tgid: u32, kind: EventKind<'_>, on_entry: OnEntry<'_>) {
        self.buffer.clear();
        Event { at, tgid, tid: tgid, kind }.encode(&mut self.buffer);
        on_entry(Entry::Record(&self.buffer));
    }

    /// A run of bytes, as one record for each payload that a record can hold.
    fn run(&mut self, at: u64, tgid: u32, connection: u64, inbound: bool, run: Run<'_>, on_entry: OnEntry<'_>) {
        let mut token = 0;
        if inbound {
            self.tokens += 1;
            token = self.tokens;
        }
        let mut done = 0u32;
        while done < run.total {
            let rest = &run.bytes[run.bytes.len().min(done as usize)..];
            let head = &rest[..rest.len().min(PAYLOAD_MAX as usize)];
            let last = head.len() == rest.len();
            let total = if last { run.total - done } else { head.len() as u32 };
            let data = Data {
                connection,
                direction: if inbound { Direction::Inbound } else { Direction::Outbound },
                turn: 0,
                position: run.position + u64::from(done),
                entered: at,
                token,
                cause: 0,
                trail: autospan_abi::Trail::Thread,
                sequence: Some(run.sequence.wrapping_add(done)),
                total,
                head,
                tail: &[],
            };
            self.write(at, tgid, EventKind::Data(data), on_entry);
            done += total;
        }
    }
}

fn key(segment: &Segment<'_>) -> (SocketAddr, SocketAddr) {
    let (a, b) = (segment.source, segment.destination);
    if a <= b { (a, b) } else { (b, a) }
}

/// By the handshake, else by who sends requests, else by the lower port.
fn client_and_server(segment: &Segment<'_>) -> (SocketAddr, SocketAddr) {
    let (from, to) = (segment.source, segment.destination);
    let told = PROTOCOLS.iter().filter(|protocol| protocol.sides == Sides::ByBytes);
    let is = |side| told.clone().any(|protocol| (protocol.sniff)(side, segment.payload) == Sniff::Yes);
    let from_client = match segment.syn {
        true => segment.acknowledged.is_none(),
        false if is(Side::Request) => true,
        false if is(Side::Response) => false,
        false => to.port() <= from.port(),
    };
    if from_client { (from, to) } else { (to, from) }
}
