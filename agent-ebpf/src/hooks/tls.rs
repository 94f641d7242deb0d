//! TLS libraries with a C interface: OpenSSL and its kin, GnuTLS. Which function each program is attached to is decided
//! by the agent (`probe::plan`).

use autospan_abi::Direction;
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};

use crate::process::{self, Thread};
use crate::registers::Frame;
use crate::tls::{self, Caller, Outcome, SessionKey, TlsCall};

/// `int read(session, buffer, len)`
#[uprobe]
pub fn tls_read(ctx: ProbeContext) -> u32 {
    enter(&ctx, Direction::Inbound, Outcome::Returned, NOWHERE)
}

/// `int read(session, buffer, len, *moved)`
#[uprobe]
pub fn tls_read_ex(ctx: ProbeContext) -> u32 {
    enter(&ctx, Direction::Inbound, Outcome::Pointed, 3)
}

/// `int write(session, buffer, len)`
#[uprobe]
pub fn tls_write(ctx: ProbeContext) -> u32 {
    enter(&ctx, Direction::Outbound, Outcome::Returned, NOWHERE)
}

/// `int write(session, buffer, len, *moved)`
#[uprobe]
pub fn tls_write_ex(ctx: ProbeContext) -> u32 {
    enter(&ctx, Direction::Outbound, Outcome::Pointed, 3)
}

/// `int write(session, buffer, len, flags, *moved)`
#[uprobe]
pub fn tls_write_ex2(ctx: ProbeContext) -> u32 {
    enter(&ctx, Direction::Outbound, Outcome::Pointed, 4)
}

/// `int handshake(session)`. It reads, as far as evidence goes.
#[uprobe]
pub fn tls_handshake(ctx: ProbeContext) -> u32 {
    enter(&ctx, Direction::Inbound, Outcome::Nothing, NOWHERE)
}

/// The return of all of those.
#[uretprobe]
pub fn tls_return(ctx: RetProbeContext) -> u32 {
    if let Some(thread) = process::current_target() {
        // All of them return an int, or fewer bytes than fit one.
        let result: i32 = ctx.ret();
        tls::leave(Caller::thread(thread), thread, Frame::of_return(&ctx).stack(), i64::from(result));
    }
    0
}

/// `void free(session)`
#[uprobe]
pub fn tls_free(ctx: ProbeContext) -> u32 {
    if let Some((thread, session)) = session(&ctx) {
        tls::free(SessionKey { session, tgid: thread.tgid, pad: 0 });
    }
    0
}

/// `int set_fd(session, fd)`
#[uprobe]
pub fn tls_set_fd(ctx: ProbeContext) -> u32 {
    if let (Some((thread, session)), Some(fd)) = (session(&ctx), ctx.arg::<u64>(1)) {
        tls::name(SessionKey { session, tgid: thread.tgid, pad: 0 }, fd);
    }
    0
}

/// No argument points to the number of bytes.
const NOWHERE: usize = usize::MAX;

#[inline(always)]
fn enter(ctx: &ProbeContext, direction: Direction, outcome: Outcome, moved_at: usize) -> u32 {
    let Some((thread, session)) = session(ctx) else { return 0 };
    let mut call = TlsCall::new(session, ctx.arg(1).unwrap_or(0), direction, outcome);
    if moved_at != NOWHERE {
        call.moved_at = ctx.arg(moved_at).unwrap_or(0);
    }
    call.stack = Frame::of(ctx).stack();
    tls::enter(Caller::thread(thread), thread, call);
    0
}

/// Who calls, on which session. `None`: nobody who is traced.
#[inline(always)]
fn session(ctx: &ProbeContext) -> Option<(Thread, u64)> {
    Some((process::current_target()?, ctx.arg(0)?))
}
