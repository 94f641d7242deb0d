//! What the server still has to answer, in the order in which it was asked.

use crate::limits::PIPELINE_MAX;
use alloc::collections::VecDeque;

/// Requests and what stands between them.
const ASKED_MAX: usize = 2 * PIPELINE_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// TLS or GSS is asked for: one byte.
    Encryption,
    /// A start-up message, up to the first `ReadyForQuery`.
    Session,
    /// A `Query` or `FunctionCall`, up to `ReadyForQuery`.
    Query,
    Execute,
    /// What prepares: so many messages. One that only closes is not reported.
    Replies {
        left: u32,
        is_reported: bool,
    },
    /// So many `Sync`, each up to `ReadyForQuery`.
    Sync(u32),
    /// Nobody knows what, up to `ReadyForQuery`.
    Lost,
}

impl Kind {
    /// An exchange was begun for it.
    pub(super) fn is_reported(self) -> bool {
        match self {
            Self::Session | Self::Query | Self::Execute | Self::Replies { is_reported: true, .. } => true,
            Self::Encryption | Self::Replies { .. } | Self::Sync(_) | Self::Lost => false,
        }
    }

    /// It is answered with a `ReadyForQuery` of its own.
    fn is_ready_at_end(self) -> bool {
        matches!(self, Self::Session | Self::Query | Self::Sync(_) | Self::Lost)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// `Parse` in front of it that were not confirmed yet.
    pub(super) parses: u32,
}

#[derive(Debug, Default)]
pub(super) struct Asked {
    entries: VecDeque<Entry>,
}

impl Asked {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= ASKED_MAX
    }

    pub(super) fn push(&mut self, kind: Kind, parses: u32) {
        self.entries.push_back(Entry { kind, parses });
    }

    pub(super) fn push_sync(&mut self) {
        match self.entries.back_mut() {
            Some(Entry { kind: Kind::Sync(n), .. }) => *n = n.saturating_add(1),
            _ => self.push(Kind::Sync(1), 0),
        }
    }

    pub(super) fn front(&self) -> Option<Kind> {
        self.entries.front().map(|entry| entry.kind)
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Entry> {
        self.entries.front_mut()
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.entries.pop_front()
    }

    /// One `Sync` was answered.
    pub(super) fn pop_sync(&mut self) {
        match self.entries.front_mut() {
            Some(Entry { kind: Kind::Sync(n), .. }) if *n > 1 => *n -= 1,
            _ => drop(self.entries.pop_front()),
        }
    }

    /// The first is followed by a `Sync`.
    pub(super) fn syncs_next(&self) -> bool {
        matches!(self.entries.get(1), Some(Entry { kind: Kind::Sync(_), .. }))
    }

    /// The server does not look at those while it takes the data of a COPY.
    pub(super) fn drop_syncs_behind_first(&mut self) {
        if self.syncs_next() {
            self.entries.remove(1);
        }
    }

    /// Something was asked behind the next `ReadyForQuery`.
    pub(super) fn has_later(&self) -> bool {
        let end = self.entries.iter().position(|entry| entry.kind.is_ready_at_end());
        end.is_some_and(|end| self.entries.len() > end + 1 || matches!(self.entries[end].kind, Kind::Sync(2..)))
    }

    pub(super) fn forget_parses(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.parses = 0);
    }

    /// Drops what is not reported, up to the first that is; returns its number of `Parse`.
    pub(super) fn drop_unreported(&mut self) -> u32 {
        let n = self.entries.iter().take_while(|entry| !entry.kind.is_reported()).count();
        self.entries.drain(..n).map(|entry| entry.parses).sum()
    }

    /// Drops the first `n` that are reported, less the very first if it is being answered, and what is not reported around
    /// them. Returns their number of `Parse`.
    pub(super) fn drop_reported(&mut self, n: usize, first_is_open: bool) -> u32 {
        let is_reported = |entry: &Entry| entry.kind.is_reported();
        let skipped = usize::from(first_is_open);
        let start =
            if first_is_open { self.entries.iter().skip(1).position(is_reported).map(|at| at + 1) } else { Some(0) };
        let Some(start) = start.filter(|_| n > 0) else { return 0 };
        let kept = self.entries.iter().enumerate().skip(skipped).filter(|(_, entry)| is_reported(entry)).nth(n);
        let end = kept.map_or(self.entries.len(), |(at, _)| at);
        self.entries.drain(start.min(end)..end).map(|entry| entry.parses).sum()
    }
}
