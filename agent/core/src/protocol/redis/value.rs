//! Reads one value of a reply, however deep, without keeping it.

use super::wire::{Length, line_len};

/// Streamed aggregates within one another, and what is in those.
const LEVELS_MAX: usize = 16;
/// Elements to come: until `.`.
const STREAMED: u64 = u64::MAX;

/// A value that is being read.
#[derive(Clone, Debug)]
pub(super) struct Value {
    /// Values to come on each level. Those of an aggregate of known length are counted with those behind it.
    levels: [u64; LEVELS_MAX],
    depth: usize,
    pending: Pending,
    /// In a streamed string.
    chunks: bool,
    /// The integer that came last.
    pub(super) integer: Option<i64>,
}

/// What comes before the next value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Nothing,
    /// So many bytes.
    Bytes(u64),
    /// The end of a line.
    Line,
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    /// The next so many bytes are of no interest; see [`Value::skip`].
    Skip(u64),
    Done,
    Malformed,
}

impl Value {
    /// `n` values, one behind the other.
    pub(super) fn of(n: u64) -> Self {
        let mut levels = [0; LEVELS_MAX];
        levels[0] = n;
        Self { levels, depth: usize::from(n > 0), pending: Pending::Nothing, chunks: false, integer: None }
    }

    /// Takes as many bytes as it can; so many, and what is then.
    pub(super) fn read(&mut self, bytes: &[u8]) -> (usize, Progress) {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            match self.pending {
                Pending::Nothing if self.depth == 0 => return (at, Progress::Done),
                Pending::Nothing => match self.element(rest) {
                    Ok(0) => return (at, Progress::More),
                    Ok(taken) => at += taken,
                    Err(Malformed) => return (at, Progress::Malformed),
                },
                Pending::Bytes(n) => {
                    let taken = n.min(rest.len() as u64);
                    at += taken as usize;
                    self.pending = if taken < n { Pending::Bytes(n - taken) } else { Pending::Nothing };
                    if taken < n {
                        return (at, Progress::Skip(n - taken));
                    }
                }
                Pending::Line => {
                    let Some(len) = line_len(rest) else { return (bytes.len(), Progress::More) };
                    at += len;
                    self.pending = Pending::Nothing;
                }
            }
        }
    }

    /// Those bytes are passed over.
    pub(super) fn skip(&mut self) {
        self.pending = Pending::Nothing;
    }

    pub(super) fn is_done(&self) -> bool {
        self.depth == 0 && self.pending == Pending::Nothing
    }

    /// The next bytes are of no interest.
    pub(super) fn skips(&self) -> bool {
        matches!(self.pending, Pending::Bytes(_))
    }

    /// The start of the next value; 0: not all of it is there.
    fn element(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match bytes {
            [] => Ok(0),
            [b';', length @ ..] if self.chunks => self.chunk(length),
            _ if self.chunks => Err(Malformed),
            [b'+' | b'-' | b'_' | b',' | b'#' | b'(', ..] => {
                self.pending = Pending::Line;
                self.complete();
                Ok(1)
            }
            [b':', number @ ..] => self.number(number),
            [b'$' | b'!' | b'=', length @ ..] => self.string(length),
            [b'*' | b'~' | b'>', length @ ..] => self.aggregate(length, 1, true),
            [b'%', length @ ..] => self.aggregate(length, 2, true),
            [b'|', length @ ..] => self.aggregate(length, 2, false),
            [b'.', ..] => self.end_of_stream(bytes),
            _ => Err(Malformed),
        }
    }

    fn number(&mut self, number: &[u8]) -> Result<usize, Malformed> {
        match Length::read(number) {
            Length::Partial => Ok(0),
            Length::Of { n, bytes } => {
                self.integer = Some(n);
                self.complete();
                Ok(1 + bytes)
            }
            _ => Err(Malformed),
        }
    }

    fn string(&mut self, length: &[u8]) -> Result<usize, Malformed> {
        match Length::read(length) {
            Length::Partial => Ok(0),
            Length::Of { n: -1, bytes } => {
                self.complete();
                Ok(1 + bytes)
            }
            Length::Of { n, bytes } => {
                self.pending = Pending::Bytes(bulk_bytes(n)?);
                self.complete();
                Ok(1 + bytes)
            }
            Length::Streamed { bytes } => {
                self.chunks = true;
                Ok(1 + bytes)
            }
            Length::Malformed => Err(Malformed),
        }
    }

    /// `;5`: so many bytes of a streamed string; none end it.
    fn chunk(&mut self, length: &[u8]) -> Result<usize, Malformed> {
        match Length::read(length) {
            Length::Partial => Ok(0),
            Length::Of { n: 0, bytes } => {
                self.chunks = false;
                self.complete();
                Ok(1 + bytes)
            }
            Length::Of { n, bytes } => {
                self.pending = Pending::Bytes(bulk_bytes(n)?);
                Ok(1 + bytes)
            }
            _ => Err(Malformed),
        }
    }

    /// `n` elements of `values` values each. Attributes are in front of a value and not one.
    fn aggregate(&mut self, length: &[u8], values: u64, is_value: bool) -> Result<usize, Malformed> {
        match Length::read(length) {
            Length::Partial => Ok(0),
            Length::Of { n: -1, bytes } if is_value => {
                self.complete();
                Ok(1 + bytes)
            }
            Length::Of { n, bytes } => {
                let n = u64::try_from(n).ok().and_then(|n| n.checked_mul(values)).ok_or(Malformed)?;
                self.expect(n, is_value)?;
                Ok(1 + bytes)
            }
            Length::Streamed { bytes } if is_value => {
                self.open(STREAMED)?;
                Ok(1 + bytes)
            }
            _ => Err(Malformed),
        }
    }

    fn end_of_stream(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match bytes {
            _ if !self.is_streamed() => Err(Malformed),
            [_, b'\r', b'\n', ..] => {
                self.depth -= 1;
                self.complete();
                Ok(3)
            }
            [_] | [_, b'\r'] => Ok(0),
            _ => Err(Malformed),
        }
    }

    fn top(&mut self) -> Option<&mut u64> {
        self.levels.get_mut(self.depth.checked_sub(1)?)
    }

    fn is_streamed(&mut self) -> bool {
        self.top().is_some_and(|left| *left == STREAMED)
    }

    /// So many values more come first: those of one that is expected, or of attributes in front of it.
    fn expect(&mut self, n: u64, is_value: bool) -> Result<(), Malformed> {
        if self.is_streamed() {
            return if n > 0 { self.open(n) } else { Ok(()) };
        }
        let left = self.top().ok_or(Malformed)?;
        *left = left.checked_add(n).filter(|left| *left < STREAMED).ok_or(Malformed)?;
        if is_value {
            self.complete();
        }
        Ok(())
    }

    fn open(&mut self, n: u64) -> Result<(), Malformed> {
        *self.levels.get_mut(self.depth).ok_or(Malformed)? = n;
        self.depth += 1;
        Ok(())
    }

    /// One value less to come.
    fn complete(&mut self) {
        while let Some(left) = self.top().filter(|left| **left != STREAMED) {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.depth -= 1;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Malformed;

/// With the line's end.
fn bulk_bytes(n: i64) -> Result<u64, Malformed> {
    u64::try_from(n).map(|n| n + 2).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the bytes are one value and nothing else, whole and byte by byte.
    fn is_value(text: &str) -> bool {
        let mut whole = Value::of(1);
        let (taken, progress) = whole.read(text.as_bytes());
        let mut split = Value::of(1);
        let mut from = 0;
        let mut done = false;
        for to in 1..=text.len() {
            let (taken, progress) = split.read(&text.as_bytes()[from..to]);
            from += taken;
            assert!(!done || progress == Progress::Done, "{text:?} was done before byte {to}");
            done = progress == Progress::Done && from == to;
        }
        assert_eq!(done, taken == text.len() && progress == Progress::Done, "{text:?}");
        done
    }

    #[test]
    fn values_end_where_they_end() {
        let values = [
            "+OK\r\n",
            "$5\r\nhello\r\n",
            "$0\r\n\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "_\r\n",
            "#t\r\n",
            ",3.5\r\n",
            "(3492890328409238509324850943850943825024385\r\n",
            "!5\r\nERR x\r\n",
            "=7\r\ntxt:abc\r\n",
            "*0\r\n",
            "*2\r\n*1\r\n:1\r\n$1\r\na\r\n",
            "%1\r\n+a\r\n~2\r\n:1\r\n:2\r\n",
            "|1\r\n+ttl\r\n:3600\r\n:5\r\n",
            "*2\r\n|1\r\n+ttl\r\n:3600\r\n:5\r\n:6\r\n",
            "$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n",
            "*?\r\n:1\r\n*2\r\n:1\r\n:2\r\n%?\r\n+a\r\n:1\r\n.\r\n*0\r\n.\r\n",
        ];
        assert_eq!(values.iter().find(|text| !is_value(text)), None);
    }

    #[test]
    fn what_is_none_is_malformed() {
        let values =
            [".\r\n", "?", "$x\r\n", "*1\r\n.\r\n", "$?\r\n+a\r\n", "%9223372036854775807\r\n*9223372036854775807\r\n"];
        assert!(values.iter().all(|text| Value::of(1).read(text.as_bytes()).1 == Progress::Malformed));
        let deep = "*?\r\n".repeat(LEVELS_MAX + 1);
        assert_eq!(Value::of(1).read(deep.as_bytes()).1, Progress::Malformed);
    }
}
