//! CPython: contexts are made, futures wake them, work goes through queues to other threads. What a thread runs at a
//! system call is read rather than followed (`crate::context`), so none of these fires on a switch.

use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};

use crate::capture::read_user;
use crate::context::{self, Context};
use crate::process;
use crate::{carrier, jobs, lineage, pending, queues, tls};

/// Return of `PyContext_CopyCurrent() -> Context *`: the new one inherits.
#[uretprobe]
pub fn python_context_copied(ctx: RetProbeContext) -> u32 {
    let (Some(thread), made) = (process::current_target(), ctx.ret::<u64>()) else { return 0 };
    if made != 0 {
        let (made, maker) = (Context::task(thread.tgid, made), Context::current(thread));
        tls::made(made);
        carrier::set(made, lineage::made(made, maker, thread, carrier::in_context(maker, thread)));
    }
    0
}

/// `PyContext_Enter(context)`, the way of event loops that read before they enter. uvloop enters right after each read, the
/// same context for all connections of a listener: what it carries is that read's, and nobody's when it is entered again
/// for another reason (a new connection, an end).
#[uprobe]
pub fn python_context_entered(ctx: ProbeContext) -> u32 {
    let (Some(thread), Some(entered)) = (process::current_target(), ctx.arg::<u64>(0)) else { return 0 };
    let context = Context::task(thread.tgid, entered);
    tls::entered(context, thread);
    lineage::entered(thread);
    match pending::take(thread) {
        Some(read) => carrier::set(context, read),
        None => carrier::forget_read(context),
    }
    0
}

/// `Future.set_result(future, result)`: wakes the task that waits.
#[uprobe]
pub fn python_future_set(ctx: ProbeContext) -> u32 {
    let (Some(thread), Some(future)) = (process::current_target(), ctx.arg::<u64>(0)) else { return 0 };
    let woken = context::of_future(thread.tgid, future);
    if woken != 0 {
        carrier::wake(Context::task(thread.tgid, woken), carrier::current(thread));
    }
    0
}

/// `SimpleQueue.put(queue, args, count, names)`.
#[uprobe]
pub fn python_queue_put(ctx: ProbeContext) -> u32 {
    let (Some(thread), Some(queue), Some(args)) = (process::current_target(), ctx.arg::<u64>(0), ctx.arg::<u64>(1))
    else {
        return 0;
    };
    if let Some(item) = read_user::<u64>(args) {
        queues::put(thread, queue, item);
    }
    0
}

/// Return of `SimpleQueue.get` and `get_nowait`.
#[uretprobe]
pub fn python_queue_got(ctx: RetProbeContext) -> u32 {
    let (Some(thread), item) = (process::current_target(), ctx.ret::<u64>()) else { return 0 };
    if item != 0 {
        queues::got(thread, item);
    }
    0
}

/// `deque.append(deque, item)`.
#[uprobe]
pub fn python_deque_append(ctx: ProbeContext) -> u32 {
    let (Some(thread), Some(deque), Some(item)) = (process::current_target(), ctx.arg::<u64>(0), ctx.arg::<u64>(1))
    else {
        return 0;
    };
    jobs::left(thread, deque, item);
    0
}

/// `deque.popleft(deque)`.
#[uprobe]
pub fn python_deque_popleft(ctx: ProbeContext) -> u32 {
    let (Some(thread), Some(deque)) = (process::current_target(), ctx.arg::<u64>(0)) else { return 0 };
    jobs::takes(thread, deque);
    0
}
