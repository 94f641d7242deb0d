//! The machine's clocks.

use autospan_core::fact::Fact;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// `CLOCK_MONOTONIC`, ns: the clock of the kernel side's records.
pub fn monotonic_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Both clocks at about the same moment.
pub fn fact() -> Fact {
    let before = monotonic_ns();
    let unix_ns = read(ClockId::CLOCK_REALTIME);
    let after = monotonic_ns();
    Fact::Clock { monotonic_ns: before + (after - before) / 2, unix_ns }
}

/// These clocks exist on every Linux, so reading them does not fail.
fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).map(Duration::from).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_move_forward() {
        let before = monotonic_ns();
        let Fact::Clock { monotonic_ns: at, unix_ns } = fact() else { panic!("not a clock") };
        assert!(before <= at && at <= monotonic_ns());
        assert!(unix_ns > 1_600_000_000_000_000_000);
    }
}
