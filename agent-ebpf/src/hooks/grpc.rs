//! gRPC's C core, as in Python: `grpc_call_start_batch` is called by whoever makes a call, and does all that can be done at
//! once, which as a rule includes the system call that sends the request's head.

use autospan_abi::{RecordHeader, RecordKind};
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};

use crate::capture::read_user;
use crate::process::{self, Thread};
use crate::{pending, ring};

/// Of a `grpc_op`, which begins with its kind ([`grpc_types.h`](https://github.com/grpc/grpc/blob/v1.60.0/include/grpc/impl/grpc_types.h)).
const OP_BYTES: u64 = 80;
/// Kinds of which there are so many; a batch has each no more than once.
const OPS_MAX: u64 = 8;
const SEND_INITIAL_METADATA: u32 = 0;
const SEND_STATUS_FROM_SERVER: u32 = 3;
const RECV_CLOSE_ON_SERVER: u32 = 7;

/// `grpc_call_start_batch(call, const grpc_op *ops, nops, tag, reserved)`
#[uprobe]
pub fn grpc_start_batch(ctx: ProbeContext) -> u32 {
    let (Some(thread), Some(ops), Some(count)) = (process::current_target(), ctx.arg::<u64>(1), ctx.arg::<u64>(2))
    else {
        return 0;
    };
    if starts_call(ops, count) {
        pending::enter(thread, ops);
        emit(RecordKind::CallStarted, thread);
    }
    0
}

/// Its return.
#[uretprobe]
pub fn grpc_start_batch_return(_: RetProbeContext) -> u32 {
    if let Some(thread) = process::current_target()
        && pending::leave(thread).is_some()
    {
        emit(RecordKind::CallReturned, thread);
    }
    0
}

/// A client's request is to be sent. A server's answer that will go on for some time cannot be told from one.
#[inline(always)]
fn starts_call(ops: u64, count: u64) -> bool {
    let mut kinds = 0;
    for i in 0..OPS_MAX {
        if i >= count {
            break;
        }
        if let Some(kind) = read_user::<u32>(ops + i * OP_BYTES)
            && kind < OPS_MAX as u32
        {
            kinds |= 1 << kind;
        }
    }
    let of_servers = (1 << SEND_STATUS_FROM_SERVER) | (1 << RECV_CLOSE_ON_SERVER);
    kinds & ((1 << SEND_INITIAL_METADATA) | of_servers) == 1 << SEND_INITIAL_METADATA
}

#[inline(always)]
fn emit(kind: RecordKind, thread: Thread) {
    ring::emit(ring::header(kind, size_of::<RecordHeader>() as u32, thread));
}
