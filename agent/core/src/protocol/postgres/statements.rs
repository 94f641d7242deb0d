//! Prepared statements and portals by name, as far as they were seen. A name never stands for a wrong text: rather for none.

use crate::limits::{STATEMENTS_BYTES_MAX, STATEMENTS_MAX};
use crate::map::HashMap;
use crate::protocol::Handles;
use crate::sql::Statement;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A longer name is not remembered; the server cuts those of SQL to 63 bytes.
pub(super) const NAME_BYTES_MAX: usize = 256;
/// Stands for any such name: none has this byte.
pub(super) const TOO_LONG: &[u8] = &[0];
/// Named portals: cursors of a transaction.
const PORTALS_MAX: usize = 64;
/// What an entry takes besides name and statement.
const ENTRY_BYTES: usize = 96;

#[derive(Debug, Default)]
pub(super) struct Statements {
    known: HashMap<Box<[u8]>, Known>,
    known_bytes: usize,
    /// Of the newest.
    sequence: u64,
    /// Parsed, for all that the client knows, oldest first.
    unconfirmed: VecDeque<Unconfirmed>,
    unconfirmed_bytes: usize,
    unnamed_portal: Option<Arc<Statement>>,
    portals: Vec<(Box<[u8]>, Arc<Statement>)>,
    unknown: Option<Arc<Statement>>,
    handles: Handles,
}

#[derive(Debug)]
struct Known {
    statement: Arc<Statement>,
    sequence: u64,
}

/// A `Parse` whose `ParseComplete` did not come yet.
#[derive(Debug)]
struct Unconfirmed {
    name: Box<[u8]>,
    /// `None`: it was closed since.
    statement: Option<Arc<Statement>>,
}

impl Unconfirmed {
    fn bytes(&self) -> usize {
        cost(&self.name, self.statement.as_deref())
    }
}

fn cost(name: &[u8], statement: Option<&Statement>) -> usize {
    ENTRY_BYTES + name.len() + statement.map_or(0, Statement::held_bytes)
}

impl Statements {
    pub(super) fn held_bytes(&self) -> usize {
        let portals = self.portals.iter().map(|(name, statement)| cost(name, Some(statement)));
        self.known_bytes + self.unconfirmed_bytes + portals.sum::<usize>()
    }

    pub(super) fn clear(&mut self) {
        *self = Self { unknown: self.unknown.take(), handles: self.handles, ..Self::default() };
        self.handles.expire();
    }

    pub(super) fn unknown(&mut self) -> Arc<Statement> {
        Arc::clone(self.unknown.get_or_insert_with(|| Arc::new(Statement::unknown(None))))
    }

    /// That of no name, or of one that is not remembered, is another one each time.
    fn unseen(&mut self, name: &[u8]) -> Arc<Statement> {
        match name {
            [] | TOO_LONG => self.unknown(),
            _ => Arc::new(Statement::unknown(Some(self.handles.of(name)))),
        }
    }

    /// `false`: too many wait for their confirmation.
    pub(super) fn parse(&mut self, name: &[u8], statement: &Arc<Statement>) -> bool {
        let parsed = Unconfirmed { name: name.into(), statement: Some(Arc::clone(statement)) };
        // Even a `Parse` that fails leaves no unnamed statement behind.
        if name.is_empty() {
            self.remove(name);
        }
        self.unconfirmed_bytes += parsed.bytes();
        self.unconfirmed.push_back(parsed);
        self.unconfirmed.len() <= STATEMENTS_MAX && self.unconfirmed_bytes <= STATEMENTS_BYTES_MAX
    }

    /// The oldest `Parse` was completed.
    pub(super) fn confirm(&mut self) {
        let Some(parsed) = self.pop_unconfirmed() else { return };
        self.remove(&parsed.name);
        if let Some(statement) = parsed.statement {
            self.insert(parsed.name, statement);
        }
    }

    /// The oldest `n` have failed, or (`lost`) nobody knows.
    pub(super) fn discard(&mut self, n: u32, lost: bool) {
        for _ in 0..n {
            let Some(parsed) = self.pop_unconfirmed() else { return };
            if lost {
                self.remove(&parsed.name);
                self.handles.expire();
            }
        }
    }

    /// Nobody knows what became of those that were not confirmed.
    pub(super) fn doubt(&mut self) {
        self.discard(u32::MAX, true);
    }

    pub(super) fn close(&mut self, name: &[u8]) {
        for parsed in self.unconfirmed.iter_mut().filter(|parsed| *parsed.name == *name) {
            self.unconfirmed_bytes -= parsed.statement.take().map_or(0, |statement| statement.held_bytes());
        }
        self.remove(name);
    }

    pub(super) fn statement(&mut self, name: &[u8]) -> Arc<Statement> {
        let unconfirmed = self.unconfirmed.iter().rev().find(|parsed| *parsed.name == *name);
        let found = match unconfirmed {
            Some(parsed) => parsed.statement.as_ref(),
            None => self.known.get(name).map(|known| &known.statement),
        };
        match found.cloned() {
            Some(statement) => statement,
            None => self.unseen(name),
        }
    }

    /// Returns the portal's statement.
    pub(super) fn bind(&mut self, portal: &[u8], statement: &[u8]) -> Arc<Statement> {
        let statement = self.statement(statement);
        self.close_portal(portal);
        if portal.is_empty() {
            self.unnamed_portal = Some(Arc::clone(&statement));
        } else {
            if self.portals.len() == PORTALS_MAX {
                self.portals.remove(0);
            }
            self.portals.push((portal.into(), Arc::clone(&statement)));
        }
        statement
    }

    pub(super) fn close_portal(&mut self, name: &[u8]) {
        if name.is_empty() {
            self.unnamed_portal = None;
        } else {
            self.portals.retain(|(portal, _)| **portal != *name);
        }
    }

    pub(super) fn portal(&mut self, name: &[u8]) -> Arc<Statement> {
        let found = match name {
            [] => self.unnamed_portal.as_ref(),
            _ => self.portals.iter().find(|(portal, _)| **portal == *name).map(|(_, statement)| statement),
        };
        match found {
            Some(statement) => Arc::clone(statement),
            None => self.unknown(),
        }
    }

    /// A statement in SQL that may take names away.
    pub(super) fn run(&mut self, text: &[u8]) {
        let mut words =
            text.split(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'))).filter(|w| !w.is_empty());
        let is = |word: Option<&[u8]>, wanted: &str| word.is_some_and(|w| w.eq_ignore_ascii_case(wanted.as_bytes()));
        let first = words.next();
        if is(first, "discard") {
            return self.clear_names();
        }
        if !is(first, "deallocate") {
            return;
        }
        let name = words.next().filter(|word| !word.eq_ignore_ascii_case(b"prepare")).or_else(|| words.next());
        match (name, words.next()) {
            // Without quotes, it is folded; with them, it may be anything.
            (Some(name), None) if !is(Some(name), "all") => {
                self.close(name);
                self.close(&name.to_ascii_lowercase());
            }
            _ => self.clear_names(),
        }
    }

    fn clear_names(&mut self) {
        for parsed in &mut self.unconfirmed {
            self.unconfirmed_bytes -= parsed.statement.take().map_or(0, |statement| statement.held_bytes());
        }
        self.known.clear();
        self.known_bytes = 0;
        self.handles.expire();
    }

    fn pop_unconfirmed(&mut self) -> Option<Unconfirmed> {
        let parsed = self.unconfirmed.pop_front()?;
        self.unconfirmed_bytes -= parsed.bytes();
        Some(parsed)
    }

    fn insert(&mut self, name: Box<[u8]>, statement: Arc<Statement>) {
        self.known_bytes += cost(&name, Some(&statement));
        self.sequence += 1;
        self.known.insert(name, Known { statement, sequence: self.sequence });
        while self.known.len() > STATEMENTS_MAX || self.known_bytes > STATEMENTS_BYTES_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.sequence).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else { return };
            self.remove(&oldest);
            self.handles.expire();
        }
    }

    fn remove(&mut self, name: &[u8]) {
        if let Some(known) = self.known.remove(name) {
            self.known_bytes -= cost(name, Some(&known.statement));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Dialect, TextPolicy};

    #[test]
    fn handles_of_what_was_not_seen_hold_until_names_may_have_been_given_anew() {
        let mut statements = Statements::default();
        let unseen = |statements: &mut Statements, name: &[u8]| statements.statement(name).handle;
        let first = unseen(&mut statements, b"s1");
        assert_eq!((unseen(&mut statements, b"s1"), first.is_some()), (first, true));
        assert_ne!(unseen(&mut statements, b"s2"), first);
        assert_eq!(statements.bind(b"cursor", b"s1").handle, first, "that of its portals");
        assert_eq!([b"", TOO_LONG].map(|name| unseen(&mut statements, name)), [None; 2], "many have these");
        let known = Arc::new(Statement::read(b"SELECT 1", Dialect::PostgreSql, TextPolicy::Sanitized, false));
        statements.parse(b"s2", &known);
        assert_eq!((unseen(&mut statements, b"s2"), unseen(&mut statements, b"s1")), (None, first));
        statements.doubt();
        assert_ne!(unseen(&mut statements, b"s1"), first);
        let second = unseen(&mut statements, b"s1");
        statements.clear();
        assert_ne!(unseen(&mut statements, b"s1"), second);
    }
}
