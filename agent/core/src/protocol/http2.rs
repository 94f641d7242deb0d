//! HTTP/2 (RFC 9113): both sides of one connection, from its preface or from the middle of it.
//!
//! Frames are taken whole, but for the payloads of those that say nothing: they are passed over. A header block is taken
//! with all its continuations, so that a head is the bytes of one step, as in HTTP/1.
//!
//! What a header list says depends on all those before it. After a loss, and in the middle of a connection, what came
//! before is unknown, and so is what refers to it ([`UNKNOWN`]); it is never taken for something else. For that, the
//! place where frames start must be sure as well: see [`proof`].

pub mod frame;
mod head;
pub mod hpack;
mod proof;
mod streams;

use super::{Advance, Input, ProtocolConfig, RequestHead, ResponseHead, Side, Sniff, Step, StreamStep, at};
use crate::limits::{CONTINUATIONS_MAX, HEAD_BYTES_MAX};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use frame::{END_HEADERS, END_STREAM, HEADER_BYTES, Header, Kind};
use head::Head;
use hpack::Decoder;
use streams::Streams;

/// Stands for a method or path that cannot be known.
pub const UNKNOWN: &str = "<unknown>";

/// What a client starts with (section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const SETTINGS_MAX_CONCURRENT_STREAMS: u16 = 3;
const SETTINGS_MAX_FRAME_SIZE: u16 = 5;
/// Largest value of that.
const FRAME_BYTES_MAX: u32 = (1 << 24) - 1;
/// Payload of SETTINGS that is looked at; no endpoint has so many.
const SETTINGS_BYTES_MAX: u32 = 1_024;
/// Header blocks that make no sense, after which the place was never right.
const REFUSED_BLOCKS_MAX: u8 = 4;

/// Why a connection is not followed any more: what its peer would end it for, or a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A frame that must not be there.
    Protocol,
    /// A frame of a size that was not agreed on, or that its kind does not have.
    FrameSize,
    /// A header block that is none.
    Compression,
    /// A header block, or the number of its parts, past a limit.
    HeadTooLong,
    /// More streams at once than are followed.
    TooManyStreams,
}

/// Parser of one connection. Both sides may be offered in any order.
#[derive(Debug)]
pub struct Http2 {
    request: Half,
    response: Half,
    streams: Streams,
    /// Streams that the server takes at once. `None`: what it said of that may not have been seen.
    streams_max: Option<u32>,
}

/// Where one side stands.
#[derive(Debug)]
struct Half {
    /// The preface comes first.
    preface: bool,
    decoder: Decoder,
    /// The longest frame that the other side takes.
    frame_bytes_max: u32,
    /// Payload in front of the next frame that nobody wants to see.
    skip: u32,
    /// The stream that this side ends with that payload.
    ends: Option<u32>,
    /// What is to be said before anything else is read.
    said: VecDeque<(u32, StreamStep)>,
    refused_blocks: u8,
}

impl Half {
    fn new(preface: bool) -> Self {
        let decoder = Decoder::default();
        let frame_bytes_max = frame::PAYLOAD_DEFAULT_BYTES;
        Self { preface, decoder, frame_bytes_max, skip: 0, ends: None, said: VecDeque::new(), refused_blocks: 0 }
    }

    fn in_the_middle() -> Self {
        Self { decoder: Decoder::in_the_middle(), frame_bytes_max: FRAME_BYTES_MAX, ..Self::new(false) }
    }
}

/// A whole header block at the start of some bytes.
struct Block<'b> {
    header: Header,
    /// Fragments of all its frames.
    fragments: Fragments<'b>,
    bytes: usize,
}

/// Most blocks are one frame.
enum Fragments<'b> {
    One(&'b [u8]),
    Many(Vec<u8>),
}

impl Fragments<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes,
        }
    }
}

/// What stands in the way of the next step.
enum Stop {
    NeedMore,
    Broken(Broken),
}

impl From<frame::Fault> for Stop {
    fn from(fault: frame::Fault) -> Self {
        Self::Broken(match fault {
            frame::Fault::Size => Broken::FrameSize,
            frame::Fault::Protocol => Broken::Protocol,
        })
    }
}

impl Http2 {
    /// For a connection whose client is about to send the preface.
    pub fn new() -> Self {
        let (request, response) = (Half::new(true), Half::new(false));
        Self { request, response, streams: Streams::new(), streams_max: Some(u32::MAX) }
    }

    /// For a connection that HTTP/1 asked to go on so: its last request, all of which was seen, is that of stream 1.
    pub fn upgraded() -> Self {
        // What the request says of settings is not read.
        let response = Half { frame_bytes_max: FRAME_BYTES_MAX, ..Half::new(false) };
        Self { request: Half::new(true), response, streams: Streams::upgraded(), streams_max: Some(u32::MAX) }
    }

    /// For a connection that has been in use before.
    pub fn in_the_middle() -> Self {
        let (request, response) = (Half::in_the_middle(), Half::in_the_middle());
        Self { request, response, streams: Streams::default(), streams_max: None }
    }

    /// Does a client's first call start so? Looks at no more than 24 bytes. What servers start with is looked at by
    /// [`Self::may_be_settings`].
    pub fn sniff(bytes: &[u8]) -> Sniff {
        match bytes {
            _ if bytes.starts_with(PREFACE) => Sniff::Yes,
            _ if PREFACE.starts_with(bytes) => Sniff::Undecided,
            _ => Sniff::No,
        }
    }

    /// Servers start with SETTINGS, perhaps before the preface has come. That is too little to tell by.
    pub fn may_be_settings(bytes: &[u8]) -> bool {
        // What is missing of the header, as it would be.
        let mut start = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let known = bytes.len().min(start.len());
        start[..known].copy_from_slice(&bytes[..known]);
        let fits = |header: &Header| header.is_plausible() && header.length <= SETTINGS_BYTES_MAX;
        Header::parse(&start).filter(fits).is_some_and(|header| header.kind == Kind::Settings)
    }

    /// Is this a frame's header and nothing else, as those read it who read its payload by another call?
    pub fn is_header(bytes: &[u8]) -> bool {
        let header = Header::parse(bytes).filter(|_| bytes.len() == HEADER_BYTES);
        header.is_some_and(|header| header.is_plausible() && header.length > 0)
    }

    /// Whose frames start here, in the midst of a connection of which nothing is known; see [`proof::side`]. `bytes`:
    /// those of a call, from its first one on. `whole`: all of them.
    pub fn sniff_middle(bytes: &[u8], whole: bool) -> Option<Side> {
        proof::side(bytes, whole)
    }

    /// Frames start here, as [`Self::sniff_middle`] would find them, but for whose they are.
    pub fn may_be_frames(bytes: &[u8], whole: bool) -> bool {
        proof::are_frames(bytes, whole)
    }

    /// Do these bytes of a call, from its first one on, start with a frame? To be asked after a loss.
    pub fn resync(&self, side: Side, bytes: &[u8], whole: bool) -> bool {
        match self.streams.any_seen() {
            true => proof::goes_on(side, bytes, whole, &self.streams),
            false => proof::side(bytes, whole) == Some(side),
        }
    }

    /// `side` goes on with a frame, behind a loss.
    pub fn restart(&mut self, side: Side) {
        self.streams.lost(side);
        if side == Side::Response {
            self.streams_max = None;
        }
        let half = self.half(side);
        half.preface = false;
        half.decoder.forget();
        (half.skip, half.ends) = (0, None);
    }

    /// The request of the response that is waited with will not come.
    pub fn assume_request(&mut self) {
        self.streams.assume_request();
    }

    /// Nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    /// Streams that the server takes at once. `None`: what it said of that may not have been seen.
    pub fn streams_max(&self) -> Option<u32> {
        self.streams_max
    }

    /// Gives up the streams of which nothing was heard since a loss.
    pub fn give_up_silent(&mut self) -> Vec<u32> {
        self.streams.take_silent()
    }

    /// Memory of the header tables, about.
    pub fn held_bytes(&self) -> usize {
        self.request.decoder.held_bytes() + self.response.decoder.held_bytes()
    }

    /// Forgets what the header tables hold: what refers to it will be unknown.
    pub fn forget_tables(&mut self) {
        self.request.decoder.forget();
        self.response.decoder.forget();
    }

    /// See [`Step`].
    pub fn advance(&mut self, side: Side, input: Input<'_>, config: &ProtocolConfig) -> Advance {
        if let Some((stream, step)) = self.half(side).said.pop_front() {
            return at(0, Step::Stream(stream, step));
        }
        let skip = core::mem::take(&mut self.half(side).skip);
        if skip > 0 {
            return at(0, Step::Skip(u64::from(skip)));
        }
        let ends = self.half(side).ends.take();
        match (ends, input) {
            (Some(_), Input::Closed { unskipped: 1.. }) | (None, Input::Closed { .. }) => at(0, Step::NeedMore),
            (Some(stream), _) => match self.end(side, stream) {
                Some(step) => at(0, Step::Stream(stream, step)),
                None => self.advance_behind(side, input, config),
            },
            (None, _) => self.advance_behind(side, input, config),
        }
    }

    fn advance_behind(&mut self, side: Side, input: Input<'_>, config: &ProtocolConfig) -> Advance {
        match input {
            Input::Bytes { bytes, .. } => match self.frame(side, bytes, config) {
                Ok(advance) => advance,
                Err(Stop::NeedMore) => at(0, Step::NeedMore),
                Err(Stop::Broken(why)) => at(bytes.len() as u64, Step::Broken(why)),
            },
            Input::Gap(n) => at(n, Step::Desync),
            Input::Closed { .. } => at(0, Step::NeedMore),
        }
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    // === frames ===

    fn frame(&mut self, side: Side, bytes: &[u8], config: &ProtocolConfig) -> Result<Advance, Stop> {
        if self.half(side).preface && !bytes.is_empty() {
            return match Self::sniff(bytes) {
                Sniff::Yes => {
                    self.half(side).preface = false;
                    Ok(at(PREFACE.len() as u64, Step::Continue))
                }
                Sniff::Undecided => Err(Stop::NeedMore),
                Sniff::No => Err(Stop::Broken(Broken::Protocol)),
            };
        }
        let header = Header::parse(bytes).ok_or(Stop::NeedMore)?;
        header.check()?;
        if header.length > self.half(side).frame_bytes_max {
            return Err(Stop::Broken(Broken::FrameSize));
        }
        match header.kind {
            Kind::Data => self.data(side, header, bytes),
            Kind::Headers | Kind::PushPromise => self.headers(side, bytes, config),
            Kind::Continuation => Err(Stop::Broken(Broken::Protocol)),
            Kind::RstStream => self.reset(side, header, bytes),
            Kind::Settings if header.length <= SETTINGS_BYTES_MAX => self.settings(side, header, bytes),
            Kind::GoAway => self.go_away(side, bytes),
            Kind::Priority | Kind::Settings | Kind::Ping | Kind::WindowUpdate | Kind::Unknown(_) => {
                Ok(self.pass(side, header.length, HEADER_BYTES))
            }
        }
    }

    /// Takes the first `taken` bytes, and passes over `rest` behind them.
    fn pass(&mut self, side: Side, rest: u32, taken: usize) -> Advance {
        self.half(side).skip = rest;
        at(taken as u64, Step::Continue)
    }

    fn data(&mut self, side: Side, header: Header, bytes: &[u8]) -> Result<Advance, Stop> {
        let taken = HEADER_BYTES + header.front_bytes();
        let front = bytes.get(HEADER_BYTES..taken).ok_or(Stop::NeedMore)?;
        let padding = front.first().map_or(0, |padding| u32::from(*padding));
        let rest = header.length.checked_sub(front.len() as u32).ok_or(Stop::Broken(Broken::FrameSize))?;
        let content = rest.checked_sub(padding).ok_or(Stop::Broken(Broken::Protocol))?;
        if self.streams.waits_for_request(side, header.stream, false) {
            return Ok(at(0, Step::AwaitRequest));
        }
        let known = self.streams.data(side, header.stream, content);
        if header.has(END_STREAM) {
            self.half(side).ends = Some(header.stream);
        }
        self.half(side).skip = rest;
        let step = if known { Step::Stream(header.stream, StreamStep::Data) } else { Step::Continue };
        Ok(at(taken as u64, step))
    }

    fn reset(&mut self, side: Side, header: Header, bytes: &[u8]) -> Result<Advance, Stop> {
        let payload = payload(header, bytes)?;
        let code = frame::word(payload).unwrap_or_default();
        if self.streams.waits_for_request(side, header.stream, false) {
            return Ok(at(0, Step::AwaitRequest));
        }
        let step = match self.streams.reset(header.stream) {
            true => Step::Stream(header.stream, StreamStep::Reset { code }),
            false => Step::Continue,
        };
        Ok(at(header.frame_bytes() as u64, step))
    }

    fn settings(&mut self, side: Side, header: Header, bytes: &[u8]) -> Result<Advance, Stop> {
        let payload = payload(header, bytes)?;
        let streams = frame::settings(payload).filter(|(id, _)| *id == SETTINGS_MAX_CONCURRENT_STREAMS);
        if let (Side::Response, Some((_, streams))) = (side, streams.last()) {
            self.streams_max = Some(streams);
        }
        let sizes = frame::settings(payload).filter(|(id, _)| *id == SETTINGS_MAX_FRAME_SIZE);
        if let Some((_, size)) = sizes.last() {
            // Smaller ones count once they are acknowledged.
            let other = self.half(opposite(side));
            other.frame_bytes_max = other.frame_bytes_max.max(size.min(FRAME_BYTES_MAX));
        }
        Ok(at(header.frame_bytes() as u64, Step::Continue))
    }

    /// Streams above the last one will not be worked on (section 6.8).
    fn go_away(&mut self, side: Side, bytes: &[u8]) -> Result<Advance, Stop> {
        let header = Header::parse(bytes).ok_or(Stop::NeedMore)?;
        let last = bytes.get(HEADER_BYTES..).and_then(frame::word).ok_or(Stop::NeedMore)? & 0x7fff_ffff;
        if side == Side::Response {
            let refused = self.streams.refuse_above(last);
            let step = StreamStep::Reset { code: REFUSED_STREAM };
            self.response.said.extend(refused.into_iter().map(|stream| (stream, step.clone())));
        }
        Ok(self.pass(side, header.length - 4, HEADER_BYTES + 4))
    }

    /// This side of the stream is complete.
    fn end(&mut self, side: Side, stream: u32) -> Option<StreamStep> {
        let (unfinished, end) = self.streams.end(side, stream)?;
        // Answered before all of it was there: nobody reads the rest.
        if let Some(unfinished) = unfinished {
            let step = StreamStep::End(side, end);
            self.half(side).said.push_back((stream, step));
            return Some(StreamStep::End(Side::Request, unfinished));
        }
        Some(StreamStep::End(side, end))
    }

    // === header blocks ===

    fn headers(&mut self, side: Side, bytes: &[u8], config: &ProtocolConfig) -> Result<Advance, Stop> {
        let block = block(bytes)?;
        let stream = block.header.stream;
        let pushed = block.header.kind == Kind::PushPromise;
        if !pushed && self.streams.waits_for_request(side, stream, true) {
            return Ok(at(0, Step::AwaitRequest));
        }
        let mut head = Head::default();
        let decoder = &mut self.half(side).decoder;
        let (was_partial, list) =
            (decoder.is_partial(), decoder.decode(block.fragments.bytes(), |f| head.add(f, config)));
        let taken = block.bytes as u64;
        let Ok(list) = list else { return self.refuse(side, was_partial, taken) };
        if pushed {
            return Ok(at(taken, Step::Continue));
        }
        let malformed = list.too_long || head.is_malformed(side);
        if block.header.has(END_STREAM) {
            self.half(side).ends = Some(stream);
        }
        let step = match side {
            Side::Request => self.request(stream, head, malformed)?,
            Side::Response => self.response(stream, head, malformed),
        };
        Ok(at(taken, step.map_or(Step::Continue, |step| Step::Stream(stream, step))))
    }

    /// A block that is none: in the middle, the place may have been wrong.
    fn refuse(&mut self, side: Side, was_partial: bool, taken: u64) -> Result<Advance, Stop> {
        let half = self.half(side);
        half.refused_blocks = half.refused_blocks.saturating_add(1);
        if !was_partial || half.refused_blocks > REFUSED_BLOCKS_MAX {
            return Err(Stop::Broken(Broken::Compression));
        }
        Ok(at(taken, Step::Desync))
    }

    fn request(&mut self, stream: u32, head: Head, malformed: bool) -> Result<Option<StreamStep>, Stop> {
        if stream.is_multiple_of(2) {
            return Err(Stop::Broken(Broken::Protocol));
        }
        if !self.streams.is_new(stream) {
            // Trailers, or a stream that is over.
            return Ok(None);
        }
        if self.streams.is_full() {
            let silent = self.streams.take_silent().into_iter();
            self.request.said.extend(silent.map(|stream| (stream, StreamStep::ResponseLost)));
        }
        let lost = self.streams.open(stream).map_err(|_| Stop::Broken(Broken::TooManyStreams))?;
        if lost > 0 {
            self.request.said.push_back((stream, StreamStep::RequestsLost(lost)));
        }
        if malformed {
            self.streams.reset(stream);
            return Ok(Some(StreamStep::Malformed));
        }
        Ok(Some(StreamStep::Request(Box::new(RequestHead::Http(head.request())))))
    }

    fn response(&mut self, stream: u32, head: Head, malformed: bool) -> Option<StreamStep> {
        match self.streams.response(stream, head.status()) {
            streams::Place::Interim => None,
            streams::Place::Head if malformed => {
                self.streams.reset(stream);
                Some(StreamStep::Malformed)
            }
            streams::Place::Head => Some(StreamStep::Response(Box::new(ResponseHead::Http(head.response())))),
            streams::Place::Trailers => {
                Some(StreamStep::Trailers { grpc_status: head.grpc_status() }).filter(|_| head.grpc_status().is_some())
            }
            streams::Place::Orphan => Some(StreamStep::Orphan),
            streams::Place::Nowhere => None,
        }
    }
}

impl Default for Http2 {
    fn default() -> Self {
        Self::new()
    }
}

/// `REFUSED_STREAM`
const REFUSED_STREAM: u32 = 7;

fn payload(header: Header, bytes: &[u8]) -> Result<&[u8], Stop> {
    bytes.get(HEADER_BYTES..header.frame_bytes()).ok_or(Stop::NeedMore)
}

/// The header block that starts here: HEADERS or PUSH_PROMISE, and its continuations, which nothing may come between.
fn block(bytes: &[u8]) -> Result<Block<'_>, Stop> {
    let header = Header::parse(bytes).ok_or(Stop::NeedMore)?;
    let mut total = within_limit(header.frame_bytes())?;
    let first = header.content(payload(header, bytes)?)?;
    if header.has(END_HEADERS) {
        return Ok(Block { header, fragments: Fragments::One(first), bytes: total });
    }
    let mut fragments = first.to_vec();
    for _ in 0..CONTINUATIONS_MAX {
        let rest = &bytes[total..];
        let next = Header::parse(rest).ok_or(Stop::NeedMore)?;
        if (next.kind, next.stream) != (Kind::Continuation, header.stream) {
            return Err(Stop::Broken(Broken::Protocol));
        }
        total = within_limit(total + next.frame_bytes())?;
        fragments.extend_from_slice(payload(next, rest)?);
        if next.has(END_HEADERS) {
            return Ok(Block { header, fragments: Fragments::Many(fragments), bytes: total });
        }
    }
    Err(Stop::Broken(Broken::HeadTooLong))
}

fn within_limit(bytes: usize) -> Result<usize, Stop> {
    if bytes > HEAD_BYTES_MAX { Err(Stop::Broken(Broken::HeadTooLong)) } else { Ok(bytes) }
}

fn opposite(side: Side) -> Side {
    match side {
        Side::Request => Side::Response,
        Side::Response => Side::Request,
    }
}
