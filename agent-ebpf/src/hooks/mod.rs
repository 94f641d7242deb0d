//! The programs, by what they hook.

mod go_http2;
mod go_runtime;
mod go_tls;
mod grpc;
mod grpc_go;
mod listen;
mod mappings;
mod nghttp2;
mod options;
mod processes;
mod python;
mod reads;
mod sock_state;
mod tls;
mod turns;
mod writes;

use aya_ebpf::EbpfContext;
use aya_ebpf::programs::TracePointContext;

/// Argument `index` of the system call, in a `sys_enter_*` program.
///
/// Read from the context itself, which the verifier allows at constant offsets; a helper would cost a call.
#[inline(always)]
fn argument(ctx: &TracePointContext, index: usize) -> u64 {
    // SAFETY: the record has the common fields, the call's number and its arguments, 8 bytes each.
    unsafe { ctx.as_ptr().cast::<u64>().add(2 + index).read_volatile() }
}

/// Result of the system call, in a `sys_exit_*` program.
#[inline(always)]
fn result(ctx: &TracePointContext) -> i64 {
    // SAFETY: the record has the common fields, the call's number and its result.
    unsafe { ctx.as_ptr().cast::<i64>().add(2).read_volatile() }
}

/// Number of the system call.
#[inline(always)]
fn system_call(ctx: &TracePointContext) -> u64 {
    // SAFETY: behind the common fields; 4 bytes, and 4 of padding.
    u64::from(unsafe { ctx.as_ptr().cast::<u32>().add(2).read_volatile() })
}

/// `struct user_msghdr`: where the iovec array is, and how long.
const MSGHDR_IOV_OFFSET: u64 = 16;
/// `struct mmsghdr`: one of an array, and where it says how many bytes moved.
const MMSGHDR_BYTES: u64 = 64;
const MMSGHDR_LEN_OFFSET: u64 = 56;

/// Address and length of the iovec array of a `struct user_msghdr`.
#[inline(always)]
fn iovecs(msghdr: u64) -> Option<(u64, u64)> {
    let [array, count] = crate::capture::read_user::<[u64; 2]>(msghdr + MSGHDR_IOV_OFFSET)?;
    Some((array, count))
}
