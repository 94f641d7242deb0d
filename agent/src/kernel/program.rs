//! The programs of the object and where each is attached, by the capability they make up.

/// Where the kernel calls a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// `category:name` as in tracefs.
    Tracepoint(&'static str, &'static str),
    RawTracepoint(&'static str),
}

pub(crate) type Attachment = (&'static str, Hook);

/// One thing to lose: the programs that only make sense together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) capability: &'static str,
    pub(crate) without: &'static str,
    /// Program and hook, in the order of attaching: exits before entries, so that no entry waits for an exit.
    pub(crate) attachments: &'static [Attachment],
    /// Tried first: cheaper, but refused by older kernels.
    pub(crate) preferred: &'static [Attachment],
    /// Follows kernel structs, and so needs their offsets.
    pub(crate) needs_offsets: bool,
}

impl Plan {
    /// It reports what passes on connections.
    pub(crate) fn moves_bytes(&self) -> bool {
        self.attachments.iter().any(|(program, _)| matches!(*program, "exit_transfer" | "exit_messages"))
    }
}

macro_rules! syscall {
    ($capability:literal, $name:literal, $enter:literal, $exit:literal, $without:literal $(, preferred $alone:literal)?) => {
        Plan {
            capability: $capability,
            without: $without,
            attachments: &[
                ($exit, Hook::Tracepoint("syscalls", concat!("sys_exit_", $name))),
                ($enter, Hook::Tracepoint("syscalls", concat!("sys_enter_", $name))),
            ],
            preferred: &[$(($alone, Hook::Tracepoint("syscalls", concat!("sys_exit_", $name))))?],
            needs_offsets: true,
        }
    };
}

/// Sees what is mapped: code, and the stacks of greenlets.
const MAPPINGS: &str = "library loads";
/// Sees who waits for events.
const TURNS: &str = "event loop turns";
/// Without them nothing tells that a greenlet has the address of one that ended, or that it runs an event loop.
pub(crate) const GREENLETS: [&str; 2] = [MAPPINGS, TURNS];

pub(crate) const PLANS: &[Plan] = &[
    Plan {
        capability: "process end",
        without: "processes that end stay in the tables until their number is used again",
        attachments: &[("process_exit", Hook::RawTracepoint("sched_process_exit"))],
        preferred: &[],
        needs_offsets: true,
    },
    Plan {
        capability: "process start",
        without: "children of traced processes are found by the next scan of /proc, not at once",
        attachments: &[("process_fork", Hook::RawTracepoint("sched_process_fork"))],
        preferred: &[],
        needs_offsets: true,
    },
    Plan {
        capability: "process exec",
        without: "programs that a process turns into are found by the next scan of /proc, not at once",
        attachments: &[("process_exec", Hook::RawTracepoint("sched_process_exec"))],
        preferred: &[],
        needs_offsets: false,
    },
    Plan {
        capability: "tcp lifecycle",
        without: "the ends of connections are guessed from listening ports, closes from silence",
        attachments: &[("sock_state", Hook::RawTracepoint("inet_sock_set_state"))],
        preferred: &[],
        needs_offsets: true,
    },
    Plan {
        capability: MAPPINGS,
        without: "TLS inside libraries that a process loads after it was found, and parents of gevent's calls where several requests are in flight",
        attachments: &[
            ("exit_mmap", Hook::Tracepoint("syscalls", "sys_exit_mmap")),
            ("enter_mmap", Hook::Tracepoint("syscalls", "sys_enter_mmap")),
        ],
        preferred: &[],
        needs_offsets: false,
    },
    Plan {
        capability: TURNS,
        without: "nothing is missed, but calls of event loops have no parent where several requests are in flight",
        attachments: &[
            ("enter_wait", Hook::Tracepoint("syscalls", "sys_enter_epoll_wait")),
            ("enter_wait", Hook::Tracepoint("syscalls", "sys_enter_epoll_pwait")),
        ],
        preferred: &[],
        needs_offsets: false,
    },
    Plan {
        capability: "unix connections",
        without: "nothing is missed, but what Node calls first on a new unix connection has no parent where several requests are in flight",
        attachments: &[("enter_connect", Hook::Tracepoint("syscalls", "sys_enter_connect"))],
        preferred: &[],
        needs_offsets: true,
    },
    Plan {
        capability: "connection setup",
        without: "nothing is missed, but calls of aiohttp on uvloop have no parent where several requests are in flight",
        attachments: &[("enter_setsockopt", Hook::Tracepoint("syscalls", "sys_enter_setsockopt"))],
        preferred: &[],
        needs_offsets: true,
    },
    syscall!("listen", "listen", "enter_listen", "exit_listen", "new servers are found by the next scan of /proc"),
    Plan {
        capability: "accept",
        without: "servers on an inherited listening socket are found by the next scan of /proc",
        attachments: &[
            ("exit_accept", Hook::Tracepoint("syscalls", "sys_exit_accept")),
            ("exit_accept", Hook::Tracepoint("syscalls", "sys_exit_accept4")),
        ],
        preferred: &[],
        needs_offsets: true,
    },
    syscall!("read", "read", "enter_read", "exit_transfer", "bytes received with read", preferred "exit_read"),
    syscall!("write", "write", "enter_write", "exit_transfer", "bytes sent with write"),
    syscall!("recvfrom", "recvfrom", "enter_recvfrom", "exit_transfer", "bytes received with recv and recvfrom", preferred "exit_read"),
    syscall!("sendto", "sendto", "enter_write", "exit_transfer", "bytes sent with send and sendto"),
    syscall!("readv", "readv", "enter_readv", "exit_transfer", "bytes received with readv", preferred "exit_read"),
    syscall!("writev", "writev", "enter_writev", "exit_transfer", "bytes sent with writev"),
    syscall!("recvmsg", "recvmsg", "enter_recvmsg", "exit_transfer", "bytes received with recvmsg", preferred "exit_read"),
    syscall!("sendmsg", "sendmsg", "enter_sendmsg", "exit_transfer", "bytes sent with sendmsg"),
    syscall!("sendfile", "sendfile64", "enter_sendfile", "exit_transfer", "bytes sent with sendfile"),
    syscall!("splice", "splice", "enter_splice", "exit_transfer", "bytes moved with splice"),
    syscall!("recvmmsg", "recvmmsg", "enter_recvmmsg", "exit_messages", "bytes received with recvmmsg"),
    syscall!("sendmmsg", "sendmmsg", "enter_sendmmsg", "exit_messages", "bytes sent with sendmmsg"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_move_bytes() {
        let names: Vec<_> = PLANS.iter().filter(|plan| plan.moves_bytes()).map(|plan| plan.capability).collect();
        let calls = ["read", "write", "recvfrom", "sendto", "readv", "writev", "recvmsg", "sendmsg"];
        assert_eq!(names, [&calls[..], &["sendfile", "splice", "recvmmsg", "sendmmsg"]].concat());
    }
}
