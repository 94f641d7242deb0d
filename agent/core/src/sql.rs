//! What a span says of a statement in SQL: its text without literals, what it does, and to what.
//! <https://opentelemetry.io/docs/specs/semconv/db/database-spans/>
//!
//! A tokenizer and two readers of its tokens, in one pass: any bytes are a statement, and so is the start of one.
//! Words of an operation are written in upper case, names as they are.

mod keyword;
mod lexer;
mod operation;
mod sanitizer;
mod summary;
#[cfg(test)]
mod tests;

use crate::limits::cut_attribute;
use alloc::borrow::Cow;
use alloc::string::String;
use lexer::Lexer;
use sanitizer::Sanitizer;
use summary::Summary;

/// Bytes of `db.query.summary`, as the convention wants.
pub const SUMMARY_BYTES_MAX: usize = 255;

/// The text of a statement that was not seen.
const UNKNOWN: &str = "<unknown>";

/// How strings, names and comments are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    PostgreSql,
    /// And MariaDB.
    MySql,
}

/// How a session writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syntax {
    pub dialect: Dialect,
    /// In strings that have no prefix to tell.
    pub backslashes: Backslashes,
    /// MySQL: what is in double quotes may be a name.
    pub may_quote_names: bool,
}

/// What a backslash is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backslashes {
    /// It takes its meaning from the character behind it.
    Escape,
    /// A character as any other: with PostgreSQL's `standard_conforming_strings` and MySQL's `NO_BACKSLASH_ESCAPES`.
    Plain,
    /// Either. A string that would end in two places goes on to the end of the text.
    #[default]
    Unknown,
}

/// Where `setting`, which has a `_` in its name, is named in a text, in whatever case.
pub(crate) fn mentions<'a>(text: &'a [u8], setting: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let sign_at = setting.iter().position(|byte| *byte == b'_').unwrap_or_default();
    // Few texts have many of them.
    let signs = text.iter().enumerate().filter(|(_, byte)| **byte == b'_');
    let starts = signs.filter_map(move |(at, _)| at.checked_sub(sign_at));
    starts.filter(move |&at| text.get(at..at + setting.len()).is_some_and(|part| part.eq_ignore_ascii_case(setting)))
}

impl From<Dialect> for Syntax {
    /// As the servers have it by default, PostgreSQL's since 9.1.
    fn from(dialect: Dialect) -> Self {
        let backslashes = match dialect {
            Dialect::PostgreSql => Backslashes::Plain,
            Dialect::MySql => Backslashes::Escape,
        };
        Self { dialect, backslashes, may_quote_names: false }
    }
}

/// What becomes of the text: the operator's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextPolicy {
    #[default]
    Sanitized,
    Verbatim,
    Off,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// `db.query.text`, at most `ATTRIBUTE_BYTES_MAX` bytes. None where the operator wants none, or there is none.
    pub text: Option<String>,
    /// `db.query.summary`: operations and targets as they come, at most [`SUMMARY_BYTES_MAX`] bytes of whole words.
    /// Empty where no operation is known.
    pub summary: String,
    /// `db.operation.name`: that of the only statement, unless one of its parts writes in another way.
    pub operation: Option<Cow<'static, str>>,
    /// `db.collection.name`, where exactly one table or view is acted on. None for truncated text.
    pub collection: Option<String>,
    /// `db.stored_procedure.name`
    pub procedure: Option<String>,
    /// Of one whose text was not seen: the same for what is the same statement of the same session, and for nothing else.
    pub handle: Option<u64>,
}

impl Statement {
    /// `truncated`: more followed than `text`. Its last word is not shown then, as it may go on.
    pub fn read(text: &[u8], syntax: impl Into<Syntax>, policy: TextPolicy, truncated: bool) -> Self {
        let syntax @ Syntax { dialect, .. } = syntax.into();
        let text = str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed);
        let mut sanitizer = (policy == TextPolicy::Sanitized).then(|| Sanitizer::new(&text, dialect));
        let mut summary = Summary::new(dialect);
        let mut lexer = Lexer::new(&text, syntax, truncated);
        for token in lexer.by_ref() {
            if let Some(sanitizer) = &mut sanitizer {
                sanitizer.token(&token);
            }
            summary.token(&token);
        }
        let summary = summary.finish(truncated || lexer.is_lost());
        let shown = match policy {
            TextPolicy::Verbatim => Some(verbatim(&text)),
            _ => sanitizer.map(Sanitizer::finish),
        };
        Self {
            text: shown.filter(|text| !text.is_empty()),
            summary: summary.text,
            operation: summary.operation.map(Cow::Borrowed),
            collection: summary.collection,
            procedure: summary.procedure,
            handle: None,
        }
    }

    /// One that was prepared before the agent came.
    pub fn unknown(handle: Option<u64>) -> Self {
        Self { text: Some(String::from(UNKNOWN)), handle, ..Self::default() }
    }

    /// Bytes on the heap.
    pub fn held_bytes(&self) -> usize {
        let names = [&self.text, &self.collection, &self.procedure];
        names.into_iter().flatten().map(String::capacity).sum::<usize>() + self.summary.capacity()
    }
}

fn verbatim(text: &str) -> String {
    let mut text = String::from(text);
    cut_attribute(&mut text);
    text.shrink_to_fit();
    text
}
