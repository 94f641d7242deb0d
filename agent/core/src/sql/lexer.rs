//! Splits SQL into tokens: total, in linear time, and right on text that ends anywhere.
//!
//! <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>,
//! <https://dev.mysql.com/doc/refman/8.4/en/language-structure.html>

use super::keyword::Keyword;
use super::{Backslashes, Dialect, Syntax};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or a name without quotes.
    Word,
    /// A name in quotes.
    Quoted,
    /// A string, number, bit string or boolean; all of what is left where a literal has no end.
    Literal,
    /// `?`, `$1`, `:name`, `@variable`.
    Placeholder,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `[`
    OpenIndex,
    /// `]`
    CloseIndex,
    Comma,
    Dot,
    Semicolon,
    /// One character of an operator, or `::` or `:=`.
    Operator,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// What a word means; behind a dot it is a name.
    pub(super) keyword: Keyword,
    pub(super) text: &'a str,
    /// Where it is in the text.
    pub(super) start: usize,
    /// Whether blanks or comments are in front of it.
    pub(super) spaced: bool,
}

#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    dialect: Dialect,
    backslashes: Backslashes,
    /// See [`Syntax::may_quote_names`].
    may_quote_names: bool,
    /// Where a string ends depends on what is not known: what is behind it is not read.
    is_lost: bool,
    /// More followed where the text ends.
    truncated: bool,
    /// Where the `*/` of a `/*!` is whose content is read as SQL.
    hint_end: Option<usize>,
    /// The token before.
    previous: (Kind, Keyword),
    /// Behind IS or IS NOT, where TRUE and FALSE belong to the operator.
    test: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, syntax: Syntax, truncated: bool) -> Self {
        let Syntax { dialect, backslashes, may_quote_names } = syntax;
        Self {
            text,
            at: 0,
            dialect,
            backslashes,
            may_quote_names,
            is_lost: false,
            truncated,
            hint_end: None,
            previous: (Kind::Semicolon, Keyword::Other),
            test: false,
        }
    }

    /// The last token stands for all that was left.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let blank = self.at;
        self.skip_blanks();
        let start = self.at;
        let kind = self.scan(self.peek(0)?)?;
        if self.is_cut(start, kind) {
            self.at = self.text.len();
            return None;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        let is_keyword = kind == Kind::Word && self.previous.0 != Kind::Dot;
        let bytes = self.text.as_bytes().get(start..).unwrap_or_default();
        let keyword = if is_keyword { Keyword::of(bytes, text.len()) } else { Keyword::Other };
        let boolean = matches!(keyword, Keyword::True | Keyword::False) && !self.test;
        let (kind, keyword) = if boolean { (Kind::Literal, Keyword::Other) } else { (kind, keyword) };
        self.test = keyword == Keyword::Is || self.test && keyword == Keyword::Not;
        self.previous = (kind, keyword);
        Some(Token { kind, keyword, text, start, spaced: start > blank })
    }
}

// === impl Lexer: blanks ===

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn rest(&self) -> &[u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn ends_behind(&mut self, length: Option<usize>) {
        self.at = length.map_or(self.text.len(), |length| self.at + length);
    }

    fn skip_blanks(&mut self) {
        while let Some(b) = self.peek(0).filter(|&b| is(b, BLANK | COMMENT)) {
            if is(b, BLANK) {
                self.at += 1;
            } else if !self.skip_comment(b) {
                return;
            }
        }
    }

    /// Skips what begins with a byte that a comment may begin with. False: it is none.
    fn skip_comment(&mut self, first: u8) -> bool {
        let start = self.at;
        match first {
            b'-' if self.is_dash_comment() => self.skip_line(),
            b'#' if self.dialect == Dialect::MySql => self.skip_line(),
            b'/' if self.peek(1) == Some(b'*') => self.skip_block(),
            b'*' if self.hint_end == Some(self.at) => {
                self.at += 2;
                self.hint_end = None;
            }
            _ => return false,
        }
        if self.leaves_hint(start) {
            self.at = self.text.len();
        }
        true
    }

    /// In MySQL, `--` without a blank behind it is two signs.
    fn is_dash_comment(&self) -> bool {
        self.peek(1) == Some(b'-') && (self.dialect == Dialect::PostgreSql || self.peek(2).is_some_and(is_blank))
    }

    fn skip_line(&mut self) {
        let end = self.rest().iter().position(|&b| b == b'\n');
        self.ends_behind(end);
    }

    fn skip_block(&mut self) {
        match (self.dialect, self.peek(2)) {
            (Dialect::PostgreSql, _) => self.skip_nested_block(),
            (Dialect::MySql, Some(b'!')) => self.enter_hint(3),
            (Dialect::MySql, Some(b'M')) if self.peek(3) == Some(b'!') => self.enter_hint(4),
            (Dialect::MySql, _) => {
                self.at += 2;
                let end = self.rest().windows(2).position(|pair| pair == b"*/");
                self.ends_behind(end.map(|end| end + 2));
            }
        }
    }

    fn skip_nested_block(&mut self) {
        self.at += 2;
        let mut depth = 1;
        while depth > 0 {
            let Some(next) = self.rest().iter().position(|&b| matches!(b, b'/' | b'*')) else {
                self.at = self.text.len();
                return;
            };
            self.at += next;
            match (self.peek(0), self.peek(1)) {
                (Some(b'/'), Some(b'*')) => depth += 1,
                (Some(b'*'), Some(b'/')) => depth -= 1,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
        }
    }

    /// MySQL executes what is in `/*! … */`, if its version is the number there or later.
    fn enter_hint(&mut self, opening: usize) {
        self.at += opening;
        if self.hint_end.is_none() {
            let end = self.rest().windows(2).position(|pair| pair == b"*/");
            self.hint_end = Some(end.map_or(self.text.len(), |end| self.at + end));
        }
        self.at += self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
    }

    /// Whether what began at `start` goes on behind the end of a hint. Then a server that skips the hint reads all
    /// that follows otherwise than one that does not.
    fn leaves_hint(&self, start: usize) -> bool {
        self.hint_end.is_some_and(|end| start < end && self.at > end)
    }
}

// === impl Lexer: tokens ===

impl Lexer<'_> {
    /// Moves behind the token that begins with `first`. None: it has no end, and is no literal.
    fn scan(&mut self, first: u8) -> Option<Kind> {
        let mysql = self.dialect == Dialect::MySql;
        let kind = match first {
            b if starts_word(b) => return self.word(),
            b'0'..=b'9' => self.number(),
            b'.' if self.is_fraction() => self.number(),
            b'+' | b'-' if self.is_sign() => self.number(),
            b'\'' => self.string(self.backslashes),
            b'"' if mysql => self.string(self.in_double_quotes()),
            b'"' => return self.quoted(),
            b'`' if mysql => return self.quoted(),
            b'$' => self.dollar(),
            b':' => self.colon(),
            b'@' if mysql => self.variable(),
            _ => self.symbol(first),
        };
        Some(kind)
    }

    /// Whether the token ends where more of it may have followed, or where servers disagree.
    fn is_cut(&self, start: usize, kind: Kind) -> bool {
        let may_go_on = match kind {
            Kind::Word | Kind::Quoted => true,
            Kind::Placeholder => self.at - start > 1,
            _ => false,
        };
        self.truncated && may_go_on && self.at == self.text.len() || self.leaves_hint(start)
    }

    fn symbol(&mut self, first: u8) -> Kind {
        self.at += 1;
        match first {
            b'(' => Kind::Open,
            b')' => Kind::Close,
            b'[' => Kind::OpenIndex,
            b']' => Kind::CloseIndex,
            b',' => Kind::Comma,
            b'.' => Kind::Dot,
            b';' => Kind::Semicolon,
            b'?' => Kind::Placeholder,
            _ => Kind::Operator,
        }
    }

    fn word_length(&self, from: usize) -> usize {
        let rest = self.rest().get(from..).unwrap_or_default();
        rest.iter().position(|&b| !continues_word(b)).unwrap_or(rest.len())
    }

    /// A word, or the literal that it is the prefix of: `E'…'`, `N'…'`, `B'…'`, `X'…'`, `U&'…'`, `_utf8mb4'…'`.
    fn word(&mut self) -> Option<Kind> {
        let (first, length) = (self.peek(0)?.to_ascii_uppercase(), self.word_length(0));
        self.at += length;
        let mysql = self.dialect == Dialect::MySql;
        match (first, length, self.peek(0), self.peek(1)) {
            _ if length > 1 && first != b'_' => Some(Kind::Word),
            (b'E', 1, Some(b'\''), _) if !mysql => Some(self.string(Backslashes::Escape)),
            (b'B' | b'X', 1, Some(b'\''), _) if !mysql => Some(self.string(Backslashes::Plain)),
            (b'B' | b'N' | b'X', 1, Some(b'\''), _) => Some(self.string(self.backslashes)),
            (b'_', _, Some(b'\''), _) if mysql => Some(self.string(self.backslashes)),
            (b'_', _, Some(b'"'), _) if mysql => Some(self.string(self.in_double_quotes())),
            (b'U', 1, Some(b'&'), Some(quote @ (b'\'' | b'"'))) if !mysql => {
                self.at += 1;
                if quote == b'"' { self.quoted() } else { Some(self.string(Backslashes::Plain)) }
            }
            _ => Some(Kind::Word),
        }
    }

    /// A string from its quote on. What has no end is a literal up to the end of the text.
    fn string(&mut self, backslashes: Backslashes) -> Kind {
        let escapes = match backslashes {
            Backslashes::Unknown if self.ends_in_two_places() => {
                (self.at, self.is_lost) = (self.text.len(), true);
                return Kind::Literal;
            }
            Backslashes::Unknown | Backslashes::Plain => false,
            Backslashes::Escape => true,
        };
        while self.run(escapes) && escapes && self.dialect == Dialect::PostgreSql && self.goes_on_below() {}
        Kind::Literal
    }

    /// Whether it makes a difference what backslashes are.
    fn ends_in_two_places(&mut self) -> bool {
        let start = self.at;
        let plain = (self.run(false), self.at);
        self.at = start;
        let escaped = (self.run(true), self.at);
        self.at = start;
        plain != escaped
    }

    /// In names there are no escapes.
    fn in_double_quotes(&self) -> Backslashes {
        match self.backslashes {
            Backslashes::Plain => Backslashes::Plain,
            _ if self.may_quote_names => Backslashes::Unknown,
            known => known,
        }
    }

    /// A name from its quote on.
    fn quoted(&mut self) -> Option<Kind> {
        self.run(false).then_some(Kind::Quoted)
    }

    /// Moves behind the closing quote; a double one is none. False: there is none.
    fn run(&mut self, escapes: bool) -> bool {
        let Some(quote) = self.peek(0) else { return false };
        self.at += 1;
        loop {
            let Some(next) = self.rest().iter().position(|&b| b == quote || escapes && b == b'\\') else {
                self.at = self.text.len();
                return false;
            };
            self.at += next + 1;
            if self.text.as_bytes().get(self.at - 1) == Some(&quote) {
                if self.peek(0) != Some(quote) {
                    return true;
                }
                self.at += 1;
            } else {
                self.at = (self.at + 1).min(self.text.len());
            }
        }
    }

    /// PostgreSQL goes on with `E'…'` in a quote on a later line, where backslashes escape as well.
    fn goes_on_below(&mut self) -> bool {
        let end = self.at;
        while let Some(b) = self.peek(0) {
            match b {
                b if is_blank(b) => self.at += 1,
                b'-' if self.peek(1) == Some(b'-') => self.skip_line(),
                _ => break,
            }
        }
        let between = self.text.as_bytes().get(end..self.at).unwrap_or_default();
        let goes_on = self.peek(0) == Some(b'\'') && between.iter().any(|b| matches!(b, b'\n' | b'\r'));
        if !goes_on {
            self.at = end;
        }
        goes_on
    }

    fn is_fraction(&self) -> bool {
        let member = matches!(self.previous.0, Kind::Word | Kind::Quoted);
        !member && self.peek(1).is_some_and(|b| b.is_ascii_digit())
    }

    /// Whether a sign belongs to the number behind it.
    fn is_sign(&self) -> bool {
        let digit = |ahead| self.peek(ahead).is_some_and(|b| b.is_ascii_digit());
        !self.is_behind_operand() && (digit(1) || self.peek(1) == Some(b'.') && digit(2))
    }

    fn is_behind_operand(&self) -> bool {
        use Kind::{Close, CloseIndex, Literal, Placeholder, Quoted, Word};
        match self.previous {
            (Word, keyword) => !keyword.precedes_expression(),
            (kind, _) => matches!(kind, Quoted | Literal | Placeholder | Close | CloseIndex),
        }
    }

    /// A number in any notation, with all that touches it: no letter of a literal may be taken for a name.
    fn number(&mut self) -> Kind {
        self.at += 1;
        while let Some(b) = self.peek(0) {
            let exponent = matches!(b, b'+' | b'-')
                && self.text.as_bytes().get(self.at - 1).is_some_and(|b| b.eq_ignore_ascii_case(&b'e'))
                && self.peek(1).is_some_and(|b| b.is_ascii_digit());
            // What begins with a dollar is another token.
            if !(continues_word(b) && b != b'$' || b == b'.' || exponent) {
                break;
            }
            self.at += 1;
        }
        Kind::Literal
    }

    /// `$1`; in PostgreSQL `$tag$ … $tag$`; in MySQL a name may begin so.
    fn dollar(&mut self) -> Kind {
        let digits = self.rest().iter().skip(1).take_while(|b| b.is_ascii_digit()).count();
        if digits > 0 {
            self.at += 1 + digits;
            return Kind::Placeholder;
        }
        if self.dialect == Dialect::MySql {
            self.at += self.word_length(0);
            return Kind::Word;
        }
        let tag = self.rest().iter().skip(1).take_while(|&&b| continues_word(b) && b != b'$').count();
        match self.peek(1 + tag) {
            Some(b'$') => self.dollar_string(tag + 2),
            None if self.truncated => self.at = self.text.len(),
            _ => return self.symbol(b'$'),
        }
        Kind::Literal
    }

    fn dollar_string(&mut self, tag: usize) {
        let start = self.at;
        self.at += tag;
        while let Some(next) = self.rest().iter().position(|&b| b == b'$') {
            self.at += next;
            if self.rest().starts_with(self.text.as_bytes().get(start..start + tag).unwrap_or_default()) {
                self.at += tag;
                return;
            }
            self.at += 1;
        }
        self.at = self.text.len();
    }

    /// `::`, `:=`, `:name`.
    fn colon(&mut self) -> Kind {
        match self.peek(1) {
            Some(b':' | b'=') => {
                self.at += 2;
                Kind::Operator
            }
            Some(b) if starts_word(b) => {
                self.at += 1 + self.word_length(1);
                Kind::Placeholder
            }
            _ => self.symbol(b':'),
        }
    }

    /// `@name`, `@@name`.
    fn variable(&mut self) -> Kind {
        let signs = if self.peek(1) == Some(b'@') { 2 } else { 1 };
        let length = self.word_length(signs);
        self.at += if length > 0 { signs + length } else { 1 };
        if length > 0 { Kind::Placeholder } else { Kind::Operator }
    }
}

// === bytes ===

const BLANK: u8 = 1;
const STARTS_WORD: u8 = 2;
const CONTINUES_WORD: u8 = 4;
const COMMENT: u8 = 8;

/// What a byte may be. Control characters are blanks: none reaches the text.
static CLASSES: [u8; 256] = {
    let (mut classes, mut b) = ([0; 256], 0);
    while b < classes.len() {
        classes[b] = match b as u8 {
            0..=b' ' | 0x7f => BLANK,
            b'0'..=b'9' | b'$' => CONTINUES_WORD,
            b'-' | b'#' | b'/' | b'*' => COMMENT,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => STARTS_WORD | CONTINUES_WORD,
            _ => 0,
        };
        b += 1;
    }
    classes
};

fn is(b: u8, class: u8) -> bool {
    CLASSES[usize::from(b)] & class != 0
}

fn is_blank(b: u8) -> bool {
    is(b, BLANK)
}

fn starts_word(b: u8) -> bool {
    is(b, STARTS_WORD)
}

fn continues_word(b: u8) -> bool {
    is(b, CONTINUES_WORD)
}
