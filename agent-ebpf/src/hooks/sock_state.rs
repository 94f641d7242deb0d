//! `inet_sock_set_state`: the life of TCP sockets, by sock address.
//!
//! A raw tracepoint: it runs even where its interrupt hit another program, and it carries the sock itself. Only a
//! client's first step happens in the thread that asked for it; every other one in whatever the interrupt found.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;

use crate::connection;
use crate::kernel::Sock;
use crate::process::Thread;

const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_SENT: i32 = 2;
const TCP_SYN_RECV: i32 = 3;
const TCP_CLOSE: i32 = 7;
const TCP_LISTEN: i32 = 10;

#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn sock_state(ctx: RawTracePointContext) -> i32 {
    let sock = Sock(ctx.arg::<u64>(0));
    if !sock.is_stream() {
        return 0;
    }
    match (ctx.arg::<i32>(1), ctx.arg::<i32>(2)) {
        (TCP_CLOSE, TCP_SYN_SENT) => connection::connecting(sock, Thread::current()),
        (TCP_SYN_RECV, TCP_ESTABLISHED) => connection::accepted(sock),
        (TCP_CLOSE, TCP_LISTEN) => connection::listening(sock),
        (TCP_LISTEN, TCP_CLOSE) => connection::listening_ended(sock),
        (_, TCP_CLOSE) => connection::closed(sock, Thread::current()),
        _ => {}
    }
    0
}
