//! What a statement does to the session's database.

use alloc::string::String;
use alloc::sync::Arc;

/// What holds once a request has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The session's database is this one, or not known.
    Namespace(Option<Arc<str>>),
    /// It is not known if there was more than one result: what the statements are was not read to the end.
    IfSeveral,
}

/// `USE name` alone, or somewhere among several statements.
pub(super) fn change(text: &[u8], truncated: bool) -> Option<Change> {
    let first = behind_blanks(text);
    if let Some(name) = keyword(first) {
        return Some(Change::Namespace(named(name).filter(|_| !truncated)));
    }
    let is_later = (1..text.len()).any(|at| keyword(&text[at..]).is_some() && starts_statement(&text[..at]));
    if is_later {
        return Some(Change::Namespace(None));
    }
    truncated.then_some(Change::IfSeveral)
}

/// What follows the word at the start of `text`.
fn keyword(text: &[u8]) -> Option<&[u8]> {
    let (word, rest) = text.split_at_checked(3)?;
    let ends = rest.first().is_some_and(|&byte| byte.is_ascii_whitespace() || byte == b'`' || byte == b'/');
    (word.eq_ignore_ascii_case(b"use") && ends).then_some(rest)
}

/// Does a statement begin behind these bytes? Behind a comment it may.
fn starts_statement(before: &[u8]) -> bool {
    let before = before.trim_ascii_end();
    before.is_empty() || before.ends_with(b";") || before.ends_with(b"*/")
}

/// Text without blanks and comments in front of it.
fn behind_blanks(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_start();
    let ends = |end: &[u8]| text.windows(end.len()).skip(2).position(|part| part == end).map(|at| at + 2 + end.len());
    let end = match text {
        [b'/', b'*', next, ..] if *next != b'!' => ends(b"*/"),
        [b'#', ..] | [b'-', b'-', ..] => ends(b"\n"),
        _ => None,
    };
    end.and_then(|end| text.get(end..)).map_or(text, |rest| rest.trim_ascii_start())
}

/// A name that is all there is.
fn named(text: &[u8]) -> Option<Arc<str>> {
    let text = text.trim_ascii_start().trim_ascii_end();
    let text = text.strip_suffix(b";").unwrap_or(text).trim_ascii_end();
    let name = match text.strip_prefix(b"`") {
        Some(quoted) => quoted.strip_suffix(b"`")?,
        None => text,
    };
    let is_plain = |byte: &u8| !byte.is_ascii_whitespace() && !b"`;/#'\"".contains(byte);
    (!name.is_empty() && name.iter().all(is_plain)).then(|| shared(name))
}

/// Longer names are none: the limit of the servers is 64 characters.
const NAME_BYTES_MAX: usize = 4 * 64;

pub(super) fn shared(name: &[u8]) -> Arc<str> {
    let name = name.get(..NAME_BYTES_MAX).unwrap_or(name);
    Arc::from(String::from_utf8_lossy(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(name: &str) -> Option<Change> {
        Some(Change::Namespace(Some(name.into())))
    }

    #[test]
    fn a_name_is_believed_where_it_is_all_there_is() {
        let unknown = Some(Change::Namespace(None));
        let cases = [
            ("USE shop", to("shop")),
            (" use\n`my shop`;", unknown.clone()),
            ("use`shop` ; ", to("shop")),
            ("/* who */ USE shop", to("shop")),
            ("-- who\nUSE shop", to("shop")),
            ("USE shop; SELECT 1", unknown.clone()),
            ("SELECT 1; use shop", unknown.clone()),
            ("SELECT 1;/* x */use shop", unknown),
            ("SELECT * FROM t USE INDEX (i)", None),
            ("SELECT 'how to use it'", None),
            ("used", None),
            ("use", None),
        ];
        for (text, expected) in cases {
            assert_eq!(change(text.as_bytes(), false), expected, "{text}");
        }
    }

    #[test]
    fn what_was_not_read_may_change_it() {
        assert_eq!(change(b"SELECT 1; SEL", true), Some(Change::IfSeveral));
        assert_eq!(change(b"USE shop", true), Some(Change::Namespace(None)));
    }
}
