//! What a connection speaks, by the first bytes of its calls.

use super::http2::{is_header, may_be_frames, may_be_settings};
use super::{Connection, Opaque, Protocol, Signal, opposite};
use crate::event::Data;
use crate::protocol::http2::Http2;
use crate::protocol::{Definition, PROTOCOLS, ProtocolConfig, Side, Sides, Sniff};
use crate::stream::Mark;
use alloc::vec::Vec;
use autospan_abi::{Direction, Role};

/// Bytes that are enough for every sniffer.
pub(super) const SNIFF_BYTES: usize = 64;
/// Changes of direction without a message start, after which a connection is given up.
const STRANGE_TURNS_MAX: u8 = 4;
/// The same for turns that may be of HTTP/2, as far as they show.
const VAGUE_TURNS_MAX: u8 = 32;

impl Connection {
    /// Looks at the first bytes of a record; true once the protocol is known.
    pub(super) fn recognise(&mut self, data: &Data<'_>, out: &mut Vec<Signal>) -> bool {
        let stream = if data.direction == Direction::Inbound { &self.inbound } else { &self.outbound };
        let (start, len) = start_of(&stream.pending, data.head);
        let start = &start[..len];
        let role = self.role;
        let found =
            PROTOCOLS.iter().find_map(|protocol| Some((*protocol, sniff(protocol, role, data.direction, start)?)));
        let Some((protocol, side)) = found else { return self.recognise_http2(data, start, out) };
        let request_direction = if side == Side::Request { data.direction } else { opposite(data.direction) };
        let is_late = data.position > stream.pending.len() as u64;
        // An empty line in front of the first request that is seen may be the end of one that is not.
        if data.position > 0 && matches!(start, [b'\r' | b'\n', ..]) {
            self.doubtful_token = data.token;
        }
        let known = self.inside_tls.take().filter(|(known, _)| known.name == protocol.name);
        let parser = known.map_or_else(protocol.parser, |(_, parser)| parser);
        self.speaks(Protocol::Ordered(protocol, parser), request_direction, out);
        if is_late {
            out.push(Signal::Late);
        }
        let other = self.direction_stream(opposite(data.direction));
        // What waits there may be the start of a message.
        if !other.is_unused() && other.pending.is_empty() {
            other.abandon();
        }
        true
    }

    /// What was said before the answer to it told what it is.
    pub(super) fn offer_waiting(&mut self, side: Side, mark: &Mark, config: &ProtocolConfig, out: &mut Vec<Signal>) {
        if !self.stream(side).pending.is_empty() {
            self.drive(side, &[], true, mark, config, out);
        }
    }

    pub(super) fn speaks(&mut self, protocol: Protocol, request_direction: Direction, out: &mut Vec<Signal>) {
        self.protocol = protocol;
        let role = if request_direction == Direction::Inbound { Role::Server } else { Role::Client };
        out.push(Signal::Recognised { role_corrected: self.role != role });
        self.role = role;
    }

    /// A record that does not start like a message of any known protocol.
    pub(super) fn pass_unrecognised(&mut self, mark: Mark, data: &Data<'_>, out: &mut Vec<Signal>) {
        if is_tls_record(data.head) {
            return self.give_up(Opaque::Tls, out);
        }
        let turned = self.last_direction != Some(data.direction);
        self.turns.pass(data.turn, data.direction);
        self.last_direction = Some(data.direction);
        let fresh = self.connect_seen && self.inbound.is_unused() && self.outbound.is_unused();
        let strange = turned && (fresh || !may_be_frames(data));
        let role = self.role;
        let stream = self.direction_stream(data.direction);
        let settings = data.position == stream.pending.len() as u64 && may_be_settings(&stream.pending, data);
        let header = !fresh && is_header(&stream.pending, data);
        let undecided = stream.pending.len() + data.head.len() < SNIFF_BYTES
            && data.head.len() == data.total as usize
            && could_start(role, data.direction, &stream.pending, data.head);
        if stream.pending.is_empty() {
            stream.cursor = data.position;
        }
        stream.accept(mark, data);
        if (undecided || settings || header) && stream.keep(data.head) {
            return;
        }
        stream.pending.clear();
        stream.cursor = data.position + u64::from(data.total);
        self.strange_turns += u8::from(strange);
        self.vague_turns += u8::from(turned && !strange);
        let given_up = self.strange_turns >= STRANGE_TURNS_MAX || self.vague_turns >= VAGUE_TURNS_MAX;
        if given_up || (fresh && !data.head.is_empty()) {
            self.give_up(Opaque::Unknown, out);
        }
    }
}

/// The header of a TLS record: type, version 3.x, a length that records can have.
fn is_tls_record(start: &[u8]) -> bool {
    const KINDS: core::ops::RangeInclusive<u8> = 20..=23;
    const LENGTHS: core::ops::RangeInclusive<u16> = 1..=16_384 + 2_048;
    match *start {
        [kind, 3, 0..=4, high, low, ..] => KINDS.contains(&kind) && LENGTHS.contains(&u16::from_be_bytes([high, low])),
        _ => false,
    }
}

/// The side whose message these bytes start, if they are of this protocol.
fn sniff(protocol: &Definition, role: Role, direction: Direction, start: &[u8]) -> Option<Side> {
    sides(protocol, role, direction).iter().copied().find(|side| (protocol.sniff)(*side, start) == Sniff::Yes)
}

/// The sides that bytes of one direction may be of.
fn sides(protocol: &Definition, role: Role, direction: Direction) -> &'static [Side] {
    match (protocol.sides, role, direction) {
        (Sides::ByBytes, ..) | (Sides::ByRole, Role::Unknown, _) => &[Side::Request, Side::Response],
        (Sides::ByRole, Role::Client, Direction::Outbound) | (Sides::ByRole, Role::Server, Direction::Inbound) => {
            &[Side::Request]
        }
        (Sides::ByRole, ..) => &[Side::Response],
    }
}

/// May the bytes so far still turn out to be a message start?
fn could_start(role: Role, direction: Direction, kept: &[u8], head: &[u8]) -> bool {
    let (start, len) = start_of(kept, head);
    let start = &start[..len];
    let ordered = PROTOCOLS.iter().any(|protocol| {
        sides(protocol, role, direction).iter().any(|side| (protocol.sniff)(*side, start) == Sniff::Undecided)
    });
    ordered || Http2::sniff(start) == Sniff::Undecided
}

/// What sniffers look at, of bytes that were kept and those behind them.
fn start_of(kept: &[u8], head: &[u8]) -> ([u8; SNIFF_BYTES], usize) {
    let mut start = [0; SNIFF_BYTES];
    let n = kept.len().min(SNIFF_BYTES);
    start[..n].copy_from_slice(&kept[..n]);
    let m = head.len().min(SNIFF_BYTES - n);
    start[n..n + m].copy_from_slice(&head[..m]);
    (start, n + m)
}
