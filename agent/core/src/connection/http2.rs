//! What is different on a connection that has many exchanges at once.

use super::{Connection, Opaque, Protocol, Signal, opposite};
use crate::event::Data;
use crate::limits::STREAM_SILENT_NS;
use crate::protocol::http2::Http2;
use crate::protocol::{Advance, Input, ProtocolConfig, Side, Sniff, StreamStep};
use crate::stream::{Mark, Sync};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Bytes that a server may send before the preface of its client has come.
const SETTINGS_BYTES_MAX: usize = 512;

impl Protocol {
    /// It is known, and followed.
    pub(super) fn is_spoken(&self) -> bool {
        matches!(self, Self::Ordered(..) | Self::Http2(_))
    }

    pub(super) fn advance(&mut self, side: Side, input: Input<'_>, config: &ProtocolConfig) -> Option<Advance> {
        match self {
            Self::Ordered(_, parser) => Some(parser.advance(side, input, config)),
            Self::Http2(parser) => Some(parser.advance(side, input, config)),
            Self::Unknown | Self::Opaque => None,
        }
    }

    /// The next boundary in the midst of a call: frames are looked for at its first byte only.
    pub(super) fn resync(&self, side: Side, bytes: &[u8]) -> Option<usize> {
        if let Self::Ordered(_, parser) = self { parser.resync(side, bytes) } else { None }
    }

    /// May a message start with these bytes and more behind them?
    pub(super) fn could_start(&self, side: Side, bytes: &[u8]) -> bool {
        matches!(self, Self::Ordered(protocol, _) if (protocol.sniff)(side, bytes) == Sniff::Undecided)
    }

    /// See [`crate::protocol::Parser::end_is_open`].
    pub(super) fn end_is_open(&self) -> bool {
        matches!(self, Self::Ordered(_, parser) if parser.end_is_open())
    }

    /// See [`crate::protocol::Parser::spans_gaps`].
    pub(super) fn spans_gaps(&self) -> bool {
        matches!(self, Self::Ordered(_, parser) if parser.spans_gaps())
    }

    pub(super) fn assume_request(&mut self) {
        match self {
            Self::Ordered(_, parser) => parser.assume_request(),
            Self::Http2(parser) => parser.assume_request(),
            Self::Unknown | Self::Opaque => {}
        }
    }
}

impl Connection {
    /// Bytes of header tables, prepared statements and the like.
    pub(crate) fn table_bytes(&self) -> usize {
        match &self.protocol {
            Protocol::Ordered(_, parser) => parser.held_bytes(),
            Protocol::Http2(parser) => parser.held_bytes(),
            Protocol::Unknown | Protocol::Opaque => 0,
        }
    }

    /// Forgets them: what refers to them will be unknown.
    pub(crate) fn forget_tables(&mut self) {
        match &mut self.protocol {
            Protocol::Ordered(_, parser) => parser.forget_tables(),
            Protocol::Http2(parser) => parser.forget_tables(),
            Protocol::Unknown | Protocol::Opaque => {}
        }
    }

    // === recognition ===

    /// `start`: what is known of the stream's bytes up to and with this record's.
    pub(super) fn recognise_http2(&mut self, data: &Data<'_>, start: &[u8], out: &mut Vec<Signal>) -> bool {
        if Http2::sniff(start) == Sniff::Yes {
            self.speaks(Protocol::Http2(Box::default()), data.direction, out);
            let other = self.direction_stream(opposite(data.direction));
            // A server's first frames wait there.
            if !other.is_unused() && other.pending.is_empty() {
                other.abandon();
            }
            out.push(Signal::Multiplexed { joined: false });
            return true;
        }
        let fresh = self.connect_seen && self.inbound.is_unused() && self.outbound.is_unused();
        let kept = &self.direction_stream(data.direction).pending;
        if fresh || !(kept.is_empty() || Http2::is_header(kept)) {
            return false;
        }
        let bytes = if kept.is_empty() { Cow::Borrowed(data.head) } else { Cow::Owned([kept, data.head].concat()) };
        let Some(side) = Http2::sniff_middle(&bytes, data.head.len() == data.total as usize) else { return false };
        let request_direction = if side == Side::Request { data.direction } else { opposite(data.direction) };
        self.speaks(Protocol::Http2(Box::new(Http2::in_the_middle())), request_direction, out);
        // Wherever the other one is, it is not at its start.
        self.direction_stream(opposite(data.direction)).abandon();
        out.push(Signal::Multiplexed { joined: true });
        true
    }

    /// From HTTP/1, whose last request is answered on the first stream.
    pub(super) fn upgrade(&mut self, out: &mut Vec<Signal>) {
        if self.unanswered != 1 || self.request_open {
            return self.give_up(Opaque::Upgraded, out);
        }
        self.unanswered = 0;
        self.protocol = Protocol::Http2(Box::new(Http2::upgraded()));
        out.push(Signal::Upgraded);
        out.push(Signal::Multiplexed { joined: false });
    }

    /// Looks for a frame at the first byte of a call, of which `bytes` are those of one segment. Where that is a frame's header
    /// alone, its payload may be the next call. Returns all bytes so far if it is found.
    pub(super) fn search_frames(
        &mut self,
        side: Side,
        bytes: &[u8],
        whole: bool,
        mark: &Mark,
        out: &mut Vec<Signal>,
    ) -> Option<Vec<u8>> {
        let stream = self.stream(side);
        let next = stream.cursor + stream.pending.len() as u64;
        let same_call = stream.pending_mark().is_some_and(|first| (first.at, first.tid) == (mark.at, mark.tid));
        if !(same_call || Http2::is_header(&stream.pending)) || next != mark.position {
            stream.advance(stream.pending.len() as u64);
            stream.pending.clear();
        }
        // Behind a part of the call that is not kept.
        if stream.pending.is_empty() && stream.cursor != mark.position || !stream.keep(bytes) {
            stream.advance((stream.pending.len() + bytes.len()) as u64);
            stream.pending.clear();
            return None;
        }
        let call = core::mem::take(&mut stream.pending);
        let Protocol::Http2(parser) = &self.protocol else { return None };
        if parser.resync(side, &call, whole) {
            self.resume(side, mark, out);
            return Some(call);
        }
        self.stream(side).pending = call;
        None
    }

    pub(super) fn resume_frames(&mut self, side: Side, mark: &Mark) {
        let Protocol::Http2(parser) = &mut self.protocol else { return };
        parser.restart(side);
        if !parser.is_idle() {
            self.silent_since = Some(mark.at);
        }
    }

    // === streams ===

    pub(super) fn stream_step(
        &mut self,
        side: Side,
        stream: u32,
        step: StreamStep,
        consumed: u64,
        mark: &Mark,
        out: &mut Vec<Signal>,
    ) {
        out.push(match step {
            StreamStep::Request(head) => {
                let (origin, token) = self.origin(side, consumed, mark);
                Signal::StreamRequest { stream, head, origin, token }
            }
            step => Signal::Stream { stream, step, at: mark.at, token: mark.token },
        });
    }

    /// Streams that the server takes at once. `None`: that is not known.
    pub(crate) fn streams_max(&self) -> Option<u32> {
        if let Protocol::Http2(parser) = &self.protocol { parser.streams_max() } else { None }
    }

    pub(super) fn give_up_silent(&mut self, now: u64, out: &mut Vec<Signal>) {
        let Some(since) = self.silent_since else { return };
        if since.saturating_add(STREAM_SILENT_NS) < now {
            self.silent_since = None;
            self.lose_silent(out);
        }
    }

    fn lose_silent(&mut self, out: &mut Vec<Signal>) {
        let Protocol::Http2(parser) = &mut self.protocol else { return };
        out.extend(parser.give_up_silent().into_iter().map(|stream| Signal::StreamLost { stream }));
    }

    /// Nothing more will come. A response that was lost is not one that never came.
    pub(super) fn streams_closed(&mut self, out: &mut Vec<Signal>) {
        let lost = [self.inbound.sync, self.outbound.sync].contains(&Sync::Searching);
        if let Protocol::Http2(parser) = &mut self.protocol
            && lost
        {
            parser.restart(Side::Response);
        }
        self.lose_silent(out);
    }
}

/// A frame's header, of which the payload may be the next call: Go's servers read so.
pub(super) fn is_header(kept: &[u8], data: &Data<'_>) -> bool {
    kept.is_empty() && data.head.len() == data.total as usize && Http2::is_header(data.head)
}

/// May a server's SETTINGS be waiting for the client's preface?
pub(super) fn may_be_settings(kept: &[u8], data: &Data<'_>) -> bool {
    let start = if kept.is_empty() { data.head } else { kept };
    let whole = data.head.len() == data.total as usize;
    whole && kept.len() + data.head.len() <= SETTINGS_BYTES_MAX && Http2::may_be_settings(start)
}

/// Frames that do not tell whose they are.
pub(super) fn may_be_frames(data: &Data<'_>) -> bool {
    Http2::may_be_frames(data.head, data.head.len() == data.total as usize)
}
