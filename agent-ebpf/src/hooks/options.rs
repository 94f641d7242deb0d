//! Connections are made and set up: by whom, and what is made meanwhile for them.

use autospan_abi::process::{TRAIT_TURNS, TRAIT_UVLOOP};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

use super::argument;
use crate::kernel::{AF_UNIX, Socket};
use crate::{connection, lineage, process};

/// `connect(fd, …)`. An event loop writes first in a turn that has nothing to do with who wanted the connection; those of TCP have a
/// tracepoint of their own.
#[tracepoint]
pub fn enter_connect(ctx: TracePointContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    if process::has(thread.tgid, TRAIT_TURNS)
        && let Ok(socket) = Socket::from_fd(argument(&ctx, 0))
        && socket.sock.family() == AF_UNIX
    {
        connection::connecting(socket.sock, thread);
    }
    0
}

/// `setsockopt(fd, …)`. Only uvloop reads a connection's first request before the task that serves it can wait for it.
#[tracepoint]
pub fn enter_setsockopt(ctx: TracePointContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    if process::has(thread.tgid, TRAIT_UVLOOP)
        && let Ok(socket) = Socket::from_fd(argument(&ctx, 0))
    {
        lineage::sets_up(socket, thread);
    }
    0
}
