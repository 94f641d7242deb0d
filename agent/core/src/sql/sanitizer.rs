//! The text of a statement without its literals: `?` stands for each, one blank for all between two tokens, and one
//! element for a list of them.

use super::Dialect;
use super::keyword::Keyword;
use super::lexer::{Kind, Token};
use crate::limits::ATTRIBUTE_BYTES_MAX;
use alloc::string::String;

#[derive(Debug)]
pub(super) struct Sanitizer<'a> {
    source: &'a str,
    /// What comes next in the text and is the same as in the source, from where to where there.
    same: (usize, usize),
    text: String,
    /// A token did not fit. Nothing is written behind it.
    full: bool,
    dialect: Dialect,
    fold: Option<Fold>,
    /// The token before.
    previous: Keyword,
    /// Behind a minus of MySQL.
    minus: bool,
}

/// A list of constants, of which the first one is kept.
#[derive(Clone, Copy, Debug)]
struct Fold {
    /// Of rows behind VALUES, which no bracket closes.
    rows: bool,
    /// In square brackets.
    array: bool,
    /// Brackets of its kind that are open inside the list.
    depth: u32,
    /// Where the text of the first element ends, once a comma follows.
    first_end: Option<usize>,
    /// Behind `::`.
    cast: bool,
    /// There is something in the element.
    filled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Inside,
    /// The list is over.
    End,
    /// Not a list of constants.
    Abort,
}

impl<'a> Sanitizer<'a> {
    pub(super) fn new(source: &'a str, dialect: Dialect) -> Self {
        let text = String::with_capacity(source.len().min(ATTRIBUTE_BYTES_MAX));
        Self { source, same: (0, 0), text, full: false, dialect, fold: None, previous: Keyword::Other, minus: false }
    }

    pub(super) fn token(&mut self, token: &Token) {
        if self.full {
            return;
        }
        if self.fold.is_some() {
            self.fold(token);
        }
        self.write(token);
        self.fold_begins(token);
        self.previous = token.keyword;
        self.minus = is_minus(token) && self.dialect == Dialect::MySql;
    }

    pub(super) fn finish(mut self) -> String {
        self.copy();
        self.keep_first();
        // Long literals leave little.
        if self.text.capacity() > 2 * self.text.len() {
            self.text.shrink_to_fit();
        }
        self.text
    }

    /// Takes into the text what is the same.
    fn copy(&mut self) {
        let (from, to) = self.same;
        self.text.push_str(self.source.get(from..to).unwrap_or_default());
        self.same = (to, to);
    }

    fn write(&mut self, token: &Token) {
        let (from, to) = self.same;
        let end = token.start + token.text.len();
        let blank = self.source.as_bytes().get(to) == Some(&b' ');
        let follows = if token.spaced { blank && token.start == to + 1 } else { token.start == to };
        // Nothing is the same yet at the start, behind a literal and where a list was cut short.
        if from == to || !follows || token.kind == Kind::Literal || self.is_second_minus(token) {
            self.write_anew(token);
        } else if self.text.len() + (end - from) > ATTRIBUTE_BYTES_MAX {
            self.full = true;
        } else {
            self.same.1 = end;
        }
    }

    fn write_anew(&mut self, token: &Token) {
        self.copy();
        let shown = if token.kind == Kind::Literal { "?" } else { token.text };
        let blank = token.spaced && !self.text.is_empty() || self.is_second_minus(token);
        self.full = self.text.len() + usize::from(blank) + shown.len() > ATTRIBUTE_BYTES_MAX;
        if self.full {
            return;
        }
        self.text.push_str(if blank { " " } else { "" });
        let end = token.start + token.text.len();
        if token.kind == Kind::Literal {
            self.text.push('?');
            self.same = (end, end);
        } else {
            self.same = (token.start, end);
        }
    }

    /// Two signs that touch would begin a comment, once a blank stands behind them where a comment stood.
    fn is_second_minus(&self, token: &Token) -> bool {
        self.minus && is_minus(token)
    }

    fn fold_begins(&mut self, token: &Token) {
        let rows = token.keyword == Keyword::Values;
        let list = match self.previous {
            Keyword::In => token.kind == Kind::Open,
            Keyword::Array => token.kind == Kind::OpenIndex,
            _ => false,
        };
        if rows || list {
            self.fold = Some(Fold {
                rows,
                array: self.previous == Keyword::Array && !rows,
                depth: 0,
                first_end: None,
                cast: false,
                filled: false,
            });
        }
    }

    fn fold(&mut self, token: &Token) {
        let Some(mut fold) = self.fold else { return };
        let step = fold.step(token);
        self.fold = Some(fold);
        match step {
            Step::Inside if token.kind == Kind::Comma && fold.depth == 0 => {
                self.copy();
                self.keep_first();
                // Only brackets may touch the word that comes behind the last row.
                let end = Some(self.text.len()).filter(|_| !fold.rows || self.text.ends_with(')'));
                self.fold = end.map(|_| Fold { first_end: end, ..fold });
            }
            Step::Inside => {}
            Step::End => {
                self.copy();
                self.keep_first();
                self.fold = None;
            }
            Step::Abort => self.fold = None,
        }
    }

    /// A comma without an element behind it stays: it may begin something else.
    fn keep_first(&mut self) {
        if let Some(Fold { first_end: Some(end), .. }) = self.fold
            && !self.text.ends_with(',')
        {
            self.text.truncate(end);
        }
    }
}

// === impl Fold ===

impl Fold {
    fn step(&mut self, token: &Token) -> Step {
        let between_rows = self.rows && self.depth == 0;
        let is_cast = token.kind == Kind::Operator && token.text == "::";
        match token.kind {
            // No list has empty elements.
            _ if !self.filled && (is_cast || token.kind == Kind::Comma) => return Step::Abort,
            Kind::Comma => (self.cast, self.filled) = (false, false),
            Kind::Open if !self.array => (self.depth, self.filled) = (self.depth + 1, false),
            Kind::Close if !self.array => return self.close(),
            Kind::OpenIndex if self.array => (self.depth, self.filled) = (self.depth + 1, false),
            Kind::CloseIndex if self.array => return self.close(),
            _ if between_rows => return Step::End,
            Kind::Literal | Kind::Placeholder => self.filled = true,
            Kind::Operator if is_cast => self.cast = true,
            // No type is called so: it is no list.
            Kind::Word if self.cast && !may_be_of_type(token.keyword) => return Step::Abort,
            Kind::Word | Kind::Quoted | Kind::Dot | Kind::OpenIndex | Kind::CloseIndex if self.cast => {}
            Kind::Word if is_constant(token.keyword) => self.filled = true,
            _ => return Step::Abort,
        }
        Step::Inside
    }

    fn close(&mut self) -> Step {
        (self.cast, self.filled) = (false, true);
        let Some(depth) = self.depth.checked_sub(1) else { return Step::End };
        self.depth = depth;
        Step::Inside
    }
}

/// Whether the word may be of a type's name, as in `timestamp with time zone`.
fn may_be_of_type(keyword: Keyword) -> bool {
    matches!(keyword, Keyword::Other | Keyword::With) || is_constant(keyword)
}

fn is_minus(token: &Token) -> bool {
    token.kind == Kind::Operator && token.text == "-"
}

/// Whether the word is a constant, or the type in front of one.
fn is_constant(keyword: Keyword) -> bool {
    use Keyword::{Date, Default, Interval, Null, Time, Timestamp};
    matches!(keyword, Null | Default | Date | Time | Timestamp | Interval)
}
