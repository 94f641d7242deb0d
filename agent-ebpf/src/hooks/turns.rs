//! Event loops: where a turn ends, and what leaves it.

use autospan_abi::process::TRAIT_TURNS;
use aya_ebpf::macros::{tracepoint, uprobe};
use aya_ebpf::programs::{ProbeContext, TracePointContext};

use crate::context::{self, Context};
use crate::process::{self, Thread};
use crate::{carrier, pending, turns};

/// Offset of `work_req` in a `uv_work_t`, behind the fields of `uv_req_t`, the loop and two functions: the same in all of libuv 1.
const WORK_OF_REQUEST: u64 = 88;

/// `epoll_wait` and its kin: what was read is dealt with.
#[tracepoint]
pub fn enter_wait(_: TracePointContext) -> u32 {
    if let Some(thread) = process::current_target() {
        end(thread);
        turns::waits(thread);
        if let Some(greenlet) = context::waiting_greenlet(thread) {
            carrier::forget(greenlet);
        }
    }
    0
}

/// A function of the loop that calls back for another reason than what was read: timers, immediates.
#[uprobe]
pub fn turn_ended(_: ProbeContext) -> u32 {
    if let Some(thread) = process::current_target() {
        end(thread);
    }
    0
}

/// `node::Environment::CheckImmediate(handle)`
#[uprobe]
pub fn node_checks(ctx: ProbeContext) -> u32 {
    let (Some(thread), Some(handle)) = (process::current_target(), ctx.arg::<u64>(0)) else { return 0 };
    end(thread);
    turns::checks(thread, handle);
    0
}

/// `uv__work_submit(loop, work, …)`
#[uprobe]
pub fn work_submitted(ctx: ProbeContext) -> u32 {
    let (Some(thread), Some(work)) = (process::current_target(), ctx.arg::<u64>(1)) else { return 0 };
    pending::put_work(thread.tgid, work, carrier::current(thread).in_later_turn());
    0
}

/// `uv_queue_work(loop, request, …)`, where what submits the work is a part of this function.
#[uprobe]
pub fn work_queued(ctx: ProbeContext) -> u32 {
    let (Some(thread), Some(request)) = (process::current_target(), ctx.arg::<u64>(1)) else { return 0 };
    pending::put_work(thread.tgid, request + WORK_OF_REQUEST, carrier::current(thread).in_later_turn());
    0
}

/// `uv__…_done(work, status)`, on the loop's thread: goes on with the request that the work was for.
#[uprobe]
pub fn work_done(ctx: ProbeContext) -> u32 {
    let (Some(thread), Some(work)) = (process::current_target(), ctx.arg::<u64>(0)) else { return 0 };
    carrier::set(Context::thread(thread), pending::take_work(thread.tgid, work));
    0
}

#[inline(always)]
fn end(thread: Thread) {
    if process::has(thread.tgid, TRAIT_TURNS) {
        carrier::forget(Context::thread(thread));
        let _ = pending::take(thread);
    }
}
