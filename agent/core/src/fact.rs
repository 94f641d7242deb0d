//! What the shell knows and the kernel records do not say. Facts come in by the same door as events.

use alloc::string::String;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// First entry of a session: the secret that ids are derived from, drawn once per agent start.
    Session { secret: [u8; 16] },
    /// `CLOCK_MONOTONIC` and the wall clock (ns since the epoch) read at the same moment.
    Clock { monotonic_ns: u64, unix_ns: u64 },
    /// What a process is. Sent once when it is seen, again after an exec.
    Process { tgid: u32, threads: Threads },
    /// What a process is called. The engine has no use for it; it lets a replay name the services of a recording.
    Service { tgid: u32, name: String },
}

/// How a runtime maps requests to threads: how far a thread's identity can be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Threads {
    /// A task never moves between threads: CPython, Ruby, PHP, Node, nginx. Several may still share one thread.
    Owned,
    /// Tasks move between threads at any time: Go, and schedulers like it.
    Multiplexed,
    /// Not known: treated as `Multiplexed` until the process has shown otherwise.
    #[default]
    Unproven,
}
