//! Calls that read: read, readv, recvfrom, recvmsg, recvmmsg.
//!
//! `exit_read` alone does for the first four what the entries and `exit_transfer` do on older kernels, at half the
//! price, and reads that return nothing (event loops try many) cost next to nothing.

use autospan_abi::{Counter, Direction};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

use super::{argument, iovecs, result, system_call};
use crate::call::{self, Call, Layout};
use crate::capture::Transfer;
use crate::process::{self, Thread};
use crate::registers::{Registers, number};
use crate::{connection, counter, tls};

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

/// Exit of read, readv, recvfrom and recvmsg, where the arguments can still be had.
#[tracepoint]
pub fn exit_read(ctx: TracePointContext) -> u32 {
    let moved = result(&ctx);
    if moved <= 0 {
        return 0;
    }
    if let Some(thread) = process::current_target() {
        has_read(thread, system_call(&ctx), moved as u64);
    }
    0
}

#[inline(always)]
fn has_read(thread: Thread, number: u64, bytes: u64) {
    counter::bump(Counter::Calls);
    let registers = Registers::current();
    let Some(socket) = call::socket(registers.argument::<0>()) else { return };
    let Some((layout, source, count)) = destination(registers, number) else { return };
    let Some(connection) = connection::of(socket) else { return };
    let call = Call::on(socket, Direction::Inbound, layout, source, count).at_exit();
    if tls::is_read_elsewhere(connection, &call, thread) {
        return;
    }
    if let Some(transfer) = Transfer::begin(connection, &call, thread, bytes) {
        transfer.run::<false>(&call);
    }
}

/// Where the bytes of a read went. `None`: they are still in the stream, or it cannot be told (counted).
#[inline(always)]
fn destination(registers: Registers, number: u64) -> Option<(Layout, u64, u64)> {
    let source = registers.argument::<1>();
    match number {
        number::READV => Some((Layout::Vector, source, registers.argument::<2>())),
        number::RECVFROM => received(registers.argument::<3>(), Layout::Buffer).map(|layout| (layout, source, 1)),
        number::RECVMSG => {
            let layout = received(registers.argument::<2>(), Layout::Vector)?;
            let (array, count) = iovecs(source).unwrap_or((0, 0));
            Some((layout, array, count))
        }
        _ => Some((Layout::Buffer, source, 1)),
    }
}

/// How a receiving call with these flags laid its bytes out. `None`: it took none out of the stream.
#[inline(always)]
fn received(flags: u64, layout: Layout) -> Option<Layout> {
    if flags & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return None;
    }
    // TCP throws the bytes away instead of copying them.
    Some(if flags & MSG_TRUNC != 0 { Layout::Unseen } else { layout })
}

/// Entry of a receiving call.
#[inline(always)]
fn receive(thread: Thread, flags: u64, fd: u64, layout: Layout, source: u64, count: u64) {
    if let Some(layout) = received(flags, layout) {
        call::reads(thread, fd, layout, source, count);
    }
}
