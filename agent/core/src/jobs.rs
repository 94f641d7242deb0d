//! Whether a process's threads work for requests that other threads read, and nothing tells for which: then it is worth
//! seeing how they leave work for one another, which costs the process something (docs/adr/0019).

/// Calls that nothing explains after which the process is watched.
const UNEXPLAINED_MIN: u32 = 4;
/// Calls without a single one that is explained by what was handed over, after which watching was for nothing.
const TRIAL_CALLS: u32 = 256;
/// How long such a process is left alone.
const REST_NS: u64 = 600_000_000_000;

/// How the thread of a call came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// It carries the request that another thread read.
    HandedOver,
    /// It carries nothing, and there are requests in flight.
    Unexplained,
    /// In any other way.
    Other,
}

/// What the calls of one process have shown. It may have been watched from its start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Jobs {
    is_asked_for: bool,
    unexplained: u32,
    /// Since one was explained.
    calls: u32,
    rests_until: u64,
}

impl Jobs {
    /// Whether to watch from now on, or no more; `None`: as before.
    pub(crate) fn note(&mut self, call: Call, now: u64) -> Option<bool> {
        if call == Call::HandedOver {
            (self.unexplained, self.calls) = (0, 0);
            return None;
        }
        if now < self.rests_until {
            return None;
        }
        self.calls += 1;
        self.unexplained += u32::from(call == Call::Unexplained);
        if !self.is_asked_for && self.unexplained >= UNEXPLAINED_MIN {
            *self = Self { is_asked_for: true, ..Self::default() };
            return Some(true);
        }
        if self.calls >= TRIAL_CALLS {
            *self = Self { rests_until: now.saturating_add(REST_NS), ..Self::default() };
            return Some(false);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn told(jobs: &mut Jobs, call: Call, calls: u32, now: u64) -> Vec<bool> {
        (0..calls).filter_map(|_| jobs.note(call, now)).collect()
    }

    #[test]
    fn calls_that_nothing_explains_are_asked_about_once() {
        let mut jobs = Jobs::default();
        assert_eq!(told(&mut jobs, Call::Other, 100, 1), []);
        assert_eq!(told(&mut jobs, Call::Unexplained, UNEXPLAINED_MIN - 1, 1), []);
        assert_eq!(told(&mut jobs, Call::Unexplained, 1, 1), [true]);
        assert_eq!(told(&mut jobs, Call::Unexplained, TRIAL_CALLS - 1, 1), []);
        assert_eq!(told(&mut jobs, Call::HandedOver, 1, 1), []);
        assert_eq!(told(&mut jobs, Call::Unexplained, TRIAL_CALLS - 1, 1), [], "it was of use");
    }

    #[test]
    fn what_explains_nothing_is_left_for_a_while() {
        let mut jobs = Jobs::default();
        assert_eq!(told(&mut jobs, Call::Other, TRIAL_CALLS, 1), [false], "it may be watched from its start");
        assert_eq!(told(&mut jobs, Call::Unexplained, 1_000, REST_NS), []);
        let later = 1 + REST_NS;
        assert_eq!(told(&mut jobs, Call::Unexplained, UNEXPLAINED_MIN, later), [true]);
        assert_eq!(told(&mut jobs, Call::Unexplained, TRIAL_CALLS, later), [false]);
    }
}
