//! Text from outside made safe and short. What a traced service was asked for is chosen by strangers: on a terminal a
//! control character of theirs would be a command.

use std::borrow::Cow;
use std::fmt::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that the text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// The text with every character that could move the cursor, change colours or reverse reading order written out.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => safe.push_str("\\t"),
            '\r' => safe.push_str("\\r"),
            '\n' => safe.push_str("\\n"),
            c if is_unsafe(c) => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Line and paragraph separators, marks and overrides of reading order, invisible characters.
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{061c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// At most `columns` wide, with an ellipsis where something was cut.
pub(super) fn truncated(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut left = columns.saturating_sub(1);
    let fits = |(_, c): &(usize, char)| match left.checked_sub(c.width().unwrap_or(0)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let end = text.char_indices().take_while(fits).last().map_or(0, |(at, c)| at + c.len_utf8());
    Cow::Owned(format!("{}…", &text[..end]))
}

/// Three digits and a unit: `812 µs`, `12.4 ms`, `1.24 s`, `125 s`.
pub(super) fn duration(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000_000 => return format!("{} µs", ns / 1_000),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    // Decimals by what the rounded value needs, so that 9.996 is 10.0 and not 10.00.
    match value {
        ..9.995 => format!("{value:.2} {unit}"),
        ..99.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        for (text, safe) in [
            ("/plain/путь/道", "/plain/путь/道"),
            ("/\x1b[2J\x1b]0;pwned\x07", "/\\u{1b}[2J\\u{1b}]0;pwned\\u{7}"),
            ("/\u{9b}31m", "/\\u{9b}31m"),
            ("/a\r\nb\tc", "/a\\r\\nb\\tc"),
            ("/\u{202e}gpj.exe", "/\\u{202e}gpj.exe"),
            ("/\u{2028}\u{200b}\u{7f}", "/\\u{2028}\\u{200b}\\u{7f}"),
        ] {
            assert_eq!(escaped(text), safe);
        }
    }

    #[test]
    fn cut_at_characters_by_the_columns_they_take() {
        for (text, columns, cut) in [
            ("/orders", 7, "/orders"),
            ("/orders", 6, "/orde…"),
            ("/道道道", 7, "/道道道"),
            ("/道道道", 6, "/道道…"),
            ("/道道道", 5, "/道…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
            ("abc", 0, "…"),
        ] {
            assert_eq!(truncated(text, columns), cut, "{text} in {columns}");
        }
    }

    #[test]
    fn durations_have_three_digits() {
        for (ns, text) in [
            (0, "0 µs"),
            (999_999, "999 µs"),
            (1_000_000, "1.00 ms"),
            (9_996_000, "10.0 ms"),
            (12_440_000, "12.4 ms"),
            (812_000_000, "812 ms"),
            (1_240_000_000, "1.24 s"),
            (125_000_000_000, "125 s"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }
}
