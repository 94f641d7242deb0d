//! Protocols: pure machines that turn the two streams of a connection into messages. Pairing requests with responses
//! is not their business (`crate::exchange` does that), nor is time or identity.
//!
//! Contract, for any bytes, split anywhere, with gaps anywhere: a call consumes something, or produces something, or
//! asks for more; nothing panics; nothing grows past [`crate::limits`].
//!
//! How a stream drives a parser, one side at a time:
//! - Offer what is at the current position: [`Input::Bytes`] (possibly none), a [`Input::Gap`], or [`Input::Closed`].
//!   Move on by `Advance::consumed`, act on the step, and call again at once, even with nothing left to show: a message
//!   may be complete without another byte. Only [`Step::NeedMore`], [`Step::AwaitRequest`] and an unfinished
//!   [`Step::Skip`] end the round.
//! - Bytes that were answered with `NeedMore` and not consumed are offered again in front of those that follow. Where the close
//!   follows instead, they are dropped and it is offered. Where a gap follows, the place is lost with them: a parser that can go
//!   on behind a gap takes all bytes.
//! - A sequence of messages does not depend on where the bytes between two gaps were split, given that `call_end` is
//!   true for the last piece of a call only.

mod database;
mod fields;
pub mod http1;
pub mod http2;
mod mysql;
pub mod postgres;
mod redis;
mod registry;

use database::Handles;
pub use database::{DatabaseRequest, DatabaseResponse, DatabaseSystem, Reported};
pub use registry::{Definition, PROTOCOLS, Parser, Sharing, Sides};

use crate::sql::TextPolicy;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// Verdict of a sniffer on the first bytes of a stream (or of a record where a message may start).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniff {
    Yes,
    No,
    /// All bytes so far fit, but there are too few of them.
    Undecided,
}

/// Which way of a connection carries what. Independent of who is the traced process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Request,
    Response,
}

/// What a stream offers to the parser next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Bytes at the current position. `call_end`: the last of them is the last byte of a system call's data.
    Bytes { bytes: &'a [u8], call_end: bool },
    /// So many bytes at the current position were not captured. Never 0.
    Gap(u64),
    /// The stream ended (the connection was closed). `unskipped`: bytes of an unfinished [`Step::Skip`] that did not
    /// come, that is n less those that did; 0 where none was under way.
    Closed { unskipped: u64 },
}

/// What the parser made of it: `consumed` bytes (of the bytes, or of the gap) are done with, then `step` holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Advance {
    pub consumed: u64,
    pub step: Step,
}

fn at(consumed: u64, step: Step) -> Advance {
    Advance { consumed, step }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A request's head ended here. The head is exactly the bytes consumed by this call (empty lines in front of it
    /// are consumed apart, with `Continue`), so the message starts at the position that was offered.
    Request(Box<RequestHead>),
    /// A final response's head ended here; as above. Interim (1xx) responses are consumed with `Continue`.
    Response(Box<ResponseHead>),
    /// What was learnt of the response in progress since its head; it takes the head's place.
    Outcome(Box<ResponseHead>),
    /// The current message of this side is complete; it ended before the bytes offered.
    End(MessageEnd),
    /// Something was consumed; call again with what follows.
    Continue,
    /// After the consumed bytes, the next `n` bytes are body: do not show them, captured or not, and call again as soon
    /// as they have passed (`u64::MAX`: offer nothing but `Closed`).
    Skip(u64),
    /// Nothing more to do with what is there. Bytes that were not consumed are offered again with more behind them.
    NeedMore,
    /// Response side only: a response starts here but the request it answers has not been seen. Offer it again when
    /// the request side has moved, or call `assume_request`.
    AwaitRequest,
    /// The boundary is lost, and the current message of this side (if any) is void. What was consumed cannot start a
    /// message (a gap is consumed whole); search what follows with `resync`. Which request the next response answers
    /// may be lost with it: `forget_requests` drops those that will get none.
    Desync,
    /// Of a protocol with many exchanges at once on a connection: something of this one. As above, a head is exactly the
    /// bytes consumed.
    Stream(u32, StreamStep),
    /// The connection breaks its protocol, or a limit: nothing that it says can be believed from here on.
    Broken(http2::Broken),
    /// The connection speaks another protocol from here on (CONNECT, 101): nothing more will come of either side.
    Upgraded,
    /// As that, and the protocol is HTTP/2, whose first stream has the response to the last request (101 to `h2c`, RFC 7540
    /// section 3.2).
    UpgradedToHttp2,
}

/// What happened to one of several exchanges on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamStep {
    /// The request's head: the exchange starts.
    Request(Box<RequestHead>),
    /// The final response's head.
    Response(Box<ResponseHead>),
    /// A part of the body that is being sent starts.
    Data,
    /// Behind the response's body.
    Trailers { grpc_status: Option<u8> },
    /// One side is complete. With the response, so is the exchange.
    End(Side, MessageEnd),
    /// Either side gave the exchange up.
    Reset { code: u32 },
    /// A head that is none: no more is said of the exchange.
    Malformed,
    /// A response whose request will not be seen.
    Orphan,
    /// So many requests in front of this one were lost.
    RequestsLost(usize),
    /// Nothing was heard of it since a loss, and others need its place.
    ResponseLost,
}

/// End of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageEnd {
    /// Bytes of the body as sent on the wire, less chunk framing where all of it was seen; `None`: cannot be known.
    pub body_bytes: Option<u64>,
    /// The connection was closed before the message was complete. `body_bytes` are those that came.
    pub truncated: bool,
}

/// Head of a request. One variant per protocol family.
#[expect(clippy::large_enum_variant, reason = "it is boxed wherever it is kept")]
#[derive(Clone, Debug, PartialEq)]
pub enum RequestHead {
    Http(HttpRequest),
    Database(DatabaseRequest),
}

impl RequestHead {
    /// Memory behind it, about.
    pub fn held_bytes(&self) -> usize {
        let behind = match self {
            Self::Http(request) => request.held_bytes(),
            // Prepared statements are counted where they are remembered as well: that is on the safe side.
            Self::Database(request) => request.statement.held_bytes(),
        };
        size_of::<Self>() + behind
    }

    /// `None`: nobody knows.
    pub(crate) fn routine(&self) -> Option<Routine<'_>> {
        match self {
            Self::Http(request) => {
                request.is_known().then(|| Routine::new(&request.method, first_part(&request.target)))
            }
            Self::Database(request) => request.routine(),
        }
    }

    /// Nobody asked for it.
    pub(crate) fn is_of_session(&self) -> bool {
        matches!(self, Self::Database(request) if request.reported == Reported::IfFailed)
    }

    pub(crate) fn http(&self) -> Option<&HttpRequest> {
        if let Self::Http(request) = self { Some(request) } else { None }
    }
}

/// What calls to one place have in common that do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Routine<'a> {
    pub(crate) operation: &'a str,
    pub(crate) target: &'a str,
    /// See [`crate::sql::Statement::handle`]: it is of one connection.
    pub(crate) handle: Option<u64>,
}

impl<'a> Routine<'a> {
    pub(crate) fn new(operation: &'a str, target: &'a str) -> Self {
        Self { operation, target, handle: None }
    }
}

/// `/items` of `/items/17?page=2`: what follows is often another one each time.
fn first_part(target: &str) -> &str {
    let end = target.bytes().skip(1).position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    end.and_then(|end| target.get(..=end)).unwrap_or(target)
}

/// Head of a response.
#[derive(Clone, Debug, PartialEq)]
pub enum ResponseHead {
    Http(HttpResponse),
    Database(DatabaseResponse),
}

/// Shared by HTTP/1 and HTTP/2.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpRequest {
    /// As sent; known methods are borrowed. [`http2::UNKNOWN`] where it cannot be known.
    pub method: alloc::borrow::Cow<'static, str>,
    /// Request target as sent (origin, absolute, authority or asterisk form), cut to the attribute limit, invalid UTF-8
    /// replaced. [`http2::UNKNOWN`] where it cannot be known.
    pub target: String,
    /// "1.0", "1.1", "2".
    pub version: &'static str,
    /// `Host` or `:authority`; empty where there was none.
    pub host: String,
    pub user_agent: String,
    /// Raw values of trace context headers, parsed later.
    pub trace: TraceHeaders,
    /// Headers asked for with `--capture-header`: lower-case name, values in order.
    pub captured: Vec<(String, Vec<String>)>,
    /// The content type is that of gRPC.
    pub grpc: bool,
    /// Nanoseconds that a client of gRPC waits for the end (`grpc-timeout`).
    pub grpc_timeout: Option<u64>,
}

impl HttpRequest {
    /// The methods that the semantic conventions know by name.
    pub const KNOWN_METHODS: [&'static str; 9] =
        ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];

    fn held_bytes(&self) -> usize {
        let Self { method, target, version: _, host, user_agent, trace, captured, grpc: _, grpc_timeout: _ } = self;
        let TraceHeaders { traceparent, tracestate, b3, b3_trace_id, b3_span_id, jaeger } = trace;
        let optional =
            [traceparent, b3, b3_trace_id, b3_span_id, jaeger].into_iter().flatten().map(String::len).sum::<usize>();
        let captured = captured.iter().map(|(name, values)| name.len() + values.iter().map(String::len).sum::<usize>());
        let texts = method.len() + target.len() + host.len() + user_agent.len() + tracestate.len() + optional;
        texts + captured.sum::<usize>()
    }

    /// Neither method nor target is [`http2::UNKNOWN`].
    pub fn is_known(&self) -> bool {
        self.method != http2::UNKNOWN && self.target != http2::UNKNOWN
    }

    /// The method, if it is a known one.
    pub fn known_method(&self) -> Option<&'static str> {
        known_method(&self.method)
    }
}

/// `name` without its lifetime, if it is one of [`HttpRequest::KNOWN_METHODS`].
fn known_method(name: &str) -> Option<&'static str> {
    HttpRequest::KNOWN_METHODS.into_iter().find(|known| *known == name)
}

/// Raw trace context headers of a request, `None` or empty where there was none. One that came more than once is
/// invalid, kept as an empty string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceHeaders {
    pub traceparent: Option<String>,
    /// All `tracestate` headers joined with commas.
    pub tracestate: String,
    pub b3: Option<String>,
    pub b3_trace_id: Option<String>,
    pub b3_span_id: Option<String>,
    /// `uber-trace-id`.
    pub jaeger: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpResponse {
    /// 0: unknown.
    pub status: u16,
    pub version: &'static str,
    /// Content type or trailers are those of gRPC.
    pub grpc: bool,
    /// Of its trailers, wherever they are.
    pub grpc_status: Option<u8>,
}

/// What the operator asked of the parsers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtocolConfig {
    /// Lower-case names.
    pub capture_headers: Vec<String>,
    /// `db.query.text`.
    pub query_text: TextPolicy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_of_a_path_ends_where_the_next_begins() {
        let parts = ["", "/", "*", "/ü/x", "/items/17?page=2", "/items?page=3"].map(first_part);
        assert_eq!(parts, ["", "/", "*", "/ü", "/items", "/items"]);
    }
}
