//! HTTP/1.0 and 1.1 (RFC 9112), both sides of one connection.

use super::{Advance, Input, ProtocolConfig, Side, Sniff, Step};

/// Parser of one connection. Requests and responses may be offered in any order.
#[derive(Debug, Default)]
pub struct Http1 {}

impl Http1 {
    /// Do these bytes start a request (`Side::Request`) or a response? Looks at no more than 64 bytes.
    pub fn sniff(_side: Side, _bytes: &[u8]) -> Sniff {
        Sniff::Undecided
    }

    /// See [`Step`].
    pub fn advance(&mut self, _side: Side, _input: Input<'_>, _config: &ProtocolConfig) -> Advance {
        Advance { consumed: 0, step: Step::NeedMore }
    }

    /// The request of the next response will not come: parse the response as the answer to a GET.
    pub fn assume_request(&mut self) {}

    /// The oldest `n` requests that still wait for a response are given up: the next response answers the one after.
    pub fn forget_requests(&mut self, _n: usize) {}

    /// The stream of `side` starts anew at a message boundary found by [`Self::resync`]; the other side keeps its state.
    pub fn restart(&mut self, _side: Side) {}

    /// Offset of the next place in `bytes` where a message of `side` may start: the start of the bytes, or the start of
    /// a line. `None`: no such place.
    pub fn resync(_side: Side, _bytes: &[u8]) -> Option<usize> {
        None
    }
}
