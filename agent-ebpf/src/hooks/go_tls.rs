//! Go's crypto/tls. Arguments and results are in the registers of Go's own calling convention (ABIInternal, Go 1.17 and
//! later), and goroutines change threads between entry and return, so that the g is what connects the two. Returns are
//! hooked at each `ret` instruction: a return probe would put an address on a stack that the runtime moves.

use autospan_abi::Direction;
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;

use crate::process;
use crate::registers::Frame;
use crate::tls::{self, Caller, Outcome, TlsCall};

/// `func (c *Conn) Read(b []byte) (int, error)`
#[uprobe]
pub fn go_tls_read(ctx: ProbeContext) -> u32 {
    enter(&ctx, Direction::Inbound)
}

/// `func (c *Conn) Write(b []byte) (int, error)`
#[uprobe]
pub fn go_tls_write(ctx: ProbeContext) -> u32 {
    enter(&ctx, Direction::Outbound)
}

/// `func (c *Conn) clientHandshake(ctx context.Context) error`, and that of servers: what is read in it may hold the first
/// request already, so that no system call is left for the first `Read`.
#[uprobe]
pub fn go_tls_handshake(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let frame = Frame::of(&ctx);
    let caller = Caller::goroutine(thread.tgid, frame.goroutine());
    // Inside a `Read` or `Write` that is the call in progress.
    if !tls::is_calling(caller, frame.go_first()) {
        let call = TlsCall::new(frame.go_first(), 0, Direction::Inbound, Outcome::Nothing);
        tls::enter(caller, thread, call);
    }
    0
}

/// Each `ret` of both.
#[uprobe]
pub fn go_tls_handshake_return(ctx: ProbeContext) -> u32 {
    if let Some(thread) = process::current_target() {
        tls::leave_handshake(Caller::goroutine(thread.tgid, Frame::of(&ctx).goroutine()));
    }
    0
}

/// Each `ret` of `Read` and `Write`.
#[uprobe]
pub fn go_tls_return(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let frame = Frame::of(&ctx);
    tls::leave(Caller::goroutine(thread.tgid, frame.goroutine()), thread, 0, frame.go_first() as i64);
    0
}

#[inline(always)]
fn enter(ctx: &ProbeContext, direction: Direction) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let frame = Frame::of(ctx);
    let call = TlsCall::new(frame.go_first(), frame.go_second(), direction, Outcome::Returned);
    tls::enter(Caller::goroutine(thread.tgid, frame.goroutine()), thread, call);
    0
}
