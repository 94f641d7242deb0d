//! The protocol of MySQL and MariaDB between client and server, both sides of one connection.
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>, <https://mariadb.com/kb/en/clientserver-protocol/>

mod answer;
mod attributes;
mod bulk;
mod command;
mod login;
mod lost;
mod mode;
mod namespace;
mod session;
mod sniff;
mod wire;

use super::{Advance, Definition, Input, Parser, ProtocolConfig, Sharing, Side, Sides, Step, at};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use namespace::Change;
use session::{Prepared, Session};

/// See [`super::PROTOCOLS`].
pub(super) const DEFINITION: Definition = Definition {
    name: "mysql",
    sniff: sniff::sniff,
    // Sequence numbers tell, but the end that connected is sure.
    sides: Sides::ByRole,
    // MariaDB's own clients send a preparation and its execution at once, for one caller.
    sharing: Sharing::Exclusive,
    parser: || Box::<MySql>::default(),
};

/// Parser of one connection. Requests and responses may be offered in any order.
#[derive(Debug, Default)]
struct MySql {
    session: Session,
    request: command::Side,
    response: answer::Side,
    /// Requests whose answer has not started, oldest first.
    asked: VecDeque<Asked>,
}

/// A request that will be answered.
#[derive(Debug)]
struct Asked {
    answer: Answer,
    /// What holds once it has succeeded.
    change: Option<Change>,
}

/// What an answer looks like, where it is no error.
#[derive(Debug)]
enum Answer {
    /// One packet, whatever is in it.
    Packet,
    /// The client may be asked for more before the last packet comes. It may go on compressed.
    Login { compressed: bool },
    /// For each statement one packet, or columns and rows. Of a cursor, only columns.
    Results { cursor: bool },
    /// The statement's number, and what its parameters and columns are.
    Prepared(Prepared),
    /// Rows that a cursor has.
    Rows,
    /// Columns of a table.
    Columns,
}

impl Parser for MySql {
    fn advance(&mut self, side: Side, input: Input<'_>, config: &ProtocolConfig) -> Advance {
        match side {
            Side::Request => self.request(input, config),
            Side::Response => self.response(input),
        }
    }

    /// At the start of the bytes only: packets have no mark by which to find them anywhere else.
    fn resync(&self, side: Side, bytes: &[u8]) -> Option<usize> {
        sniff::resync(side, bytes).then_some(0)
    }

    fn restart(&mut self, side: Side) {
        match side {
            Side::Request => {
                self.request = command::Side::behind_loss();
                // Among what was lost, statements may have been closed and their numbers given to others.
                self.session.forget();
            }
            Side::Response => self.response = answer::Side::behind_loss(),
        }
        self.doubt_asked();
    }

    fn forget_requests(&mut self, n: usize) {
        let forgotten = self.asked.drain(..n.min(self.asked.len()));
        if forgotten.into_iter().any(|asked| asked.change.is_some()) {
            self.session.namespace = None;
        }
    }

    fn assume_request(&mut self) {
        if self.asked.is_empty() {
            self.asked.push_back(Asked { answer: Answer::Results { cursor: false }, change: None });
        }
    }

    fn inside_tls(&self) -> Option<Box<dyn Parser>> {
        let session = self.session.inside_tls()?;
        Some(Box::new(Self { session, ..Self::default() }))
    }

    fn held_bytes(&self) -> usize {
        self.session.held_bytes()
    }

    fn forget_tables(&mut self) {
        self.session.forget_statements();
    }
}

impl MySql {
    /// It is not sure any more which answer is whose: what one of them brings is not believed.
    fn doubt_asked(&mut self) {
        for asked in &mut self.asked {
            if let Answer::Prepared(prepared) = &mut asked.answer {
                *prepared = Prepared::unknown();
            }
            if asked.change.take().is_some() {
                self.session.namespace = None;
            }
        }
    }
}
