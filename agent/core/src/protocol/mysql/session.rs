//! What a session remembers from one request to the next.

use super::login::Greeting;
use super::mode::Mode;
use super::namespace::Change;
use super::wire::capability;
use crate::limits::{STATEMENTS_BYTES_MAX, STATEMENTS_MAX};
use crate::protocol::{DatabaseSystem, Handles};
use crate::sql::Statement;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) system: DatabaseSystem,
    /// Of the server, where its greeting was seen.
    server_capabilities: Option<u32>,
    /// Results end with an OK, and columns with nothing. `None`: not seen yet.
    pub(super) without_eof: Option<bool>,
    /// The database, where its choice was seen.
    pub(super) namespace: Option<Arc<str>>,
    pub(super) mode: Mode,
    /// By number.
    statements: BTreeMap<u32, Prepared>,
    statement_bytes: usize,
    handles: Handles,
    /// What the number [`LAST_PREPARED`] stands for.
    pub(super) last_prepared: Option<Prepared>,
    /// Both ends go on with something else: compressed packets, TLS, or a stream of events.
    pub(super) is_opaque: bool,
    /// It is TLS.
    pub(super) is_tls: bool,
}

/// A prepared statement.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) statement: Arc<Statement>,
    pub(super) change: Option<Change>,
    /// How many it has, once the server has said so.
    pub(super) parameters: Option<u16>,
}

/// MariaDB's number for the statement that was prepared last: its client need not have the answer yet.
pub(super) const LAST_PREPARED: u32 = u32::MAX;

impl Prepared {
    pub(super) fn unknown() -> Self {
        Self::unseen(None)
    }

    fn unseen(handle: Option<u64>) -> Self {
        Self { statement: Arc::new(Statement::unknown(handle)), change: None, parameters: None }
    }

    fn held_bytes(&self) -> usize {
        size_of::<(u32, Self)>() + size_of::<Statement>() + self.statement.held_bytes()
    }
}

impl Default for Session {
    /// Where nothing tells, it is MySQL, whose protocol it is.
    fn default() -> Self {
        Self {
            system: DatabaseSystem::MySql,
            server_capabilities: None,
            without_eof: None,
            namespace: None,
            mode: Mode::default(),
            statements: BTreeMap::new(),
            statement_bytes: 0,
            handles: Handles::default(),
            last_prepared: None,
            is_opaque: false,
            is_tls: false,
        }
    }
}

impl Session {
    pub(super) fn greeted(&mut self, greeting: Greeting) {
        self.system = greeting.system;
        self.server_capabilities = Some(greeting.capabilities);
    }

    /// The greeting comes in front of TLS, and all else inside it.
    pub(super) fn inside_tls(&self) -> Option<Self> {
        let Self { system, server_capabilities, is_tls, .. } = *self;
        (is_tls && server_capabilities.is_some()).then(|| Self { system, server_capabilities, ..Self::default() })
    }

    /// The client told what it can do, and `extended` what only MariaDB can. Returns whether packets are compressed after the
    /// login.
    pub(super) fn negotiated(&mut self, client: u32, extended: u32) -> bool {
        self.mode = Mode::start();
        if extended != 0 {
            self.system = DatabaseSystem::MariaDb;
        }
        let both = client & self.server_capabilities.unwrap_or(u32::MAX);
        let eof_is_sure = self.server_capabilities.is_some() || client & capability::DEPRECATE_EOF == 0;
        self.without_eof = eof_is_sure.then_some(both & capability::DEPRECATE_EOF != 0);
        both & (capability::COMPRESS | capability::ZSTD) != 0
    }

    pub(super) fn prepared(&mut self, number: u32, prepared: Prepared) {
        self.closed(number);
        self.statement_bytes += prepared.held_bytes();
        self.statements.insert(number, prepared);
        // Numbers are given in order: the lowest is the oldest.
        while self.statements.len() > STATEMENTS_MAX || self.statement_bytes > STATEMENTS_BYTES_MAX {
            let Some((_, oldest)) = self.statements.pop_first() else { break };
            self.statement_bytes -= oldest.held_bytes();
            self.handles.expire();
        }
    }

    pub(super) fn closed(&mut self, number: u32) {
        if let Some(closed) = self.statements.remove(&number) {
            self.statement_bytes -= closed.held_bytes();
        }
    }

    pub(super) fn statement(&self, number: u32) -> Prepared {
        let found = if number == LAST_PREPARED { self.last_prepared.as_ref() } else { self.statements.get(&number) };
        let handle = (number != LAST_PREPARED).then(|| self.handles.of(number));
        found.cloned().unwrap_or_else(|| Prepared::unseen(handle))
    }

    pub(super) fn forget_statements(&mut self) {
        self.statements.clear();
        self.statement_bytes = 0;
        self.last_prepared = None;
        self.handles.expire();
    }

    /// Requests were lost.
    pub(super) fn forget(&mut self) {
        self.forget_statements();
        self.namespace = None;
        self.mode.doubt();
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.statement_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_of_what_was_not_seen_hold_until_numbers_may_have_been_given_anew() {
        let mut session = Session::default();
        let unseen = |session: &Session, number| session.statement(number).statement.handle;
        let first = unseen(&session, 1);
        assert_eq!((unseen(&session, 1), first.is_some()), (first, true));
        assert_ne!(unseen(&session, 2), first);
        assert_eq!(unseen(&session, LAST_PREPARED), None, "it is another one each time");
        session.forget();
        assert_ne!(unseen(&session, 1), first);
    }
}
