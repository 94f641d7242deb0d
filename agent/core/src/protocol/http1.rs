//! HTTP/1.0 and 1.1 (RFC 9112), both sides of one connection.

mod body;
mod chunked;
mod framing;
mod head;
mod lost;
mod start_line;

use super::{
    Advance, Definition, HttpRequest, HttpResponse, Input, Parser, ProtocolConfig, RequestHead, ResponseHead, Sharing,
    Side, Sides, Sniff, Step, at,
};
use crate::limits::{HEAD_BYTES_MAX, PIPELINE_MAX};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use framing::{Asked, Body, Framing};
use head::Head;

/// See [`super::PROTOCOLS`].
pub const DEFINITION: Definition = Definition {
    name: "http1",
    sniff: start_line::sniff,
    sides: Sides::ByBytes,
    // It may pipeline, but nobody's clients do.
    sharing: Sharing::Exclusive,
    parser: || Box::<Http1>::default(),
};

/// Parser of one connection. Requests and responses may be offered in any order.
#[derive(Debug, Default)]
pub struct Http1 {
    request: State,
    response: State,
    /// Requests whose final response has not been seen, oldest first.
    asked: VecDeque<Asked>,
    upgraded: bool,
}

/// Where one side stands.
#[derive(Debug)]
enum State {
    /// At a head, or inside one.
    Head(Scan),
    /// Behind a head.
    Body(body::Reader),
}

/// What is known of the bytes at a head, which will be offered again.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    /// So many do not hold its end.
    bytes: usize,
    /// They hold a final response whose request has not been seen.
    awaits_request: bool,
}

impl Default for State {
    fn default() -> Self {
        Self::Head(Scan::default())
    }
}

impl Parser for Http1 {
    fn advance(&mut self, side: Side, input: Input<'_>, config: &ProtocolConfig) -> Advance {
        let upgraded = self.upgraded;
        let advance = match (self.side(side), input) {
            (State::Body(reader), input) => reader.read(side, input),
            (State::Head(_), _) if upgraded => at(0, Step::Upgraded),
            (&mut State::Head(scan), Input::Bytes { bytes, .. }) => self.head(side, bytes, scan, config),
            (State::Head(_), Input::Gap(n)) => at(n, Step::Desync),
            (State::Head(_), Input::Closed { .. }) => at(0, Step::NeedMore),
        };
        // What was offered in vain is not offered again behind the close.
        let closed = matches!(input, Input::Closed { .. }) && advance.step == Step::NeedMore;
        if closed || matches!(advance.step, Step::End(_) | Step::Desync) {
            self.restart(side);
        }
        advance
    }

    fn assume_request(&mut self) {
        if self.asked.is_empty() {
            self.asked.push_back(Asked::Plain);
        }
    }

    fn forget_requests(&mut self, n: usize) {
        self.asked.drain(..n.min(self.asked.len()));
    }

    fn restart(&mut self, side: Side) {
        *self.side(side) = State::default();
    }

    /// The start of the bytes, or the start of a line.
    fn resync(&self, side: Side, bytes: &[u8]) -> Option<usize> {
        start_line::resync(side, bytes)
    }
}

impl Http1 {
    fn side(&mut self, side: Side) -> &mut State {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    fn head(&mut self, side: Side, bytes: &[u8], scan: Scan, config: &ProtocolConfig) -> Advance {
        match start_line::empty_lines(bytes) {
            _ if bytes.is_empty() => at(0, Step::NeedMore),
            0 if side == Side::Request => self.request(bytes, scan, config),
            0 => self.response(bytes, scan),
            n => at(n as u64, Step::Continue),
        }
    }

    fn request(&mut self, bytes: &[u8], scan: Scan, config: &ProtocolConfig) -> Advance {
        // What follows a CONNECT may be a tunnel's first bytes; its response tells.
        let tunnel_pending = self.asked.back() == Some(&Asked::Connect) && bytes.len() < HEAD_BYTES_MAX;
        if tunnel_pending && start_line::sniff(Side::Request, bytes) != Sniff::Yes {
            return at(0, Step::NeedMore);
        }
        match head::request(bytes, scan.bytes, config) {
            Head::Complete { head: (request, body), bytes } => self.request_head(request, body, bytes as u64),
            Head::Partial => self.wait(Side::Request, Scan { bytes: bytes.len(), ..scan }),
            Head::Malformed { bytes } => at(bytes as u64, Step::Desync),
        }
    }

    fn request_head(&mut self, request: HttpRequest, body: Body, consumed: u64) -> Advance {
        if self.asked.len() == PIPELINE_MAX {
            return at(consumed, Step::Desync);
        }
        self.asked.push_back(match &*request.method {
            "HEAD" => Asked::Head,
            "CONNECT" => Asked::Connect,
            _ => Asked::Plain,
        });
        self.request = State::Body(body::Reader::new(body));
        at(consumed, Step::Request(Box::new(RequestHead::Http(request))))
    }

    fn response(&mut self, bytes: &[u8], scan: Scan) -> Advance {
        if scan.awaits_request && self.asked.is_empty() {
            return at(0, Step::AwaitRequest);
        }
        match head::response(bytes, scan.bytes) {
            Head::Complete { head: (response, framing), bytes } => self.response_head(response, framing, bytes as u64),
            Head::Partial => self.wait(Side::Response, Scan { bytes: bytes.len(), ..scan }),
            Head::Malformed { bytes } => at(bytes as u64, Step::Desync),
        }
    }

    fn response_head(&mut self, response: HttpResponse, framing: Framing, consumed: u64) -> Advance {
        if is_interim(response.status) {
            self.restart(Side::Response);
            return at(consumed, Step::Continue);
        }
        let Some(asked) = self.asked.pop_front() else {
            self.response = State::Head(Scan { awaits_request: true, bytes: 0 });
            return at(0, Step::AwaitRequest);
        };
        if response.status == SWITCHING_PROTOCOLS && framing.h2c {
            self.upgraded = true;
            return at(consumed, Step::UpgradedToHttp2);
        }
        let Ok(body) = framing.response(response.version, response.status, asked) else {
            return at(consumed, Step::Desync);
        };
        self.upgraded = response.status == SWITCHING_PROTOCOLS || asked.tunnels(response.status);
        self.response = State::Body(body::Reader::new(body));
        at(consumed, Step::Response(Box::new(ResponseHead::Http(response))))
    }

    fn wait(&mut self, side: Side, scan: Scan) -> Advance {
        *self.side(side) = State::Head(scan);
        at(0, Step::NeedMore)
    }
}

const SWITCHING_PROTOCOLS: u16 = 101;

fn is_interim(status: u16) -> bool {
    matches!(status, 100..=199) && status != SWITCHING_PROTOCOLS
}
