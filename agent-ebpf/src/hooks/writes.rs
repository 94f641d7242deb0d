//! Calls that write (write, writev, sendto, sendmsg, sendmmsg, sendfile64, splice), and the exits of both families.

use autospan_abi::limits::MESSAGES_MAX;
use autospan_abi::{Counter, Direction};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

use super::{MMSGHDR_BYTES, MMSGHDR_LEN_OFFSET, argument, iovecs, result};
use crate::call::{self, Call, Layout};
use crate::capture::{self, Transfer};
use crate::process::{self, Thread};
use crate::{connection, counter, tls};

#[tracepoint]
pub fn enter_write(ctx: TracePointContext) -> u32 {
    if let Some(thread) = process::current_target() {
        call::writes(thread, argument(&ctx, 0), Layout::Buffer, argument(&ctx, 1), 1);
    }
    0
}

#[tracepoint]
pub fn enter_writev(ctx: TracePointContext) -> u32 {
    if let Some(thread) = process::current_target() {
        call::writes(thread, argument(&ctx, 0), Layout::Vector, argument(&ctx, 1), argument(&ctx, 2));
    }
    0
}

#[tracepoint]
pub fn enter_sendmsg(ctx: TracePointContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    match iovecs(argument(&ctx, 1)) {
        Some((array, count)) => call::writes(thread, argument(&ctx, 0), Layout::Vector, array, count),
        None => counter::bump(Counter::LostUserRead),
    }
    0
}

#[tracepoint]
pub fn enter_sendmmsg(ctx: TracePointContext) -> u32 {
    if let Some(thread) = process::current_target() {
        call::writes(thread, argument(&ctx, 0), Layout::Messages, argument(&ctx, 1), argument(&ctx, 2));
    }
    0
}

#[tracepoint]
pub fn enter_sendfile(ctx: TracePointContext) -> u32 {
    if let Some(thread) = process::current_target() {
        call::writes(thread, argument(&ctx, 0), Layout::Unseen, 0, 0);
    }
    0
}

/// One end of a splice is a pipe, the other may be a socket: where bytes come out, or where they go in.
#[tracepoint]
pub fn enter_splice(ctx: TracePointContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    call::writes(thread, argument(&ctx, 2), Layout::Unseen, 0, 0);
    call::reads(thread, argument(&ctx, 0), Layout::Unseen, 0, 0);
    0
}

/// Exit of every call whose result is a number of bytes.
#[tracepoint]
pub fn exit_transfer(ctx: TracePointContext) -> u32 {
    if let Some(thread) = process::current_target() {
        moved(thread, result(&ctx));
    }
    0
}

#[inline(always)]
fn moved(thread: Thread, result: i64) {
    let Some(call) = call::take(thread) else { return };
    if result <= 0 {
        return;
    }
    let Some(connection) = connection::of(call.socket()) else { return };
    // What is written was looked at on entry.
    if call.direction == Direction::Inbound as u8 && tls::is_read_elsewhere(connection, &call, thread) {
        return;
    }
    if let Some(transfer) = Transfer::begin(connection, &call, thread, result as u64) {
        transfer.run::<true>(&call);
    }
}

/// Exit of `sendmmsg` and `recvmmsg`, whose result is a number of messages.
#[tracepoint]
pub fn exit_messages(ctx: TracePointContext) -> u32 {
    if let Some(thread) = process::current_target() {
        moved_messages(thread, result(&ctx));
    }
    0
}

#[inline(always)]
fn moved_messages(thread: Thread, result: i64) {
    let Some(mut call) = call::take(thread) else { return };
    if result <= 0 || call.layout != Layout::Messages as u8 {
        return;
    }
    let (array, count) = (call.source, result as u64);
    for index in 0..u64::from(MESSAGES_MAX) {
        if index >= count {
            return;
        }
        call.source = array + index * MMSGHDR_BYTES;
        message(&mut call, (u64::from(thread.tgid) << 32) | u64::from(thread.tid));
    }
    if count > u64::from(MESSAGES_MAX) {
        counter::bump(Counter::SegmentsSkipped);
    }
}

/// One message, recorded like a call of its own. `call.source` is its header.
#[inline(never)]
fn message(call: *mut Call, thread: u64) {
    // SAFETY: the caller's own, on its stack.
    let call = unsafe { &mut *call };
    let thread = Thread { tgid: (thread >> 32) as u32, tid: thread as u32 };
    let bytes = capture::read_user::<u32>(call.source + MMSGHDR_LEN_OFFSET).unwrap_or(0);
    // The connection was made known on entry; doing so again here would take more stack than there is.
    let (Some((array, count)), Some(connection)) = (iovecs(call.source), connection::lookup(call.socket())) else {
        return;
    };
    if bytes == 0 {
        return;
    }
    if let Some(transfer) = Transfer::begin(connection, call, thread, u64::from(bytes)) {
        transfer.message(array, count);
    }
    call.sequence = call.sequence.wrapping_add(bytes);
}
