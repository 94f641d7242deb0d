//! Connections are set up: what is made meanwhile is made for them.

use autospan_abi::process::TRAIT_UVLOOP;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

use super::argument;
use crate::kernel::Socket;
use crate::{lineage, process};

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
