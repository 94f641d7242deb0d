//! PostgreSQL's protocol, versions 3.0 and 3.2, both sides of one connection.
//! <https://www.postgresql.org/docs/current/protocol.html>
//!
//! A request is a `Query`, an `Execute` or a `FunctionCall`. What prepares and binds comes in front of an `Execute` and is
//! answered with it; where no `Execute` follows, it is a request that is reported if it fails. So is the start of a session.

mod answer;
mod asked;
mod backend;
mod frontend;
mod message;
mod sniff;
mod statements;
mod strings;
mod tail;

use super::{Advance, Definition, Input, Parser, ProtocolConfig, Sharing, Side, Sides, Step, at};
use crate::sql::Backslashes;
use alloc::boxed::Box;
use alloc::sync::Arc;
use asked::{Asked, Kind};
use backend::Backend;
use frontend::Frontend;
use statements::Statements;

/// See [`super::PROTOCOLS`].
pub const DEFINITION: Definition = Definition {
    name: "postgres",
    sniff: sniff::sniff,
    // `E` is Execute or ErrorResponse, `C` is Close or CommandComplete, `D` is Describe or DataRow.
    sides: Sides::ByRole,
    // Clients pipeline, but a connection has a transaction, so it is one caller's until that is done.
    sharing: Sharing::Exclusive,
    parser: || Box::<Postgres>::default(),
};

/// Parser of one connection.
#[derive(Debug, Default)]
struct Postgres {
    frontend: Frontend,
    backend: Backend,
    session: Session,
}

/// What both sides know.
#[derive(Debug, Default)]
struct Session {
    asked: Asked,
    statements: Statements,
    /// The database, where the start of the session was seen.
    namespace: Option<Arc<str>>,
    /// What they are in strings, as far as the server said.
    backslashes: Backslashes,
    /// The server wants the data of a COPY.
    copying: bool,
    /// Messages were sent whose `Sync` was not.
    in_segment: bool,
    /// Some of them were lost.
    segment_doubtful: bool,
    /// TLS, GSS or replication from here on.
    upgraded: bool,
}

impl Parser for Postgres {
    fn advance(&mut self, side: Side, input: Input<'_>, config: &ProtocolConfig) -> Advance {
        match side {
            Side::Request => self.frontend.advance(&mut self.session, input, config),
            Side::Response => self.backend.advance(&mut self.session, input),
        }
    }

    fn resync(&self, side: Side, bytes: &[u8]) -> Option<usize> {
        sniff::resync(side, bytes)
    }

    fn restart(&mut self, side: Side) {
        match side {
            Side::Request => {
                self.frontend = Frontend::default();
                self.session.requests_lost();
            }
            Side::Response => self.backend.restart(&mut self.session),
        }
    }

    fn forget_requests(&mut self, n: usize) {
        self.backend.forget(&mut self.session, n);
    }

    fn assume_request(&mut self) {
        if self.session.asked.is_empty() {
            self.session.asked.push(Kind::Query, 0);
            self.backend.drain();
        }
    }

    fn held_bytes(&self) -> usize {
        self.session.statements.held_bytes()
    }

    fn forget_tables(&mut self) {
        self.session.forget_names();
    }
}

impl Session {
    /// A name may stand for another statement by now.
    fn forget_names(&mut self) {
        self.statements.clear();
        self.asked.forget_parses();
    }

    /// Some messages of the client were lost. If their `Sync` was among them, its answer is that of nobody.
    fn requests_lost(&mut self) {
        self.forget_names();
        self.backslashes = Backslashes::Unknown;
        self.copying = false;
        if self.in_segment && !self.segment_doubtful {
            self.segment_doubtful = true;
            self.asked.push(Kind::Lost, 0);
        }
    }

    /// Everything up to the next `ReadyForQuery` was sent.
    fn segment_ends(&mut self) {
        (self.in_segment, self.segment_doubtful) = (false, false);
    }
}

/// Consumed, and then so many bytes that nobody wants to see.
fn pass(consumed: usize, skip: u64) -> Advance {
    at(consumed as u64, if skip == 0 { Step::Continue } else { Step::Skip(skip) })
}
