//! Streams in flight (RFC 9113 section 5), as far as an observer needs them.

use crate::limits::STREAMS_MAX;
use crate::protocol::{MessageEnd, Side};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Requests that a hole in the stream numbers stands for, at most: past it the number is wrong.
const REQUESTS_LOST_MAX: u32 = 1 << 16;

/// A stream whose request was seen.
#[derive(Debug)]
struct Open {
    request_ended: bool,
    response: Response,
    /// Content of requests and responses; `None`: some of it may have been lost.
    bytes: [Option<u64>; 2],
    /// Nothing was heard of it since a loss.
    silent: bool,
}

impl Default for Open {
    fn default() -> Self {
        Self { request_ended: false, response: Response::Awaited, bytes: [Some(0); 2], silent: false }
    }
}

/// The head of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Response {
    #[default]
    Awaited,
    /// With a status that is not known: it may have been an interim one.
    Unknown,
    Known,
}

#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<u32, Open>,
    /// The last stream that a client opened; 0: none was seen.
    highest: u32,
    /// The first one that would have been seen. Below it, they were there before.
    lowest: u32,
    /// Something was lost since the last one was opened.
    lost: bool,
    /// Requests that were lost and not told yet.
    untold: u32,
    /// The stream that waits for its request.
    waiting: u32,
    /// With its response's head.
    waiting_head: bool,
    /// The one that waited for it in vain, until its response is told.
    orphan: u32,
}

/// Where a header list of a response belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Interim,
    Head,
    Trailers,
    /// A response whose request will not be seen.
    Orphan,
    /// To a stream that is over.
    Nowhere,
}

pub(super) struct TooMany;

impl Streams {
    /// Of a connection seen from its first byte on.
    pub(super) fn new() -> Self {
        Self { lowest: 1, ..Self::default() }
    }

    /// With a first stream whose request is complete.
    pub(super) fn upgraded() -> Self {
        let open = Open { request_ended: true, ..Open::default() };
        Self { open: BTreeMap::from([(1, open)]), highest: 1, lowest: 1, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= STREAMS_MAX
    }

    /// A client has opened one.
    pub(super) fn any_seen(&self) -> bool {
        self.highest > 0
    }

    pub(super) fn is_open(&self, stream: u32) -> bool {
        self.open.contains_key(&stream)
    }

    /// A client may send a header list on it next.
    pub(super) fn may_open(&self, stream: u32, ahead: u32) -> bool {
        self.is_open(stream) || self.is_ahead(stream, ahead)
    }

    /// Something that follows a request may be sent on it. Streams that are over are not remembered.
    pub(super) fn may_go_on(&self, stream: u32, ahead: u32) -> bool {
        stream <= self.highest || self.is_ahead(stream, ahead)
    }

    fn is_ahead(&self, stream: u32, ahead: u32) -> bool {
        stream > self.highest && stream - self.highest <= ahead
    }

    /// The client has not opened it, as far as was seen.
    pub(super) fn is_new(&self, stream: u32) -> bool {
        stream > self.highest
    }

    /// Something of this stream, `head` or not, comes before its request.
    pub(super) fn waits_for_request(&mut self, side: Side, stream: u32, head: bool) -> bool {
        let waits = side == Side::Response && stream % 2 == 1 && self.is_new(stream);
        if waits {
            (self.waiting, self.waiting_head) = (stream, head);
        }
        waits
    }

    pub(super) fn assume_request(&mut self) {
        let waiting = core::mem::take(&mut self.waiting);
        if waiting > self.highest {
            self.untold = self.untold.saturating_add(self.missing_below(waiting));
            self.highest = waiting;
            // Without its response's head it is not told of otherwise.
            self.orphan = if self.waiting_head { waiting } else { 0 };
            self.untold = self.untold.saturating_add(u32::from(!self.waiting_head));
            self.lowest = if self.lowest == 0 { waiting } else { self.lowest };
        }
    }

    /// Streams of the client between the last one and this one.
    fn missing_below(&self, stream: u32) -> u32 {
        match (self.highest, self.lowest) {
            (0, 0) => 0,
            (0, _) => stream / 2,
            (highest, _) => ((stream - highest) / 2).saturating_sub(1),
        }
    }

    /// The number of requests that must have been lost in front of it, and that were not told yet.
    pub(super) fn open(&mut self, stream: u32) -> Result<usize, TooMany> {
        if self.is_full() {
            return Err(TooMany);
        }
        let missing = self.missing_below(stream);
        let lost = if core::mem::take(&mut self.lost) { missing } else { 0 };
        let untold = core::mem::take(&mut self.untold);
        self.highest = stream;
        self.lowest = if self.lowest == 0 { stream } else { self.lowest };
        self.open.insert(stream, Open::default());
        Ok(lost.saturating_add(untold).min(REQUESTS_LOST_MAX) as usize)
    }

    /// Content came. False: of a stream that is over, or was never seen.
    pub(super) fn data(&mut self, side: Side, stream: u32, bytes: u32) -> bool {
        let Some(open) = self.heard(stream) else { return false };
        let counted = &mut open.bytes[usize::from(side == Side::Response)];
        *counted = counted.map(|counted| counted.saturating_add(u64::from(bytes)));
        true
    }

    /// A header list came, with this status as far as it has one.
    pub(super) fn response(&mut self, stream: u32, status: Option<u16>) -> Place {
        let interim = matches!(status, Some(100..=199));
        let lowest = self.lowest;
        let orphan = stream == self.orphan && !interim;
        if orphan {
            self.orphan = 0;
        }
        match self.heard(stream) {
            Some(_) if interim => Place::Interim,
            // Trailers have no status.
            Some(Open { response: Response::Known, .. }) => Place::Trailers,
            Some(Open { response: Response::Unknown, .. }) if status.is_none() => Place::Trailers,
            Some(open) => {
                open.response = if status.is_some() { Response::Known } else { Response::Unknown };
                // Its body comes behind it, whatever was lost in front.
                open.bytes[1] = Some(0);
                Place::Head
            }
            None if orphan || (stream % 2 == 1 && stream < lowest && !interim) => Place::Orphan,
            None => Place::Nowhere,
        }
    }

    /// One side is complete: with what came of the request where the other is not, and the end. `None`: a stream that is
    /// over, or was never seen.
    pub(super) fn end(&mut self, side: Side, stream: u32) -> Option<(Option<MessageEnd>, MessageEnd)> {
        let open = self.heard(stream)?;
        let body_bytes = open.bytes[usize::from(side == Side::Response)];
        let unfinished = (side == Side::Response && !open.request_ended)
            .then_some(MessageEnd { body_bytes: open.bytes[0], truncated: true });
        if side == Side::Request && core::mem::replace(&mut open.request_ended, true) {
            return None;
        }
        if side == Side::Response {
            self.open.remove(&stream);
        }
        Some((unfinished, MessageEnd { body_bytes, truncated: false }))
    }

    /// True where it was in flight.
    pub(super) fn reset(&mut self, stream: u32) -> bool {
        self.open.remove(&stream).is_some()
    }

    pub(super) fn refuse_above(&mut self, last: u32) -> Vec<u32> {
        self.open.split_off(&last.saturating_add(1)).into_keys().collect()
    }

    /// On this side, anything may have happened to any of them.
    pub(super) fn lost(&mut self, side: Side) {
        self.lost = true;
        for open in self.open.values_mut() {
            open.silent = true;
            // A request that had ended lost nothing.
            if side == Side::Response || !open.request_ended {
                open.bytes[usize::from(side == Side::Response)] = None;
            }
        }
    }

    pub(super) fn take_silent(&mut self) -> Vec<u32> {
        let silent: Vec<_> = self.open.iter().filter(|(_, open)| open.silent).map(|(stream, _)| *stream).collect();
        self.open.retain(|_, open| !open.silent);
        silent
    }

    fn heard(&mut self, stream: u32) -> Option<&mut Open> {
        let open = self.open.get_mut(&stream)?;
        open.silent = false;
        Some(open)
    }
}
