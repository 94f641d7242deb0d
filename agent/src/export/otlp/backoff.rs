//! How long to wait before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const MAX: Duration = Duration::from_secs(5);

/// Exponential, with the upper half of each delay drawn at random so that agents do not come back in step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) const fn new() -> Self {
        Self(FIRST)
    }

    /// The delay before the next attempt; `at_least` where the receiver asked for it.
    pub(super) fn next(&mut self, at_least: Option<Duration>) -> Duration {
        let full = self.0;
        self.0 = (full * 2).min(MAX);
        let jittered = full.div_f64(2.0).mul_f64(1.0 + fastrand::f64());
        jittered.max(at_least.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_within_their_jitter() {
        let mut backoff = Backoff::new();
        let full = [250, 500, 1000, 2000, 4000, 5000, 5000].map(Duration::from_millis);
        for full in full {
            let delay = backoff.next(None);
            assert!(full / 2 <= delay && delay <= full, "{delay:?} of {full:?}");
        }
    }

    #[test]
    fn the_receivers_wish_is_a_lower_bound() {
        let wish = Duration::from_secs(7);
        assert_eq!(Backoff::new().next(Some(wish)), wish);
    }
}
