//! What requests to databases and their answers have in common, whatever the protocol.

use super::Routine;
use crate::sql::Statement;
use alloc::string::String;
use alloc::sync::Arc;
use core::hash::{Hash, Hasher};
use siphasher::sip::SipHasher13;

/// `db.system.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseSystem {
    MariaDb,
    MySql,
    PostgreSql,
    /// Valkey, KeyDB and others that speak the same protocol do not say who they are.
    Redis,
}

impl DatabaseSystem {
    pub fn name(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::MySql => "mysql",
            Self::PostgreSql => "postgresql",
            Self::Redis => "redis",
        }
    }
}

/// Whether an exchange becomes a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reported {
    #[default]
    Always,
    /// What the session needs and nobody asked for: a login, the preparation of a statement, a ping.
    IfFailed,
}

/// A request to a database.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseRequest {
    pub system: DatabaseSystem,
    /// Shared with the session's table of prepared statements.
    pub statement: Arc<Statement>,
    /// `db.namespace`: the session's database, where that was seen.
    pub namespace: Option<Arc<str>>,
    /// `db.operation.batch.size`: so many operations are sent as one. `None`: one, or not known.
    pub batch_size: Option<u32>,
    pub reported: Reported,
}

impl DatabaseRequest {
    /// `db.operation.name`; empty where it is not known.
    pub(crate) fn operation(&self) -> &str {
        self.statement.operation.as_deref().unwrap_or_default()
    }

    /// What calls have in common that do the same. `None`: nobody knows.
    pub(super) fn routine(&self) -> Option<Routine<'_>> {
        let Statement { text, summary, handle, .. } = &*self.statement;
        let routine = match self.system {
            DatabaseSystem::Redis => Routine::new(self.operation(), first_key(text.as_deref().unwrap_or_default())),
            _ => Routine::new(summary, self.namespace.as_deref().unwrap_or_default()),
        };
        let is_known = !routine.operation.is_empty() || handle.is_some();
        is_known.then_some(Routine { handle: *handle, ..routine })
    }
}

/// `cart` of `SET cart:17:total ?`: keys are made of a word and what it is about, often another one each time.
fn first_key(command: &str) -> &str {
    let key = command.split(' ').nth(1).unwrap_or_default();
    let end = key.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(key.len());
    key.get(..end).unwrap_or_default()
}

/// Gives [`Statement::handle`]s of a session. Within: how often what was known became unknown, or names may have been given anew
/// unseen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handles(u32);

impl Handles {
    /// Of what the session calls `name`.
    pub(super) fn of(self, name: impl Hash) -> u64 {
        let mut hasher = SipHasher13::new();
        (name, self.0).hash(&mut hasher);
        hasher.finish()
    }

    /// From now on, a name may stand for another statement than it did.
    pub(super) fn expire(&mut self) {
        self.0 = self.0.wrapping_add(1);
    }
}

/// What a database answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DatabaseResponse {
    /// `db.response.returned_rows`, where the protocol says it or every row was seen.
    pub returned_rows: Option<u64>,
    /// `error.type`: SQLSTATE, number or prefix, as the database has it, or one of the words below.
    pub error: Option<String>,
}

impl DatabaseResponse {
    /// It failed, and its code was lost.
    pub const ERROR_UNKNOWN: &'static str = "_OTHER";
    /// It was passed over, because one in front of it in the same pipeline had failed: libpq's word.
    pub const ERROR_ABORTED: &'static str = "pipeline_aborted";

    /// `db.response.status_code`.
    pub fn status_code(&self) -> Option<&str> {
        self.error.as_deref().filter(|code| ![Self::ERROR_UNKNOWN, Self::ERROR_ABORTED].contains(code))
    }
}
