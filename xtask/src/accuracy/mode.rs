//! How a request makes its calls.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Mode {
    /// One after the other.
    Sequential,
    /// All at once, by what the runtime has for that: threads, gather, goroutines, Promise.all.
    Concurrent,
    /// One after the other, each after a sleep of up to 20 ms.
    Sleep,
    /// One after the other, each in `asyncio.to_thread`.
    ToThread,
    /// One after the other, each in the event loop's `run_in_executor`.
    Executor,
    /// One after the other, each after a file was read by libuv's threads.
    File,
    /// All at once, by work that the request leaves behind: its answer does not wait for them.
    After,
    /// For no request at all.
    #[value(skip)]
    Heartbeat,
}

impl Mode {
    /// Its name in a request's query.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Concurrent => "concurrent",
            Self::Sleep => "sleep",
            Self::ToThread => "to-thread",
            Self::Executor => "executor",
            Self::File => "file",
            Self::After => "after",
            Self::Heartbeat => "heartbeat",
        }
    }
}
