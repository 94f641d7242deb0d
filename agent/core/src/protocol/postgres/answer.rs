//! What is learnt of an answer.

use super::message::string;
use crate::protocol::DatabaseResponse;
use alloc::string::String;

/// SQLSTATE is five digits and upper-case letters.
const SQLSTATE_BYTES: usize = 5;

#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Rows since the last statement of a query was complete.
    rows: u64,
    /// The columns of rows were described since then.
    is_described: bool,
    /// Data of a COPY came since then.
    is_copy: bool,
    /// Something of it was lost.
    is_lossy: bool,
    returned: Option<u64>,
    error: Option<String>,
}

impl Answer {
    pub(super) fn row(&mut self) {
        self.rows += 1;
    }

    pub(super) fn described(&mut self) {
        self.is_described = true;
    }

    pub(super) fn copies_out(&mut self) {
        self.is_copy = true;
    }

    pub(super) fn lost(&mut self) {
        self.is_lossy = true;
    }

    pub(super) fn is_lossy(&self) -> bool {
        self.is_lossy
    }

    pub(super) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// A statement is complete, as its tag says.
    pub(super) fn complete(&mut self, tag: &[u8]) {
        if let Some(rows) = self.statement_rows(tag) {
            self.returned = Some(self.returned.unwrap_or(0).saturating_add(rows));
        }
        (self.rows, self.is_described, self.is_copy) = (0, false, false);
    }

    /// The rows that were asked for, and there may be more.
    pub(super) fn suspended(&mut self) {
        self.returned = (!self.is_lossy).then_some(self.rows);
    }

    /// `None`: the statement returns none, or how many is not known.
    fn statement_rows(&self, tag: &[u8]) -> Option<u64> {
        let tag = string(tag).unwrap_or(tag);
        let mut words = tag.split(|byte| *byte == b' ');
        let (word, number) = (words.next()?, words.next_back());
        let told = number.and_then(|digits| core::str::from_utf8(digits).ok()?.parse().ok());
        match word {
            b"COPY" => told.filter(|_| self.is_copy),
            _ if !self.is_lossy && (self.rows > 0 || self.is_described) => Some(self.rows),
            // `CREATE TABLE AS` has this tag as well, and returns none.
            b"SELECT" | b"FETCH" => told.filter(|rows| *rows == 0 || self.is_lossy),
            _ => None,
        }
    }

    pub(super) fn failed(&mut self, fields: &[u8]) {
        let code = field(fields, b'C').filter(|code| {
            code.len() == SQLSTATE_BYTES && code.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        });
        let code =
            code.map_or(DatabaseResponse::ERROR_UNKNOWN.into(), |code| String::from_utf8_lossy(code).into_owned());
        self.fail(code);
    }

    /// It has, but how was lost.
    pub(super) fn failed_somehow(&mut self) {
        self.fail(DatabaseResponse::ERROR_UNKNOWN.into());
    }

    pub(super) fn aborted(&mut self) {
        self.fail(DatabaseResponse::ERROR_ABORTED.into());
    }

    fn fail(&mut self, code: String) {
        // The first error ends it; what follows is about that.
        self.error.get_or_insert(code);
        let partly = self.rows.saturating_add(self.returned.unwrap_or(0));
        self.returned = (partly > 0 && !self.is_lossy).then_some(partly);
    }

    pub(super) fn response(&self) -> DatabaseResponse {
        DatabaseResponse { returned_rows: self.returned, error: self.error.clone() }
    }
}

/// The server ends the session after this error.
pub(super) fn is_fatal(fields: &[u8]) -> bool {
    let severity = field(fields, b'V').or_else(|| field(fields, b'S'));
    severity.is_some_and(|severity| matches!(severity, b"FATAL" | b"PANIC"))
}

/// A field of an `ErrorResponse`, if it is within these bytes.
fn field(fields: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = fields;
    loop {
        let (kind, behind) = rest.split_first()?;
        let value = string(behind)?;
        if *kind == wanted {
            return Some(value);
        }
        rest = behind.get(value.len() + 1..)?;
    }
}
