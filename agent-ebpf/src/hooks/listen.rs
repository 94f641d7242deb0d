//! Servers show themselves: listen, accept.

use autospan_abi::{Direction, KernelConfig, ListenStarted, RecordKind};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

use super::{argument, result};
use crate::call::{self, Call, Layout};
use crate::kernel::{self, AF_UNIX, Socket};
use crate::process::{self, Thread};
use crate::ring;

#[tracepoint]
pub fn enter_listen(ctx: TracePointContext) -> u32 {
    let thread = Thread::current();
    if !process::may_listen(thread.tgid) {
        return 0;
    }
    if let Ok(socket) = Socket::from_fd(argument(&ctx, 0)) {
        Call::on(socket, Direction::Inbound, Layout::Unseen, 0, 0).remember(thread);
    }
    0
}

#[tracepoint]
pub fn exit_listen(ctx: TracePointContext) -> u32 {
    let thread = Thread::current();
    if !process::may_listen(thread.tgid) {
        return 0;
    }
    let Some(call) = call::take(thread) else { return 0 };
    if result(&ctx) == 0 {
        started(thread, call.socket());
    }
    0
}

#[inline(always)]
fn started(thread: Thread, socket: Socket) {
    if kernel::flag(KernelConfig::FLAG_AUTO) {
        process::make_target(thread.tgid);
    }
    let family = socket.sock.family();
    ring::emit_now(ListenStarted {
        header: ring::header(RecordKind::ListenStarted, size_of::<ListenStarted>() as u32, thread),
        netns: socket.sock.netns(),
        family,
        port: if family == AF_UNIX { 0 } else { socket.sock.local_port() },
        inode: socket.inode,
    });
}

/// A process that accepts is a server, even if another one listened for it.
#[tracepoint]
pub fn exit_accept(ctx: TracePointContext) -> u32 {
    let thread = Thread::current();
    let fd = result(&ctx);
    if fd < 0 || !kernel::flag(KernelConfig::FLAG_AUTO) || !process::is_unknown(thread.tgid) {
        return 0;
    }
    if Socket::from_fd(fd as u64).is_ok() {
        process::make_target(thread.tgid);
    }
    0
}
