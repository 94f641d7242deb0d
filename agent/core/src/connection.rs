//! One connection end: finds out what it speaks, then turns its two streams into `Signal`s.

mod http2;
mod recognise;

use crate::event::{Data, Ends, Opened, Tls};
use crate::protocol::http2::{Broken, Http2};
use crate::protocol::{
    Advance, Definition, Input, MessageEnd, Parser, ProtocolConfig, RequestHead, ResponseHead, Sharing, Side, Step,
    StreamStep,
};
use crate::stream::{Mark, Piece, Stream, Sync};
use crate::turns::{Missing, Turns};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use autospan_abi::{Direction, Role, Trail};
use core::net::IpAddr;
use recognise::SNIFF_BYTES;

/// Addresses of a connection end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Inet {
        local: (IpAddr, u16),
        remote: (IpAddr, u16),
    },
    /// Path of the server's unix socket; a leading NUL marks the abstract namespace.
    Unix {
        path: Box<[u8]>,
    },
}

impl Address {
    pub(crate) fn ends(&self) -> Ends<'_> {
        match self {
            Self::Inet { local, remote } => Ends::Inet { local: *local, remote: *remote },
            Self::Unix { path } => Ends::Unix { path },
        }
    }
}

/// What a connection end says, in the order of its bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Signal {
    /// A request's head is complete.
    Request {
        head: Box<RequestHead>,
        origin: Origin,
        /// Of the call that completed the head.
        token: u64,
    },
    /// More bytes of the request in progress were read by this call.
    RequestBytes {
        token: u64,
    },
    RequestEnd(MessageEnd),
    /// The call with this token read parts of a request that was lost: whoever carries it may work on that.
    Doubtful {
        token: u64,
    },
    /// A response's head is complete: it answers the oldest request without one.
    Response {
        head: Box<ResponseHead>,
        at: u64,
    },
    /// What the response in progress says at its end takes the place of its head.
    Outcome(Box<ResponseHead>),
    /// Where the response in progress ends may be told by the next request only.
    EndIsOpen,
    /// A response whose request was never seen.
    Orphan,
    /// The response in progress (or the orphan) is complete.
    ResponseEnd {
        end: MessageEnd,
        at: u64,
        tid: u32,
        /// Of the call that read it, where it has one.
        token: u64,
    },
    /// The responses to the oldest `n` requests without one were lost.
    ResponsesLost {
        n: usize,
    },
    /// So many requests were lost together with their responses.
    ExchangesLost {
        n: usize,
    },
    /// As [`Self::Request`], one of many at once on the connection.
    StreamRequest {
        stream: u32,
        head: Box<RequestHead>,
        origin: Origin,
        token: u64,
    },
    /// What else happened to one of many, in a call with this token.
    Stream {
        stream: u32,
        step: StreamStep,
        at: u64,
        token: u64,
    },
    /// Nothing was heard of it since a loss: its response was lost.
    StreamLost {
        stream: u32,
    },
    /// The message in progress on this side is void.
    Void(Side),
    /// Bytes of a lost record.
    LostBytes(u64),
    /// The parser lost its place.
    Desynced,
    /// The connection's protocol was recognised.
    Recognised {
        role_corrected: bool,
    },
    /// It was recognised behind bytes that told nothing: messages may have been among them.
    Late,
    /// As [`Self::Recognised`], and it has many exchanges at once. `joined`: in the middle.
    Multiplexed {
        joined: bool,
    },
    /// From here on it has many exchanges at once; the one that waits for its response is the first stream.
    Upgraded,
    /// Nothing more will come of this connection.
    GaveUp(Opaque),
}

/// Why nothing more comes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opaque {
    /// It went over to another protocol.
    Upgraded,
    Unknown,
    /// TLS whose plaintext is not read, or not yet.
    Tls,
    Broken(Broken),
}

/// Where a message starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) position: u64,
    pub(crate) sequence: Option<u32>,
    /// Outbound: when the call was entered; inbound: when it returned.
    pub(crate) at: u64,
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    pub(crate) cause: u64,
    pub(crate) trail: Trail,
}

#[derive(Debug)]
enum Protocol {
    Unknown,
    /// Responses come in the order of their requests.
    Ordered(&'static Definition, Box<dyn Parser>),
    Http2(Box<Http2>),
    /// Given up.
    Opaque,
}

/// See [`Parser::inside_tls`].
pub(crate) type InsideTls = (&'static Definition, Box<dyn Parser>);

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) sock: u64,
    pub(crate) peer_sock: u64,
    pub(crate) netns: u32,
    /// Process that used it first.
    pub(crate) tgid: u32,
    pub(crate) address: Arc<Address>,
    pub(crate) role: Role,
    /// It is the plaintext inside a TLS connection.
    pub(crate) tls: Option<Tls>,
    /// Of the plaintext: what goes on with what was said before TLS began.
    pub(crate) inside_tls: Option<InsideTls>,
    /// Time of the last record.
    pub(crate) last_at: u64,
    connect_seen: bool,
    protocol: Protocol,
    inbound: Stream,
    outbound: Stream,
    last_direction: Option<Direction>,
    /// Of the last record.
    turn: u16,
    turns: Turns,
    strange_turns: u8,
    vague_turns: u8,
    /// A request's head was seen and its end not yet.
    request_open: bool,
    /// A response's head was seen (or void) and its end not yet.
    response_open: bool,
    /// Requests whose response has not started.
    unanswered: usize,
    /// A part of the response stream was lost since the last response.
    responses_lost: bool,
    /// Of a call that read parts of a request which was lost, and after them the next request: it is nobody's.
    doubtful_token: u64,
    /// HTTP/2: since then, streams may be in flight whose end was lost.
    silent_since: Option<u64>,
}

impl Connection {
    pub(crate) fn new(at: u64, tgid: u32, opened: &Opened<'_>) -> Self {
        let address = match opened.ends {
            Ends::Inet { local, remote } => Address::Inet { local, remote },
            Ends::Unix { path } => Address::Unix { path: path.into() },
        };
        Self {
            id: opened.connection,
            sock: opened.sock,
            peer_sock: opened.peer_sock,
            netns: opened.netns,
            tgid,
            address: Arc::new(address),
            role: opened.role,
            tls: opened.tls,
            inside_tls: None,
            last_at: at,
            connect_seen: opened.connect_seen,
            protocol: Protocol::Unknown,
            inbound: Stream::default(),
            outbound: Stream::default(),
            last_direction: None,
            turn: 0,
            turns: Turns::default(),
            strange_turns: 0,
            vague_turns: 0,
            request_open: false,
            response_open: false,
            unanswered: 0,
            responses_lost: false,
            doubtful_token: 0,
            silent_since: None,
        }
    }

    pub(crate) fn is_opaque(&self) -> bool {
        matches!(self.protocol, Protocol::Opaque)
    }

    /// A request that wants to go where it leads could have it at once, for all that is known.
    pub(crate) fn is_pooled(&self) -> bool {
        let is_known = [&self.inbound, &self.outbound].iter().all(|stream| stream.sync == Sync::Synced);
        matches!(self.protocol, Protocol::Ordered(..)) && self.is_idle() && is_known && !self.outbound.is_unused()
    }

    /// Clients send requests of many callers on it without waiting.
    pub(crate) fn is_pipeline(&self) -> bool {
        matches!(self.protocol, Protocol::Ordered(protocol, _) if protocol.sharing == Sharing::Pipelined)
    }

    /// Client: the plaintext is seen from here on, behind what was asked first (ADR 12).
    pub(crate) fn is_joined(&self) -> bool {
        let is_joined = self.role == Role::Client && self.tls.is_some_and(|tls| tls.version == 0);
        is_joined && self.inbound.is_unused() && self.outbound.is_unused()
    }

    /// Client: it was seen to be made.
    pub(crate) fn is_seen_from_start(&self) -> bool {
        self.connect_seen || self.tls.is_some_and(|tls| tls.version != 0)
    }

    /// No message is in progress and none is awaited.
    pub(crate) fn is_idle(&self) -> bool {
        let streams_idle = if let Protocol::Http2(parser) = &self.protocol { parser.is_idle() } else { true };
        !self.request_open && !self.response_open && self.unanswered == 0 && streams_idle
    }

    /// Bytes that wait for more in both streams.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.inbound.pending.len() + self.outbound.pending.len()
    }

    /// Gives up the messages that those bytes belong to.
    pub(crate) fn abandon_pending(&mut self, out: &mut Vec<Signal>) {
        for side in [Side::Request, Side::Response] {
            if !self.stream(side).pending.is_empty() {
                self.lose_place(side, out);
            }
        }
    }

    /// A data record of this connection.
    pub(crate) fn data(&mut self, mark: Mark, data: &Data<'_>, config: &ProtocolConfig, out: &mut Vec<Signal>) {
        self.last_at = mark.at;
        if matches!(self.protocol, Protocol::Unknown) {
            self.direction_stream(data.direction).drop_pending_before(data.position);
        }
        if matches!(self.protocol, Protocol::Unknown) {
            if !self.recognise(data, out) {
                self.pass_unrecognised(mark, data, out);
                return;
            }
            self.offer_waiting(self.side(opposite(data.direction)), &mark, config, out);
        }
        self.last_direction = Some(data.direction);
        if !self.protocol.is_spoken() {
            return;
        }
        self.give_up_silent(mark.at, out);
        let missing = self.turns.pass(data.turn, data.direction);
        self.turns_lost(missing, out);
        let side = self.side(data.direction);
        let is_answer_of_another = core::mem::replace(&mut self.turn, data.turn) != data.turn;
        if side == Side::Request || is_answer_of_another {
            self.end_unseen(config, out);
        }
        if side == Side::Request {
            self.flush_orphans_before(&mark, config, out);
            if self.request_open && mark.token != 0 {
                out.push(Signal::RequestBytes { token: mark.token });
            }
        }
        let pieces = self.stream(side).accept(mark, data);
        for piece in pieces.into_iter().flatten() {
            self.piece(side, piece, &mark, config, out);
        }
        let lost_place = self.doubtful_token == mark.token || self.stream(side).sync == Sync::Searching;
        if side == Side::Request && mark.token != 0 && lost_place {
            out.push(Signal::Doubtful { token: mark.token });
        }
        if side == Side::Request && self.stream(Side::Response).awaiting {
            self.drive(Side::Response, &[], false, &mark, config, out);
        }
    }

    /// The connection was closed after so many bytes: what is missing up to there was lost.
    pub(crate) fn ended(&mut self, mark: Mark, bytes: [u64; 2], config: &ProtocolConfig, out: &mut Vec<Signal>) {
        for (direction, bytes) in [Direction::Inbound, Direction::Outbound].into_iter().zip(bytes) {
            let lost = self.direction_stream(direction).end_at(bytes);
            if lost > 0 && self.protocol.is_spoken() {
                self.piece(self.side(direction), Piece::Lost(lost), &mark, config, out);
            }
        }
    }

    /// Whole turns were lost: requests that came before them have no response any more, and those within them, nothing.
    fn turns_lost(&mut self, missing: Option<Missing>, out: &mut Vec<Signal>) {
        let (Some(missing), Protocol::Ordered(_, parser)) = (missing, &mut self.protocol) else { return };
        let unanswered = core::mem::take(&mut self.unanswered);
        if unanswered > 0 {
            parser.forget_requests(unanswered);
            out.push(Signal::ResponsesLost { n: unanswered });
        }
        let request = if self.role == Role::Server { Direction::Inbound } else { Direction::Outbound };
        let n = usize::from(missing.exchanges(request));
        if n > 0 {
            out.push(Signal::ExchangesLost { n });
        }
    }

    /// The kernel side saw the close, after turn `turn`.
    pub(crate) fn last_turn(&mut self, turn: u16, out: &mut Vec<Signal>) {
        let missing = self.turns.close(turn);
        self.turns_lost(missing, out);
    }

    /// The connection was closed, or its process is gone: what is open ends here.
    pub(crate) fn closed(&mut self, at: u64, config: &ProtocolConfig, out: &mut Vec<Signal>) {
        self.streams_closed(out);
        for side in [Side::Request, Side::Response] {
            let Protocol::Ordered(_, parser) = &mut self.protocol else { return };
            let unskipped = side_stream(self.role, &self.inbound, &self.outbound, side).skip;
            let open = if side == Side::Request { self.request_open } else { self.response_open };
            if open {
                let Advance { step, .. } = parser.advance(side, Input::Closed { unskipped }, config);
                if let Step::End(end) = step {
                    // A body that the close completes was complete with its last byte.
                    let at = if end.truncated { at } else { self.last_at };
                    self.end_message(side, end, at, (0, 0), out);
                }
            }
        }
        // A response that was lost is not one that never came.
        if self.responses_lost && self.unanswered > 0 {
            out.push(Signal::ResponsesLost { n: core::mem::take(&mut self.unanswered) });
        }
    }

    fn give_up(&mut self, why: Opaque, out: &mut Vec<Signal>) {
        if let Protocol::Ordered(protocol, parser) = &self.protocol {
            self.inside_tls = parser.inside_tls().map(|inside| (*protocol, inside));
        }
        self.protocol = Protocol::Opaque;
        self.inbound = Stream::default();
        self.outbound = Stream::default();
        (self.request_open, self.response_open) = (false, false);
        out.push(Signal::GaveUp(why));
    }

    // === streams ===

    fn side(&self, direction: Direction) -> Side {
        if (direction == Direction::Inbound) == (self.role == Role::Server) { Side::Request } else { Side::Response }
    }

    fn direction_stream(&mut self, direction: Direction) -> &mut Stream {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        }
    }

    fn stream(&mut self, side: Side) -> &mut Stream {
        if (side == Side::Request) == (self.role == Role::Server) { &mut self.inbound } else { &mut self.outbound }
    }

    fn piece(&mut self, side: Side, piece: Piece<'_>, mark: &Mark, config: &ProtocolConfig, out: &mut Vec<Signal>) {
        match piece {
            Piece::Lost(n) => {
                out.push(Signal::LostBytes(n));
                self.gap(side, n, mark, config, out);
            }
            Piece::Uncopied(n) => self.gap(side, n, mark, config, out),
            Piece::Bytes { bytes, call_end } => self.bytes(side, bytes, call_end, mark, config, out),
        }
    }

    fn bytes(
        &mut self,
        side: Side,
        bytes: &[u8],
        ends: bool,
        mark: &Mark,
        config: &ProtocolConfig,
        out: &mut Vec<Signal>,
    ) {
        let skipped = self.stream(side).take_skip(bytes.len() as u64) as usize;
        if self.stream(side).skip > 0 {
            return;
        }
        let rest = &bytes[skipped..];
        if self.stream(side).sync == Sync::Searching && matches!(self.protocol, Protocol::Http2(_)) {
            if let Some(call) = self.search_frames(side, rest, ends, mark, out) {
                self.drive(side, &call, ends, mark, config, out);
            }
            return;
        }
        if self.stream(side).sync == Sync::Searching {
            let mut found = core::mem::take(&mut self.stream(side).pending);
            found.extend_from_slice(rest);
            if self.search(side, &mut found, mark, out) {
                self.drive(side, &found, ends, mark, config, out);
            }
            return;
        }
        self.drive(side, rest, ends, mark, config, out);
    }

    /// Looks for the next boundary in `bytes`, which are left to begin there if it is found, and else kept as far as it may begin
    /// in them: some servers read the first byte of a request by itself.
    fn search(&mut self, side: Side, bytes: &mut Vec<u8>, mark: &Mark, out: &mut Vec<Signal>) -> bool {
        if let Some(offset) = self.protocol.resync(side, bytes) {
            self.stream(side).advance(offset as u64);
            bytes.drain(..offset);
            self.resume(side, mark, out);
            return true;
        }
        if bytes.len() < SNIFF_BYTES && self.protocol.could_start(side, bytes) {
            self.stream(side).pending = core::mem::take(bytes);
        } else {
            self.stream(side).advance(bytes.len() as u64);
        }
        false
    }

    /// The next boundary was found.
    fn resume(&mut self, side: Side, mark: &Mark, out: &mut Vec<Signal>) {
        if side == Side::Request {
            self.doubtful_token = mark.token;
        }
        self.stream(side).sync = Sync::Synced;
        let Protocol::Ordered(protocol, parser) = &mut self.protocol else {
            return self.resume_frames(side, mark);
        };
        parser.restart(side);
        // Without pipelining, a response that comes after lost ones answers the newest request.
        let kept = usize::from(protocol.sharing == Sharing::Exclusive);
        if side == Side::Response && self.responses_lost && self.unanswered > kept {
            let n = self.unanswered - kept;
            parser.forget_requests(n);
            self.unanswered = kept;
            out.push(Signal::ResponsesLost { n });
        }
        if side == Side::Response {
            self.responses_lost = false;
        }
    }

    fn gap(&mut self, side: Side, n: u64, mark: &Mark, config: &ProtocolConfig, out: &mut Vec<Signal>) {
        if side == Side::Response {
            self.release_orphans(u64::MAX, mark, config, out);
        }
        let mut left = n - self.stream(side).take_skip(n);
        if left == 0 {
            return self.finish_skip(side, mark, config, out);
        }
        if side == Side::Response && self.response_open && self.protocol.spans_gaps() {
            self.stream(side).drop_pending();
        }
        if self.stream(side).sync == Sync::Searching || !self.stream(side).pending.is_empty() {
            self.lose_place(side, out);
            self.stream(side).advance(left);
            return;
        }
        while left > 0 && self.stream(side).sync == Sync::Synced {
            let Some(Advance { consumed, step }) = self.protocol.advance(side, Input::Gap(left), config) else {
                return;
            };
            let consumed = consumed.min(left);
            self.stream(side).advance(consumed);
            left -= consumed;
            let progress = consumed > 0 || matches!(step, Step::End(_) | Step::Skip(_) | Step::Stream(..));
            self.step(side, step, consumed, mark, out);
            left -= self.stream(side).take_skip(left);
            if !progress {
                self.lose_place(side, out);
            }
        }
        self.stream(side).advance(left);
        if side == Side::Response && self.response_open && self.protocol.end_is_open() {
            out.push(Signal::EndIsOpen);
        }
        if self.stream(side).sync == Sync::Synced {
            self.finish_skip(side, mark, config, out);
        }
    }

    /// A body that ends with the bytes passed over ends now, not with the next bytes.
    fn finish_skip(&mut self, side: Side, mark: &Mark, config: &ProtocolConfig, out: &mut Vec<Signal>) {
        if self.stream(side).skip == 0 {
            self.drive(side, &[], false, mark, config, out);
        }
    }

    /// The message boundary is lost: what was in progress is void.
    fn lose_place(&mut self, side: Side, out: &mut Vec<Signal>) {
        let by_call = matches!(self.protocol, Protocol::Http2(_));
        let stream = self.stream(side);
        let searching = stream.sync == Sync::Searching && (by_call || stream.pending.is_empty());
        stream.abandon();
        let open = match side {
            Side::Request => core::mem::take(&mut self.request_open),
            Side::Response => {
                self.responses_lost = true;
                core::mem::take(&mut self.response_open)
            }
        };
        if open {
            out.push(Signal::Void(side));
        }
        if !searching {
            out.push(Signal::Desynced);
        }
    }

    // === parsing ===

    /// Offers what is pending, then `bytes`, to the parser until it wants more.
    fn drive(
        &mut self,
        side: Side,
        bytes: &[u8],
        ends: bool,
        mark: &Mark,
        config: &ProtocolConfig,
        out: &mut Vec<Signal>,
    ) {
        let mut joined;
        let mut rest = bytes;
        if !self.stream(side).pending.is_empty() {
            if !self.stream(side).keep(bytes) {
                self.lose_place(side, out);
                self.stream(side).advance(bytes.len() as u64);
                return;
            }
            joined = core::mem::take(&mut self.stream(side).pending);
            rest = &joined[..];
        } else {
            joined = Vec::new();
        }
        self.stream(side).awaiting = false;
        rest = self.parse(side, rest, ends, mark, config, out);
        let left = rest.len();
        if left == 0 {
            return;
        }
        if joined.is_empty() {
            self.stream(side).keep(rest);
        } else {
            joined.drain(..joined.len() - left);
            self.stream(side).pending = joined;
        }
    }

    /// Returns the bytes that the parser wants to see again with more behind them.
    fn parse<'b>(
        &mut self,
        side: Side,
        mut rest: &'b [u8],
        ends: bool,
        mark: &Mark,
        config: &ProtocolConfig,
        out: &mut Vec<Signal>,
    ) -> &'b [u8] {
        let start = self.stream(side).cursor;
        loop {
            let input = Input::Bytes { bytes: rest, call_end: ends };
            let Some(Advance { consumed, step }) = self.protocol.advance(side, input, config) else { return &[] };
            let consumed = (consumed as usize).min(rest.len());
            // What ends in front of all that is offered has ended with what was offered before.
            let before = (matches!(step, Step::End(_)) && !rest.is_empty() && self.stream(side).cursor == start)
                .then(|| self.stream(side).mark_at(start.saturating_sub(1)).copied())
                .flatten();
            let mark = &before.filter(|before| before.at < mark.at).unwrap_or(*mark);
            rest = &rest[consumed..];
            match step {
                Step::NeedMore => {
                    self.stream(side).advance(consumed as u64);
                    return rest;
                }
                Step::AwaitRequest => {
                    let stream = self.stream(side);
                    stream.advance(consumed as u64);
                    stream.awaiting = true;
                    return rest;
                }
                Step::Continue if consumed == 0 => {
                    // A parser that neither consumes nor asks would spin.
                    self.lose_place(side, out);
                }
                step => {
                    self.stream(side).advance(consumed as u64);
                    self.step(side, step, consumed as u64, mark, out);
                }
            }
            let skipped = self.stream(side).take_skip(rest.len() as u64) as usize;
            rest = &rest[skipped..];
            if self.stream(side).skip > 0 || self.is_opaque() {
                return &[];
            }
            if self.stream(side).sync == Sync::Searching {
                match self.protocol.resync(side, rest) {
                    Some(offset) if offset > 0 || consumed > 0 => {
                        self.stream(side).advance(offset as u64);
                        rest = &rest[offset..];
                        self.resume(side, mark, out);
                    }
                    _ => {
                        self.stream(side).advance(rest.len() as u64);
                        return &[];
                    }
                }
            }
        }
    }

    /// One step of the parser; the stream's cursor is already behind what it consumed.
    fn step(&mut self, side: Side, step: Step, consumed: u64, mark: &Mark, out: &mut Vec<Signal>) {
        match step {
            Step::Request(head) => {
                self.request_open = true;
                self.unanswered += 1;
                let (origin, token) = self.origin(side, consumed, mark);
                out.push(Signal::Request { head, origin, token });
            }
            Step::Response(head) => {
                self.response_open = true;
                let answered = self.unanswered.checked_sub(1);
                self.unanswered = answered.unwrap_or_default();
                out.push(if answered.is_some() { Signal::Response { head, at: mark.at } } else { Signal::Orphan });
            }
            Step::Outcome(head) => out.push(Signal::Outcome(head)),
            Step::End(end) => self.end_message(side, end, mark.at, (mark.tid, mark.token), out),
            Step::Skip(n) => self.stream(side).skip = n,
            Step::Desync => self.lose_place(side, out),
            Step::Upgraded => self.give_up(Opaque::Upgraded, out),
            Step::UpgradedToHttp2 => self.upgrade(out),
            Step::Stream(stream, step) => self.stream_step(side, stream, step, consumed, mark, out),
            Step::Broken(why) => self.give_up(Opaque::Broken(why), out),
            Step::Continue | Step::NeedMore | Step::AwaitRequest => {}
        }
    }

    /// `call`: thread and token of the one that completed it; zeros where none did.
    fn end_message(&mut self, side: Side, end: MessageEnd, at: u64, call: (u32, u64), out: &mut Vec<Signal>) {
        match side {
            Side::Request => {
                self.request_open = false;
                out.push(Signal::RequestEnd(end));
            }
            Side::Response => {
                self.response_open = false;
                out.push(Signal::ResponseEnd { end, at, tid: call.0, token: call.1 });
            }
        }
    }

    /// The message whose head was just consumed: its first byte, and the call that completed the head.
    fn origin(&mut self, side: Side, head_bytes: u64, mark: &Mark) -> (Origin, u64) {
        let doubtful = self.doubtful_token;
        let stream = self.stream(side);
        let position = stream.cursor - head_bytes;
        let first = *stream.mark_at(position).unwrap_or(mark);
        // Nobody works on it before its head is complete: whoever does carries what was read last.
        let token = stream.marks_within(position, stream.cursor).last().map_or(0, |mark| mark.token);
        let token = if token == doubtful { 0 } else { token };
        let inbound = (side == Side::Request) == (self.role == Role::Server);
        let at = if inbound { first.at } else { first.entered };
        let sequence = first.sequence_of(position);
        let Mark { tgid, tid, cause, trail, .. } = first;
        (Origin { position, sequence, at, tgid, tid, cause, trail }, token)
    }

    /// A request began behind the response in progress, which may be over with what was seen of it.
    fn end_unseen(&mut self, config: &ProtocolConfig, out: &mut Vec<Signal>) {
        let Protocol::Ordered(_, parser) = &mut self.protocol else { return };
        if !self.response_open || self.request_open || !parser.request_begins() {
            return;
        }
        let stream = self.stream(Side::Response);
        if let Some(last) = stream.mark_at(stream.cursor.saturating_sub(1)).copied() {
            self.drive(Side::Response, &[], true, &last, config, out);
        }
    }

    // === responses without a request ===

    /// Responses that were complete before this request began cannot be its answer.
    fn flush_orphans_before(&mut self, request: &Mark, config: &ProtocolConfig, out: &mut Vec<Signal>) {
        self.release_orphans(request.entered, request, config, out);
    }

    /// Responses that were complete by then and wait for a request have none.
    fn release_orphans(&mut self, by: u64, mark: &Mark, config: &ProtocolConfig, out: &mut Vec<Signal>) {
        if !self.stream(Side::Response).awaits_since(by) {
            return;
        }
        let pending = core::mem::take(&mut self.stream(Side::Response).pending);
        let mut rest = &pending[..];
        while self.stream(Side::Response).awaits_since(by) {
            let offered = rest.len();
            rest = self.release_orphan(rest, mark, config, out);
            if rest.len() == offered {
                break;
            }
        }
        self.stream(Side::Response).pending = rest.to_vec();
    }

    /// Returns what is behind it.
    fn release_orphan<'b>(
        &mut self,
        bytes: &'b [u8],
        mark: &Mark,
        config: &ProtocolConfig,
        out: &mut Vec<Signal>,
    ) -> &'b [u8] {
        self.protocol.assume_request();
        self.stream(Side::Response).awaiting = false;
        self.parse(Side::Response, bytes, false, mark, config, out)
    }
}

fn side_stream<'a>(role: Role, inbound: &'a Stream, outbound: &'a Stream, side: Side) -> &'a Stream {
    if (side == Side::Request) == (role == Role::Server) { inbound } else { outbound }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Inbound => Direction::Outbound,
        Direction::Outbound => Direction::Inbound,
    }
}
