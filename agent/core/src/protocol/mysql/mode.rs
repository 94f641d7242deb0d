//! `sql_mode`, as far as it decides how statements are read.
//! <https://dev.mysql.com/doc/refman/8.4/en/sql-mode.html>, <https://mariadb.com/kb/en/sql-mode/>

use super::wire::status;
use crate::sql::{Backslashes, Dialect, Syntax, mentions};

/// Of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    backslashes: Backslashes,
    /// `ANSI_QUOTES` may have been set, of which no answer tells. That a server has it for all sessions is not seen.
    may_quote_names: bool,
    /// So many answers were asked for before the mode may have changed.
    stale_answers: usize,
}

impl Default for Mode {
    /// It may have been changed since the session was started.
    fn default() -> Self {
        Self { backslashes: Backslashes::Unknown, may_quote_names: true, stale_answers: 0 }
    }
}

impl Mode {
    /// Of a session that starts now.
    pub(super) fn start() -> Self {
        Self { may_quote_names: false, ..Self::default() }
    }

    pub(super) fn syntax(self) -> Syntax {
        let Self { backslashes, may_quote_names, .. } = self;
        Syntax { backslashes, may_quote_names, dialect: Dialect::MySql }
    }

    /// A statement is about to be sent behind which so many answers are still to come. A server reads one statement of
    /// several after the other, so those behind one that changes the mode are written in another.
    pub(super) fn asks(&mut self, text: &[u8], answers: usize) {
        if let Some(may_quote_names) = assigned(text) {
            self.may_quote_names |= may_quote_names;
            self.backslashes = Backslashes::Unknown;
            self.stale_answers = answers;
        }
    }

    /// An answer is complete; the last status in it, if there was one.
    pub(super) fn answered(&mut self, status: Option<u16>) {
        if self.stale_answers > 0 {
            self.stale_answers -= 1;
            return;
        }
        if let Some(status) = status {
            let is_plain = status & status::NO_BACKSLASH_ESCAPES != 0;
            self.backslashes = if is_plain { Backslashes::Plain } else { Backslashes::Escape };
        }
    }

    /// Requests were lost.
    pub(super) fn doubt(&mut self) {
        *self = Self::default();
    }
}

const NAME: &[u8] = b"sql_mode";
/// `ANSI` has `ANSI_QUOTES` in it, and so have those that are named for other servers.
const QUOTING: [&[u8]; 6] = [b"ansi", b"db2", b"maxdb", b"mssql", b"oracle", b"postgresql"];

/// Whether a statement assigns the mode, and if so, whether names may be in double quotes from there on.
fn assigned(text: &[u8]) -> Option<bool> {
    let mut found = None;
    for at in mentions(text, NAME) {
        let is_whole = !text[..at].last().is_some_and(|&before| before == b'_' || before.is_ascii_alphanumeric());
        let behind = text[at + NAME.len()..].trim_ascii_start();
        let behind = behind.strip_prefix(b"`").unwrap_or(behind).trim_ascii_start();
        let behind = behind.strip_prefix(b":").unwrap_or(behind);
        if let Some(value) = behind.strip_prefix(b"=").filter(|_| is_whole) {
            found = Some(found.unwrap_or(false) || may_quote_names(value));
        }
    }
    found
}

/// The mode that is assigned names such a mode, or is that of a variable or a parameter.
fn may_quote_names(value: &[u8]) -> bool {
    let is_variable =
        |at: usize| value[at] == b'@' && value.get(at + 1) != Some(&b'@') && value[..at].last() != Some(&b'@');
    let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
    (0..end)
        .any(|at| value[at] == b'?' || is_variable(at) || QUOTING.iter().any(|mode| starts_with(&value[at..], mode)))
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_assign_the_mode() {
        let cases = [
            ("SET sql_mode = 'STRICT_ALL_TABLES'", Some(false)),
            ("set @@session.SQL_MODE:='ansi_quotes'", Some(true)),
            ("SET `sql_mode`=ANSI", Some(true)),
            ("SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')", Some(false)),
            ("SET sql_mode = CONCAT(@@sql_mode, ',ORACLE')", Some(true)),
            ("/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */", Some(false)),
            ("/*!40101 SET SQL_MODE=@OLD_SQL_MODE */", Some(true)),
            ("SET sql_mode = ?", Some(true)),
            ("SELECT @@sql_mode, 'ansi_quotes'", None),
            ("SET @OLD_SQL_MODE='ansi'", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(assigned(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn answers_to_what_came_before_do_not_tell() {
        let mut mode = Mode::default();
        mode.answered(Some(2));
        assert_eq!(mode.syntax().backslashes, Backslashes::Escape);
        mode.asks(b"SET sql_mode = 'NO_BACKSLASH_ESCAPES'", 1);
        mode.answered(Some(2));
        assert_eq!(mode.syntax().backslashes, Backslashes::Unknown);
        mode.answered(None);
        assert_eq!(mode.syntax().backslashes, Backslashes::Unknown);
        mode.answered(Some(0x202));
        assert_eq!(mode.syntax().backslashes, Backslashes::Plain);
    }
}
