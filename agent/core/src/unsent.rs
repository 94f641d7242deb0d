//! Calls that threads have asked a library to send, and whose heads were not seen yet. Where there is only one, and its thread is
//! still asking, a head that this thread writes is that call's: docs/adr/0022.

use crate::causality::ExchangeId;
use crate::limits::{SETTLE_NS, UNSENT_MAX, UNSENT_NS};
use alloc::vec::Vec;

/// Those of one process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsent {
    /// Oldest first.
    calls: Vec<Call>,
    /// Calls are seen at all.
    is_known: bool,
    /// There may be calls that are not among them.
    incomplete_until: u64,
    /// Those that were told to be their writers' lately.
    told: Vec<Told>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    id: ExchangeId,
    tid: u32,
    at: u64,
    /// The thread has not returned from the call.
    is_inside: bool,
}

/// Whose head was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// Of the call that the writer is asking for.
    Own,
    /// Of one of several, or of one that nobody is asking for at the moment.
    Any,
    /// Of a call that nobody has asked for, or another one from inside one call, so that these may not be what they seemed to be.
    Unasked(Vec<ExchangeId>),
}

#[derive(Clone, Copy, Debug)]
struct Call {
    tid: u32,
    at: u64,
    /// The thread has not returned from it.
    is_inside: bool,
    /// A head may have been its own, or that of another one.
    is_doubted: bool,
}

impl Unsent {
    pub(crate) fn is_known(&self) -> bool {
        self.is_known
    }

    pub(crate) fn started(&mut self, tid: u32, at: u64) {
        self.is_known = true;
        self.expire(at);
        if self.calls.len() >= UNSENT_MAX {
            self.calls.clear();
            self.incomplete_until = at.saturating_add(UNSENT_NS);
        }
        self.returned(tid);
        self.calls.push(Call { tid, at, is_inside: true, is_doubted: false });
    }

    pub(crate) fn returned(&mut self, tid: u32) {
        self.calls.iter_mut().filter(|call| call.tid == tid).for_each(|call| call.is_inside = false);
        self.told.iter_mut().filter(|told| told.tid == tid).for_each(|told| told.is_inside = false);
    }

    /// `tid` wrote the head of the call `id`.
    pub(crate) fn sent(&mut self, id: ExchangeId, tid: u32, at: u64) -> Head {
        self.expire(at);
        if self.calls.is_empty() {
            return Head::Unasked(self.told.drain(..).map(|told| told.id).collect());
        }
        let is_only = self.calls.len() == 1;
        let own = self.calls.iter().rposition(|call| call.tid == tid && call.is_inside && call.at <= at);
        // Whose it is otherwise is not known. If there is one that is never sent, it is not the newest for long.
        let sent = match own {
            Some(own) => Some(self.calls.remove(own)),
            None => self.calls.pop(),
        };
        self.calls.iter_mut().for_each(|call| call.is_doubted = true);
        // One of the two was not its own.
        let first = |told: &Told| own.is_none() && told.tid == tid && told.is_inside;
        if self.told.iter().any(first) {
            return Head::Unasked(self.told.extract_if(.., |told| first(told)).map(|told| told.id).collect());
        }
        let is_sure = sent.is_some_and(|call| own.is_some() && !call.is_doubted);
        if !is_only || !is_sure || at < self.incomplete_until || self.told.len() >= UNSENT_MAX {
            return Head::Any;
        }
        self.told.push(Told { id, tid, at, is_inside: true });
        Head::Own
    }

    /// Calls that fail before they are sent never will be.
    fn expire(&mut self, now: u64) {
        self.calls.retain(|call| call.at.saturating_add(UNSENT_NS) > now);
        self.told.retain(|told| told.at.saturating_add(SETTLE_NS) > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_call_is_sent_by_its_thread() {
        let mut calls = Unsent::default();
        calls.started(1, 10);
        assert_eq!(calls.sent(7, 1, 20), Head::Own);
    }

    #[test]
    fn a_head_that_nobody_asked_for_takes_back_what_was_told() {
        let mut calls = Unsent::default();
        calls.started(1, 10);
        calls.sent(7, 1, 20);
        calls.started(2, 10 + SETTLE_NS);
        calls.sent(8, 2, 20 + SETTLE_NS);
        assert_eq!(calls.sent(9, 2, 30 + SETTLE_NS), Head::Unasked(Vec::from([8])), "the other one is decided");
        assert_eq!(calls.sent(10, 2, 40 + SETTLE_NS), Head::Unasked(Vec::new()));
    }

    #[test]
    fn the_second_head_of_a_call_takes_back_the_first_though_another_call_has_begun() {
        let mut calls = Unsent::default();
        calls.started(3, 10);
        assert_eq!(calls.sent(7, 3, 20), Head::Own);
        calls.started(4, 30);
        assert_eq!(calls.sent(8, 3, 40), Head::Unasked(Vec::from([7])));
    }

    #[test]
    fn what_another_thread_writes_is_not_believed() {
        let mut calls = Unsent::default();
        calls.started(1, 10);
        assert_eq!(calls.sent(7, 2, 20), Head::Any);
        calls.started(1, 30);
        assert_eq!(calls.sent(8, 1, 40), Head::Own, "the first one is sent");
    }

    #[test]
    fn what_a_thread_writes_after_it_returned_is_not_believed() {
        let mut calls = Unsent::default();
        calls.started(1, 10);
        calls.returned(1);
        assert_eq!(calls.sent(7, 1, 20), Head::Any);
    }

    #[test]
    fn neither_is_the_first_of_two_nor_the_second() {
        let mut calls = Unsent::default();
        calls.started(1, 10);
        calls.started(2, 11);
        assert_eq!(calls.sent(7, 1, 20), Head::Any);
        assert_eq!(calls.sent(8, 2, 21), Head::Any, "the head before may have been this one's");
        calls.started(2, 30);
        assert_eq!(calls.sent(9, 2, 40), Head::Own);
    }

    #[test]
    fn a_call_that_waits_hides_the_others() {
        let mut calls = Unsent::default();
        calls.started(1, 10);
        calls.returned(1);
        for at in [20, 30, 40] {
            calls.started(2, at);
            assert_eq!(calls.sent(at, 2, at + 1), Head::Any, "it may be that of the one that waits");
        }
        let later = 10 + UNSENT_NS;
        calls.started(2, later);
        assert_eq!(calls.sent(7, 2, later + 1), Head::Own, "it has failed");
    }

    #[test]
    fn too_many_are_none() {
        let mut calls = Unsent::default();
        (0..=UNSENT_MAX as u32).for_each(|tid| calls.started(tid, 10));
        assert!(calls.calls.len() <= UNSENT_MAX);
        assert_eq!(calls.sent(7, UNSENT_MAX as u32, 20), Head::Any);
        calls.started(1, 10 + UNSENT_NS);
        assert_eq!(calls.sent(8, 1, 20 + UNSENT_NS), Head::Own);
    }
}
