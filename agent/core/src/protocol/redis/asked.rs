//! What waits for an answer, and what of an answer is told unasked.

use super::arguments::Arguments;
use super::commands::Kind;
use super::wire::{Length, bulk, number};
use crate::limits::PIPELINE_MAX;
use alloc::collections::VecDeque;

/// A request without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Plain,
    Select {
        index: u32,
    },
    /// So many confirmations come.
    Confirmed {
        left: u64,
    },
    /// One confirmation for each channel, pattern or shard channel that there is.
    AllConfirmed(Topic),
    Reset,
    Monitor,
    Replicate,
    /// Older servers refuse it, and nobody minds.
    Optional,
    /// A part of the requests was lost, and so how many answers come next.
    Hole {
        answered: bool,
    },
}

/// What can be subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Channel,
    Pattern,
    Shard,
}

impl Asked {
    pub(super) fn of(arguments: &Arguments<'_>) -> Self {
        let Some(command) = arguments.command else { return Self::Plain };
        match command.kind {
            Kind::Select => {
                let index = arguments.get(1).and_then(number).and_then(|n| u32::try_from(n).ok());
                index.map_or(Self::Plain, |index| Self::Select { index })
            }
            Kind::Subscribe | Kind::Unsubscribe if arguments.count > 1 => Self::Confirmed { left: arguments.count - 1 },
            Kind::Unsubscribe => Self::AllConfirmed(Topic::of(command.name.as_bytes()).unwrap_or(Topic::Channel)),
            Kind::Optional => Self::Optional,
            Kind::Login if command.name == "HELLO" => Self::Optional,
            Kind::Reset => Self::Reset,
            Kind::Monitor => Self::Monitor,
            Kind::Replicate => Self::Replicate,
            _ => Self::Plain,
        }
    }

    fn is_told(self) -> bool {
        !matches!(self, Self::Hole { .. })
    }
}

impl Topic {
    /// Of a command or of its confirmation.
    fn of(word: &[u8]) -> Option<Self> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        match word.first()?.to_ascii_lowercase() {
            b'p' if is(b"psubscribe") || is(b"punsubscribe") => Some(Self::Pattern),
            b's' if is(b"ssubscribe") || is(b"sunsubscribe") => Some(Self::Shard),
            b's' | b'u' if is(b"subscribe") || is(b"unsubscribe") => Some(Self::Channel),
            _ => None,
        }
    }
}

/// Requests without an answer, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    asked: VecDeque<Asked>,
    told: usize,
}

impl Queue {
    /// One more that is told of would be too many.
    pub(super) fn is_full(&self) -> bool {
        self.told >= PIPELINE_MAX
    }

    pub(super) fn push(&mut self, asked: Asked) {
        self.told += usize::from(asked.is_told());
        self.asked.push_back(asked);
    }

    /// Some requests were lost.
    pub(super) fn lose(&mut self) {
        if !self.has_hole() {
            self.asked.push_back(Asked::Hole { answered: false });
        }
    }

    /// Answers came that may be those to what was lost.
    pub(super) fn hole_is_answered(&mut self) {
        if let Some(Asked::Hole { answered }) = self.asked.front_mut() {
            *answered = true;
        }
    }

    pub(super) fn front(&self) -> Option<Asked> {
        self.asked.front().copied()
    }

    /// So many answers may come to what was asked.
    pub(super) fn may_have(&self, answers: usize) -> bool {
        let several = |asked: &Asked| {
            matches!(asked, Asked::Confirmed { .. } | Asked::AllConfirmed(_) | Asked::Monitor | Asked::Hole { .. })
        };
        answers <= self.asked.len() || self.asked.iter().any(several)
    }

    pub(super) fn pop(&mut self) -> Option<Asked> {
        let asked = self.asked.pop_front()?;
        self.told -= usize::from(asked.is_told());
        Some(asked)
    }

    /// What is asked now is behind something that was lost.
    pub(super) fn has_hole(&self) -> bool {
        matches!(self.asked.back(), Some(Asked::Hole { .. }))
    }

    /// Forgets `n` that were told of, and those that were not between them.
    pub(super) fn forget(&mut self, n: usize) {
        let kept = self.told.saturating_sub(n);
        while self.told > kept {
            self.pop();
        }
    }

    pub(super) fn selects(&self) -> bool {
        self.asked.iter().any(|asked| matches!(asked, Asked::Select { .. }))
    }
}

/// What is subscribed, as the server confirmed it.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    channels: u64,
    patterns: u64,
    shards: u64,
}

impl Subscriptions {
    pub(super) fn are_any(&self) -> bool {
        self.channels + self.patterns + self.shards > 0
    }

    /// A confirmation says that there are so many now: of channels and patterns together, or of shard channels.
    pub(super) fn confirm(&mut self, topic: Topic, total: u64) {
        match topic {
            Topic::Channel => self.channels = total.saturating_sub(self.patterns),
            Topic::Pattern => self.patterns = total.saturating_sub(self.channels),
            Topic::Shard => self.shards = total,
        }
    }

    pub(super) fn of(&self, topic: Topic) -> u64 {
        match topic {
            Topic::Channel => self.channels,
            Topic::Pattern => self.patterns,
            Topic::Shard => self.shards,
        }
    }
}

/// What an array or a push is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Partial,
    Confirmation(Topic),
    Message,
    Other,
}

/// Longest first word of those that are looked for, with its framing.
const WORD_BYTES: usize = 16;

impl About {
    /// Of the bytes behind the type.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let (count, at) = match Length::read(bytes) {
            Length::Partial => return Self::Partial,
            Length::Of { n: n @ 3..=4, bytes } => (n, bytes),
            _ => return Self::Other,
        };
        let len = match bytes.get(at..).unwrap_or_default() {
            [] => return Self::Partial,
            [b'$', length @ ..] => Length::read(length),
            _ => return Self::Other,
        };
        let word = match len {
            Length::Partial => return Self::Partial,
            Length::Of { n, bytes: line } if (1..=WORD_BYTES as i64).contains(&n) => {
                bulk(bytes, at + 1 + line, n.unsigned_abs())
            }
            _ => return Self::Other,
        };
        match (word, count) {
            (None, _) => Self::Partial,
            (Some(b"message" | b"smessage"), 3) | (Some(b"pmessage"), 4) => Self::Message,
            (Some(word), 3) => Topic::of(word).map_or(Self::Other, Self::Confirmation),
            _ => Self::Other,
        }
    }
}
