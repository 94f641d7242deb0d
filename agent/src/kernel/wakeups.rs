//! When to look into the ring buffer: the programs wake the agent for batches, a clock for what is less than one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use autospan_abi::limits::RING_POLL_MS;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Interval, MissedTickBehavior, interval};

#[derive(Debug)]
pub(super) struct Wakeups {
    ring: AsyncFd<OwnedFd>,
    /// Kept from call to call, so that a caller with much else to do still gets its turn.
    clock: Interval,
}

impl Wakeups {
    /// # Errors
    /// The reactor cannot watch the ring buffer.
    pub(super) fn of(ring: impl AsFd) -> io::Result<Self> {
        let fd = ring.as_fd().try_clone_to_owned()?;
        // SAFETY: the fd is owned, and open until the registration is dropped with it.
        let ring = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        let mut clock = interval(Duration::from_millis(RING_POLL_MS));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { ring, clock })
    }

    pub(super) async fn next(&mut self) -> io::Result<()> {
        tokio::select! {
            // Cleared before the ring is drained, so that a batch written meanwhile is noticed again.
            batch = self.ring.readable() => batch?.clear_ready(),
            _ = self.clock.tick() => {}
        }
        Ok(())
    }
}
