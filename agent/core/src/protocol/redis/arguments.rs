//! The arguments of a command, as far as they are needed: a head need not wait for the values behind its keys.

use super::commands::{Command, Keys, Kind, is_name};
use super::wire::{Length, bulk, line_len, number};
use crate::limits::ATTRIBUTE_BYTES_MAX;

/// Arguments that are looked at, the name among them.
pub(super) const ARGUMENTS_MAX: usize = 17;
/// What of a command is behind these many bytes is not looked at.
const HEAD_BYTES: usize = ATTRIBUTE_BYTES_MAX;

/// The start of a command.
#[derive(Debug, Default)]
pub(super) struct Arguments<'a> {
    known: [&'a [u8]; ARGUMENTS_MAX],
    known_count: usize,
    /// How many there are, the name among them. Of an inline command that is cut there may be more.
    pub(super) count: u64,
    pub(super) command: Option<&'static Command>,
}

/// What the bytes at a command's start are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Partial,
    /// No command starts with so many bytes.
    Malformed {
        bytes: usize,
    },
    /// An empty one, which has no answer.
    Nothing {
        bytes: usize,
    },
    /// All that is needed of it and maybe more is in `bytes`; `rest` is behind them.
    Complete {
        bytes: usize,
        rest: Rest,
    },
}

/// What of a command is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Arguments(u64),
    /// The end of an inline command.
    Line,
}

impl Rest {
    pub(super) const NONE: Self = Self::Arguments(0);

    /// Passes over the next argument: so many bytes, and what is to be skipped behind them.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Result<(usize, u64), Malformed> {
        let Self::Arguments(left) = self else {
            let end = line_len(bytes);
            if end.is_some() {
                *self = Self::NONE;
            }
            return Ok((end.unwrap_or(bytes.len()), 0));
        };
        let Some((header, len)) = header(bytes)? else { return Ok((0, 0)) };
        *left = left.saturating_sub(1);
        match bulk(bytes, header, len) {
            None => Ok((header, len.saturating_add(2))),
            Some(argument) => Ok((header + argument.len() + 2, 0)),
        }
    }

    /// The same, as far as whole arguments are there.
    pub(super) fn pass_whole(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while *self != Self::NONE {
            let mut next = *self;
            match next.pass(bytes.get(at..).unwrap_or_default()) {
                Ok((taken @ 1.., 0)) => at += taken,
                _ => break,
            }
            *self = next;
        }
        at
    }
}

impl<'a> Arguments<'a> {
    /// Those at the start of the bytes. `verbatim`: more is needed than names and keys.
    pub(super) fn read(&mut self, bytes: &'a [u8], verbatim: bool) -> Head {
        match bytes {
            [] => Head::Partial,
            [b'*', count @ ..] => match Length::read(count) {
                Length::Partial => Head::Partial,
                Length::Of { n, bytes: len } if n <= 0 => Head::Nothing { bytes: 1 + len },
                Length::Of { n, bytes: len } => {
                    self.count = n.unsigned_abs();
                    self.array(bytes, 1 + len, verbatim)
                }
                _ => Head::Malformed { bytes: 1 },
            },
            _ => self.inline(bytes),
        }
    }

    /// `*2\r\n$3\r\nGET\r\n$1\r\na\r\n`, of which the first line has `at` bytes.
    fn array(&mut self, bytes: &'a [u8], mut at: usize, verbatim: bool) -> Head {
        while self.needs_more(verbatim) {
            let (header, len) = match header(bytes.get(at..).unwrap_or_default()) {
                Ok(Some(header)) => header,
                Ok(None) if at < HEAD_BYTES => return Head::Partial,
                Ok(None) => break,
                Err(Malformed) => return Head::Malformed { bytes: at },
            };
            let argument = bulk(bytes, at + header, len);
            if ((at + header) as u64).saturating_add(len) > HEAD_BYTES as u64 {
                break;
            }
            let Some(argument) = argument else { return Head::Partial };
            self.push(argument);
            at += header + argument.len() + 2;
        }
        if !self.get(0).is_some_and(is_name) {
            return Head::Malformed { bytes: at };
        }
        let mut rest = Rest::Arguments(self.count - self.known_count as u64);
        at += rest.pass_whole(bytes.get(at..).unwrap_or_default());
        Head::Complete { bytes: at, rest }
    }

    /// `GET a\r\n`.
    fn inline(&mut self, bytes: &'a [u8]) -> Head {
        if !bytes.first().is_some_and(|first| first.is_ascii_alphabetic() || first.is_ascii_whitespace()) {
            return Head::Malformed { bytes: 1 };
        }
        let start = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
        let (line, rest) = match line_len(start) {
            Some(len) => (start.get(..len).unwrap_or(start), Rest::NONE),
            None if start.len() == HEAD_BYTES => (start, Rest::Line),
            None => return Head::Partial,
        };
        for word in words(line) {
            self.push(word);
            self.count += 1;
        }
        match self.get(0) {
            None => Head::Nothing { bytes: line.len() },
            Some(name) if is_name(name) => Head::Complete { bytes: line.len(), rest },
            // What follows may be a command, however much of it is there.
            Some(_) => Head::Malformed { bytes: 1 },
        }
    }

    /// Of those that were looked at.
    pub(super) fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.known.get(..self.known_count)?.get(index).copied()
    }

    /// Behind the name and, in a container, the subcommand.
    pub(super) fn first(&self) -> usize {
        self.command.map_or(1, |command| command.name.split(' ').count())
    }

    /// Whether an argument is a key, as far as that can be told.
    pub(super) fn is_key(&self, index: usize) -> bool {
        match self.keys() {
            Keys::None => false,
            Keys::Range { first, step, .. } => {
                let (first, step) = (usize::from(first), usize::from(step).max(1));
                index >= first && index <= self.last_key() && (index - first).is_multiple_of(step)
            }
            Keys::Counted { destination, count } => {
                (destination && index == 1) || (index > usize::from(count) && index <= self.last_key())
            }
            Keys::Streams => self.streams().is_some_and(|streams| index > streams) && index <= self.last_key(),
        }
    }

    /// May a key be among those that were not looked at?
    pub(super) fn misses_keys(&self) -> bool {
        self.last_key() >= self.known_count
    }

    /// Those of inline commands are more than are looked at where their names are followed by nothing that is needed.
    fn push(&mut self, argument: &'a [u8]) {
        if let Some(place) = self.known.get_mut(self.known_count) {
            *place = argument;
            self.known_count += 1;
        }
        match (self.known_count, self.command) {
            (1, _) => self.command = Command::find(argument, None),
            (2, Some(container)) if container.container => {
                self.command = Command::find(container.name.as_bytes(), Some(argument));
            }
            _ => {}
        }
    }

    fn keys(&self) -> Keys {
        self.command.map_or(Keys::None, |command| command.keys)
    }

    /// Is one behind those that are known needed?
    fn needs_more(&self, verbatim: bool) -> bool {
        let next = self.known_count;
        if next >= ARGUMENTS_MAX || next as u64 >= self.count {
            return false;
        }
        let Some(command) = self.command else { return next == 0 || verbatim };
        let named = match command.kind {
            Kind::Script | Kind::Select | Kind::Acknowledge => 1,
            Kind::ClientReply => 2,
            _ => usize::from(command.container),
        };
        next <= named || verbatim || next <= self.last_key()
    }

    /// The index of the last one; of the last that may be, where that is not known yet; 0: there is none.
    fn last_key(&self) -> usize {
        let last = match self.keys() {
            Keys::None => 0,
            Keys::Range { first, last, step } => self.last_of_range(u64::from(first), last, u64::from(step)),
            Keys::Counted { count, .. } => match self.get(usize::from(count)) {
                None => u64::from(count),
                Some(digits) => {
                    let keys = number(digits).and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
                    (u64::from(count) + keys).min(self.count.saturating_sub(1))
                }
            },
            Keys::Streams => match self.streams() {
                None => self.count.saturating_sub(1),
                Some(streams) => streams as u64 + self.count.saturating_sub(1 + streams as u64) / 2,
            },
        };
        usize::try_from(last).unwrap_or(usize::MAX)
    }

    fn last_of_range(&self, first: u64, last: i8, step: u64) -> u64 {
        let from_end = u64::from(last.unsigned_abs());
        let last =
            if last < 0 { self.count.saturating_sub(from_end) } else { from_end.min(self.count.saturating_sub(1)) };
        if last < first { 0 } else { last - (last - first) % step.max(1) }
    }

    /// The index of the word `STREAMS`.
    fn streams(&self) -> Option<usize> {
        (1..self.known_count).find(|index| self.get(*index).is_some_and(|word| word.eq_ignore_ascii_case(b"STREAMS")))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// `$5\r\n`: how long that is, and the argument behind it.
fn header(bytes: &[u8]) -> Result<Option<(usize, u64)>, Malformed> {
    match bytes {
        [] => Ok(None),
        [b'$', length @ ..] => match Length::read(length) {
            Length::Partial => Ok(None),
            Length::Of { n, bytes } => u64::try_from(n).map(|n| Some((1 + bytes, n))).map_err(|_| Malformed),
            _ => Err(Malformed),
        },
        _ => Err(Malformed),
    }
}

/// What is between blanks, or between quotes.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    core::iter::from_fn(move || {
        let start = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        rest = rest.get(start..)?;
        let quote = rest.first().copied().filter(|byte| matches!(byte, b'"' | b'\''));
        let from = usize::from(quote.is_some());
        let ends = |byte: &u8| quote.map_or(byte.is_ascii_whitespace(), |quote| *byte == quote);
        let inner = rest.get(from..)?;
        let len = inner.iter().position(ends).unwrap_or(inner.len());
        rest = inner.get(len + from..).unwrap_or_default();
        inner.get(..len)
    })
}
