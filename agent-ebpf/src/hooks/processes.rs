//! Processes begin, change and end.

use autospan_abi::{KernelConfig, ProcessForked, RecordHeader, RecordKind};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;

use crate::context::{self, Context};
use crate::process::{self, Thread};
use crate::{call, carrier, jobs, kernel, ring, turns};

/// `sched_process_fork(parent, child)`, in the parent. A child that is a thread has the parent's tgid.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork(ctx: RawTracePointContext) -> i32 {
    let Some(parent) = process::current_target() else { return 0 };
    let child = ctx.arg::<u64>(1);
    let Some(child_tgid) = kernel::task_tgid(child) else { return 0 };
    if child_tgid == parent.tgid {
        if let Some(tid) = kernel::task_tid(child) {
            carrier::spawned(Thread { tgid: child_tgid, tid }, parent);
        }
        return 0;
    }
    if kernel::flag(KernelConfig::FLAG_FOLLOW_FORKS) {
        process::make_target(child_tgid);
        process::inherit(parent.tgid, child_tgid);
        context::inherit_runtime(parent.tgid, child_tgid);
    }
    ring::emit_now(ProcessForked {
        header: ring::header(RecordKind::ProcessForked, size_of::<ProcessForked>() as u32, parent),
        child_tgid,
        pad: 0,
    });
    0
}

/// `sched_process_exec`: what runs now has nothing of what ran before, except its sockets.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(_: RawTracePointContext) -> i32 {
    let thread = Thread::current();
    carrier::forget(Context::thread(thread));
    turns::forget(thread);
    process::drop_traits(thread.tgid);
    emit_header(RecordKind::ProcessExecuted, thread);
    0
}

/// `sched_process_exit`, of every thread.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(_: RawTracePointContext) -> i32 {
    let thread = Thread::current();
    if process::is_target(thread.tgid) {
        if carrier::is_spawned(thread) {
            emit_header(RecordKind::ThreadExited, thread);
        }
        carrier::forget(Context::thread(thread));
        call::forget(thread.tid);
        jobs::forget(thread);
        turns::forget(thread);
    }
    if kernel::is_last_thread() {
        ended(thread);
    }
    0
}

/// The number may soon be another process'.
#[inline(always)]
fn ended(thread: Thread) {
    if process::is_target(thread.tgid) {
        emit_header(RecordKind::ProcessExited, thread);
    }
    process::forget(thread.tgid);
}

#[inline(always)]
fn emit_header(kind: RecordKind, thread: Thread) {
    ring::emit_now(ring::header(kind, size_of::<RecordHeader>() as u32, thread));
}
