//! MariaDB's bulk execution: a prepared statement with several sets of values.
//! <https://mariadb.com/kb/en/com_stmt_bulk_execute/>

use super::attributes::value;
use super::wire::Reader;
use crate::sql::{SUMMARY_BYTES_MAX, Statement};
use alloc::format;
use alloc::string::String;

/// Bytes of one that are looked at.
pub(super) const BULK_BYTES_MAX: usize = 4_096;

/// Its sets, as far as they can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sets {
    Exactly(u32),
    /// And at least one more has begun.
    MoreThan(u32),
}

impl Sets {
    /// `payload`: behind the command, which is all of it if it is not `cut`. `None`: types were told before, or a value is none.
    pub(super) fn count(payload: &[u8], parameters: u16, cut: bool) -> Option<Self> {
        const TYPES_SENT: u16 = 128;
        let mut reader = Reader(payload);
        let (Some(_), Some(flags)) = (reader.u32(), reader.u16()) else { return None };
        let types = reader.bytes(2 * usize::from(parameters)).filter(|types| !types.is_empty())?;
        if flags & TYPES_SENT == 0 {
            return None;
        }
        let mut sets = 0;
        while !reader.0.is_empty() {
            match set(&mut reader, types) {
                Some(true) => sets += 1,
                None if cut => return Some(Self::MoreThan(sets)),
                Some(false) | None => return None,
            }
        }
        // It may have been cut between two of them.
        Some(if cut { Self::MoreThan(sets) } else { Self::Exactly(sets) })
    }

    /// By the conventions, one is no batch.
    pub(super) fn is_batch(self) -> bool {
        matches!(self, Self::Exactly(2..) | Self::MoreThan(1..))
    }

    pub(super) fn size(self) -> Option<u32> {
        if let Self::Exactly(n @ 2..) = self { Some(n) } else { None }
    }
}

/// Passes over a set. `Some(false)`: it is none; `None`: there is not enough of it.
fn set(reader: &mut Reader<'_>, types: &[u8]) -> Option<bool> {
    for kind in types.chunks_exact(2).filter_map(|kind| kind.first()) {
        match reader.u8()? {
            0 => value(reader, *kind)?,
            // NULL, the column's default, no value at all.
            1..=3 => {}
            _ => return Some(false),
        }
    }
    Some(true)
}

/// The same statement, several times at once.
pub(super) fn batch(statement: &Statement) -> Statement {
    let prefixed = |text: &str| if text.is_empty() { String::from("BATCH") } else { format!("BATCH {text}") };
    let mut summary = prefixed(&statement.summary);
    if let Some(end) = summary.get(..=SUMMARY_BYTES_MAX).and_then(|start| start.rfind(' ')) {
        summary.truncate(end);
    }
    let operation = prefixed(statement.operation.as_deref().unwrap_or_default());
    Statement { summary, operation: Some(operation.into()), ..statement.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three sets of a number and a text.
    const BULK: &[u8] = b"\x04\0\0\0\x80\0\x03\0\xfd\0\0\x01\0\0\0\0\x01a\x01\0\x01b\0\x03\0\0\0\x03";

    #[test]
    fn sets_are_counted() {
        assert_eq!(Sets::count(BULK, 2, false), Some(Sets::Exactly(3)));
        assert_eq!(Sets::count(&BULK[..BULK.len() - 1], 2, false), None);
        assert_eq!(Sets::count(&BULK[..BULK.len() - 1], 2, true), Some(Sets::MoreThan(2)));
        assert_eq!(Sets::count(BULK, 2, true), Some(Sets::MoreThan(3)));
        assert_eq!(Sets::count(BULK, 0, false), None);
        assert_eq!(Sets::count(b"\x04\0\0\0\0\0\0\x01\0\0\0", 1, false), None);
    }

    #[test]
    fn one_is_no_batch() {
        let sizes = [Sets::Exactly(1), Sets::MoreThan(0), Sets::MoreThan(1), Sets::Exactly(2)];
        assert_eq!(sizes.map(Sets::is_batch), [false, false, true, true]);
        assert_eq!(sizes.map(Sets::size), [None, None, None, Some(2)]);
    }

    #[test]
    fn its_summary_holds_whole_words() {
        let summary = format!("INSERT {} {}", "a".repeat(100), "b".repeat(147));
        let statement = batch(&Statement { summary, ..Statement::default() });
        assert_eq!(statement.summary, format!("BATCH INSERT {}", "a".repeat(100)));
        assert_eq!(batch(&Statement::default()).operation.as_deref(), Some("BATCH"));
    }
}
