//! Calls that a process makes again and again: whether it makes them for requests only, or also by itself.
//!
//! Where nothing tells who a call is for, the only request in flight is a guess: it may be a timer's. But who calls by
//! itself does so in idle times as well. A call that was made for request after request, and never in idle times that
//! were many times longer, is made for requests (docs/adr/0015).

use crate::limits::{ROUTINES_MAX, ROUTINES_PER_PROCESS_MAX};
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;

/// Requests, each alone in flight, that must have made a call.
const REQUESTS_MIN: u32 = 4;
/// How many times longer than it worked on requests a process must have been idle since it made a call first.
const IDLE_SHARE_MIN: u64 = 20;

/// How long a call that was made for none is not believed; then it is observed anew. A request whose record was lost looks
/// the same.
const STRAY_NS: u64 = 600_000_000_000;

/// Where a call goes and what it asks for, hashed; see [`crate::ids::Ids::routine`].
pub(crate) type Key = u64;

/// What a process had to do up to now, in ns of [`crate::event::Event::at`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) now: u64,
    /// Time with requests in flight.
    pub(crate) busy_ns: u64,
    /// Times that it had none and then one.
    pub(crate) periods: u64,
}

/// What is known of a call that comes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Habit {
    /// Requests, each alone in flight, that made it. 0: it was also made for none.
    pub(crate) requests: u32,
    /// There was enough time to see it made for none.
    is_observed: bool,
    /// The request in flight has made it as often as any before it.
    pub(crate) is_exhausted: bool,
}

impl Habit {
    /// No more than a request makes this call.
    pub(crate) fn is_of_requests(self) -> bool {
        self.requests >= REQUESTS_MIN && self.is_observed
    }
}

#[derive(Debug)]
struct Routine {
    first: Work,
    last: Work,
    requests: u32,
    /// How often it was made since the last of them came.
    made: u32,
    /// The same of any before that, at most.
    made_most: u32,
    /// It was made for none, or for who knows which, last at this time.
    stray_at: Option<u64>,
}

impl Routine {
    fn new(work: Work) -> Self {
        Self { first: work, last: work, requests: 0, made: 0, made_most: 0, stray_at: None }
    }
}

/// By process and key.
#[derive(Debug, Default)]
pub(crate) struct Routines(BTreeMap<(u32, Key), Routine>);

impl Routines {
    pub(crate) fn habit(&self, tgid: u32, key: Key, work: Work) -> Habit {
        let known = self.0.get(&(tgid, key)).filter(|routine| routine.stray_at.is_none());
        let Some(routine) = known else { return Habit::default() };
        let busy = work.busy_ns.saturating_sub(routine.first.busy_ns);
        let idle = work.now.saturating_sub(routine.first.now).saturating_sub(busy);
        let is_exhausted = routine.last.periods == work.periods && routine.made >= routine.made_most;
        Habit { requests: routine.requests, is_observed: idle / IDLE_SHARE_MIN >= busy, is_exhausted }
    }

    /// The call was made for a request that is alone in flight.
    pub(crate) fn made_for_one(&mut self, tgid: u32, key: Key, work: Work) {
        let Some(routine) = self.entry(tgid, key, work) else { return };
        if routine.stray_at.is_some_and(|at| at.saturating_add(STRAY_NS) < work.now) {
            *routine = Routine::new(work);
        }
        if routine.requests == 0 || routine.last.periods != work.periods {
            routine.requests = routine.requests.saturating_add(1);
            (routine.made, routine.made_most) = (0, routine.made_most.max(routine.made));
        }
        routine.made = routine.made.saturating_add(1);
        routine.last = work;
    }

    /// The call was made for none, or for who knows which.
    pub(crate) fn strayed(&mut self, tgid: u32, key: Key, work: Work) {
        if let Some(routine) = self.entry(tgid, key, work) {
            (routine.stray_at, routine.last) = (Some(work.now), work);
        }
    }

    /// `None`: there are too many, in other processes.
    fn entry(&mut self, tgid: u32, key: Key, work: Work) -> Option<&mut Routine> {
        if !self.0.contains_key(&(tgid, key)) {
            self.make_room(tgid);
        }
        let is_full = self.0.len() >= ROUTINES_MAX;
        match self.0.entry((tgid, key)) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(_) if is_full => None,
            Entry::Vacant(new) => Some(new.insert(Routine::new(work))),
        }
    }

    /// Forgets what a process has not done for longest, if it does many things.
    fn make_room(&mut self, tgid: u32) {
        let of_process = self.0.range((tgid, 0)..=(tgid, Key::MAX));
        if of_process.clone().count() < ROUTINES_PER_PROCESS_MAX {
            return;
        }
        let oldest = of_process.min_by_key(|(_, routine)| routine.last.now).map(|(key, _)| *key);
        oldest.and_then(|key| self.0.remove(&key));
    }

    /// The process is gone, or is another program now.
    pub(crate) fn forget(&mut self, tgid: u32) {
        while let Some(key) = self.0.range((tgid, 0)..=(tgid, Key::MAX)).next().map(|(key, _)| *key) {
            self.0.remove(&key);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Key = 7;
    const SECOND: u64 = 1_000_000_000;

    /// Requests of 10 ms, each alone, one every `every` ns, that all make the call.
    fn after_requests(n: u64, every: u64) -> (Routines, Work) {
        let mut routines = Routines::default();
        let work = |n| Work { now: n * every, busy_ns: n * 10_000_000, periods: n };
        (1..=n).for_each(|n| routines.made_for_one(1, CALL, work(n)));
        (routines, work(n + 1))
    }

    #[test]
    fn what_a_few_requests_made_and_nobody_else_is_made_for_requests() {
        let (routines, now) = after_requests(4, SECOND);
        assert!(routines.habit(1, CALL, now).is_of_requests());
        let (routines, now) = after_requests(3, SECOND);
        assert!(!routines.habit(1, CALL, now).is_of_requests(), "too few");
        assert!(!routines.habit(2, CALL, now).is_of_requests(), "another process");
    }

    #[test]
    fn nothing_is_known_where_there_was_no_time_to_see_it_made_for_nobody() {
        let (routines, now) = after_requests(1_000, 100_000_000);
        assert!(!routines.habit(1, CALL, now).is_of_requests());
    }

    #[test]
    fn what_was_once_made_for_none_is_not_believed_and_then_observed_anew() {
        let (mut routines, mut work) = after_requests(10, SECOND);
        routines.strayed(1, CALL, work);
        for request in 0..6 {
            assert!(!routines.habit(1, CALL, work).is_of_requests(), "{request}");
            work = Work { now: work.now + STRAY_NS / 2, periods: work.periods + 1, ..work };
            routines.made_for_one(1, CALL, work);
        }
        assert!(routines.habit(1, CALL, work).is_of_requests());
        routines.forget(1);
        assert_eq!(routines.len(), 0);
    }

    #[test]
    fn calls_of_one_request_count_once() {
        let mut routines = Routines::default();
        let work = Work { now: 1, busy_ns: 0, periods: 1 };
        (0..9).for_each(|_| routines.made_for_one(1, CALL, work));
        assert_eq!(routines.habit(1, CALL, work).requests, 1);
    }

    #[test]
    fn a_process_that_does_many_things_is_remembered_for_the_last_ones() {
        let mut routines = Routines::default();
        let work = |now| Work { now, busy_ns: 0, periods: now };
        (0..10_000).for_each(|n| routines.made_for_one(1, n, work(n)));
        assert_eq!(routines.len(), ROUTINES_PER_PROCESS_MAX);
        assert_eq!(routines.habit(1, 9_999, work(10_000)).requests, 1);
        assert_eq!(routines.habit(1, 0, work(10_000)).requests, 0);
    }
}
