//! Semantic conventions: from exchanges to attribute tables, one file per protocol family.

pub mod database;
pub mod http;
mod network;
mod tls;

use crate::event::{Ends, Tls};
use crate::protocol::{MessageEnd, RequestHead, ResponseHead};
use crate::span::{Attribute, SpanKind, Status};
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// `error.type` where no response came, or not all of it.
const CONNECTION_CLOSED: &str = "connection_closed";

/// One exchange, as the conventions see it.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// Server spans: this process received the request. Client spans: it sent it.
    pub kind: SpanKind,
    pub request: RequestHead,
    pub request_end: MessageEnd,
    /// `None`: the connection was closed before a response came.
    pub response: Option<(ResponseHead, MessageEnd)>,
    /// HTTP/2: the error code with which either side gave it up.
    pub reset: Option<u32>,
    /// From the request's start to the response's head.
    pub first_byte_ns: Option<u64>,
    /// From the request's start to the end.
    pub duration_ns: u64,
    /// It went through TLS.
    pub tls: Option<Tls>,
    /// The connection's ends, as this process sees them.
    pub ends: Ends<'a>,
}

/// What a span says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    pub name: Cow<'static, str>,
    pub status: Status,
    /// In no order that matters.
    pub attributes: Vec<Attribute>,
}

impl Exchange<'_> {
    /// `None`: it is of no interest.
    pub fn describe(self) -> Option<Described> {
        let Self { kind, request, request_end, response, reset, first_byte_ns, duration_ns, tls, ends } = self;
        match request {
            RequestHead::Http(request) => {
                let response = response.and_then(|(head, end)| match head {
                    ResponseHead::Http(response) => Some((response, end)),
                    ResponseHead::Database(_) => None,
                });
                let described = http::Exchange { kind, request, request_end, response, reset, duration_ns, tls, ends };
                let (name, status) = (described.name(), described.status());
                Some(Described { name, status, attributes: described.attributes() })
            }
            RequestHead::Database(request) => {
                let response = response.and_then(|(head, end)| match head {
                    ResponseHead::Database(response) => Some((response, end)),
                    ResponseHead::Http(_) => None,
                });
                database::Exchange { kind, request, response, first_byte_ns, tls, ends }.describe()
            }
        }
    }
}
