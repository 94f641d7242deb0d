//! Calls that read: read, readv, recvfrom, recvmsg, recvmmsg.

use autospan_abi::Counter;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

use super::{argument, iovecs};
use crate::call::{self, Layout};
use crate::counter;
use crate::process::{self, Thread};

const MSG_PEEK: u64 = 0x2;
const MSG_TRUNC: u64 = 0x20;
const MSG_ERRQUEUE: u64 = 0x2000;

#[tracepoint]
pub fn enter_read(ctx: TracePointContext) -> u32 {
    if let Some(thread) = process::current_target() {
        call::reads(thread, argument(&ctx, 0), Layout::Buffer, argument(&ctx, 1), 1);
    }
    0
}

#[tracepoint]
pub fn enter_readv(ctx: TracePointContext) -> u32 {
    if let Some(thread) = process::current_target() {
        call::reads(thread, argument(&ctx, 0), Layout::Vector, argument(&ctx, 1), argument(&ctx, 2));
    }
    0
}

#[tracepoint]
pub fn enter_recvfrom(ctx: TracePointContext) -> u32 {
    if let Some(thread) = process::current_target() {
        receive(thread, argument(&ctx, 3), argument(&ctx, 0), Layout::Buffer, argument(&ctx, 1), 1);
    }
    0
}

#[tracepoint]
pub fn enter_recvmsg(ctx: TracePointContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    match iovecs(argument(&ctx, 1)) {
        Some((array, count)) => receive(thread, argument(&ctx, 2), argument(&ctx, 0), Layout::Vector, array, count),
        None => counter::bump(Counter::LostUserRead),
    }
    0
}

#[tracepoint]
pub fn enter_recvmmsg(ctx: TracePointContext) -> u32 {
    if let Some(thread) = process::current_target() {
        receive(thread, argument(&ctx, 3), argument(&ctx, 0), Layout::Messages, argument(&ctx, 1), argument(&ctx, 2));
    }
    0
}

/// A read that takes bytes out of the stream, unless its flags say otherwise.
#[inline(always)]
fn receive(thread: Thread, flags: u64, fd: u64, layout: Layout, source: u64, count: u64) {
    if flags & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return;
    }
    // TCP throws the bytes away instead of copying them.
    let layout = if flags & MSG_TRUNC != 0 { Layout::Unseen } else { layout };
    call::reads(thread, fd, layout, source, count);
}
