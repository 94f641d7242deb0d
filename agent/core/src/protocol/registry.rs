//! The protocols whose requests are answered in order: a line for each.
//!
//! HTTP/2 has many exchanges at once and is followed apart (`crate::connection`).

use super::{Advance, Input, ProtocolConfig, Side, Sniff, http1, mysql, postgres, redis};
use alloc::boxed::Box;
use core::fmt::Debug;

/// In the order in which they are tried.
pub const PROTOCOLS: &[&Definition] =
    &[&http1::DEFINITION, &mysql::DEFINITION, &postgres::DEFINITION, &redis::DEFINITION];

/// What the engine has to know of a protocol.
#[derive(Debug)]
pub struct Definition {
    /// As its module and its folder of goldens are called.
    pub name: &'static str,
    /// Do these bytes start a message of this side? They are the first of a connection, or of a call somewhere in it. Looks at
    /// no more than 64. Conservative: a connection that is not recognised may be by its next call, one that is taken for
    /// another never is.
    pub sniff: fn(Side, &[u8]) -> Sniff,
    pub sides: Sides,
    pub sharing: Sharing,
    /// A parser at the start of the message that was recognised.
    pub parser: fn() -> Box<dyn Parser>,
}

/// How requests are told from responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// By their bytes, whatever is known of the connection's ends.
    ByBytes,
    /// Both may look alike: the end that connected sends the requests.
    ByRole,
}

/// Who may have requests in flight on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One at a time: whoever sends one waits for its response.
    Exclusive,
    /// Clients send requests of many callers without waiting.
    Pipelined,
}

/// A parser of one connection. See the contract in [`crate::protocol`].
pub trait Parser: Debug + Send {
    fn advance(&mut self, side: Side, input: Input<'_>, config: &ProtocolConfig) -> Advance;

    /// Offset of the next place in `bytes` where a message of `side` may start. `None`: no such place.
    fn resync(&self, side: Side, bytes: &[u8]) -> Option<usize>;

    /// The stream of `side` starts anew at a boundary found by [`Self::resync`]; the other side keeps its state.
    fn restart(&mut self, side: Side);

    /// The oldest `n` requests that still wait for a response are given up: the next response answers the one after.
    fn forget_requests(&mut self, n: usize);

    /// The request of the next response will not come: parse the response without it. Called only where `advance` said last
    /// [`AwaitRequest`](super::Step::AwaitRequest) on the response side, whose bytes are offered again.
    fn assume_request(&mut self);

    /// A request begins that was not offered yet. `true`: an answer whose end was not captured is over with what was offered of
    /// it, which the next call of `advance` says.
    fn request_begins(&mut self) -> bool {
        false
    }

    /// Where the answer in progress ends may be told by the next request only: nobody is known to wait for it.
    fn end_is_open(&self) -> bool {
        false
    }

    /// The answer in progress goes on behind a gap, whatever bytes in front of it were not consumed.
    fn spans_gaps(&self) -> bool {
        false
    }

    /// The connection goes on in TLS: a parser of the plaintext, where it matters what was said before.
    fn inside_tls(&self) -> Option<Box<dyn Parser>> {
        None
    }

    /// Bytes of what is remembered from one exchange to the next: prepared statements, say.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Forgets that: what refers to it will be unknown.
    fn forget_tables(&mut self) {}
}
