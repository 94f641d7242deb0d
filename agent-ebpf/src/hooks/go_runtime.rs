//! Go: goroutines are made, and requests are handed to the goroutine that writes them. Which goroutine makes a system call
//! is read rather than followed (`crate::context`).

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;

use crate::capture::read_user;
use crate::context::Context;
use crate::kernel::Socket;
use crate::process::{self, Thread};
use crate::registers::Frame;
use crate::tls::{self, SessionKey};
use crate::{carrier, connection, pending};

/// In `net/http.persistConn`: the data word of `conn`, an interface. The same from Go 1.21 to 1.27.
const PERSIST_CONN_DATA: u64 = 80 + 8;
/// In `net.netFD`: `pfd.Sysfd`, and `net`, a string. The same from Go 1.21 to 1.27.
const NET_FD_SYSFD: u64 = 16;
const NET_FD_NETWORK: u64 = 80;

/// `func newproc1(fn *funcval, callergp *g, …) *g`, on the thread's own stack.
#[uprobe]
pub fn go_newproc(ctx: ProbeContext) -> u32 {
    if let Some(thread) = process::current_target() {
        pending::enter(thread, Frame::of(&ctx).go_second());
    }
    0
}

/// Each `ret` of it. The new goroutine inherits; a g that is used again loses what the old one carried.
#[uprobe]
pub fn go_newproc_return(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let made = Context::task(thread.tgid, Frame::of(&ctx).go_first());
    let maker = pending::leave(thread).map(|maker| Context::task(thread.tgid, maker));
    match maker.and_then(carrier::of) {
        Some(carrier) => carrier::set(made, carrier.inherited()),
        None => carrier::forget(made),
    }
    0
}

/// `func (pc *persistConn) roundTrip(req *transportRequest)`: the goroutine gives its request to the one that writes on
/// the connection, which is its own until the response is read.
#[uprobe]
pub fn go_round_trip(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    if let Some(conn) = read_user::<u64>(Frame::of(&ctx).go_first() + PERSIST_CONN_DATA) {
        hand_over(conn, thread);
    }
    0
}

#[inline(always)]
fn hand_over(conn: u64, thread: Thread) {
    let carrier = carrier::current(thread).handed_on();
    let session = SessionKey { session: conn, tgid: thread.tgid, pad: 0 };
    if let Some(connection) = tls::connection_of(session, thread) {
        return connection.hand(carrier.cause);
    }
    let socket = tcp_descriptor(conn).and_then(|fd| Socket::from_fd(fd).ok());
    match socket.and_then(|socket| connection::in_probe(socket, thread)) {
        Some(connection) => connection.hand(carrier.cause),
        // TLS that has not carried anything yet: its first write takes it.
        None => pending::put_work(thread.tgid, conn, carrier),
    }
}

/// File descriptor of a `*net.TCPConn`. `None`: it is something else, or laid out in another way, since what must be the
/// name of its network is not "tcp".
#[inline(always)]
fn tcp_descriptor(conn: u64) -> Option<u64> {
    let net_fd = read_user::<u64>(conn)?;
    let [text, len] = read_user::<[u64; 2]>(net_fd + NET_FD_NETWORK)?;
    if len != 3 || read_user::<[u8; 3]>(text)? != *b"tcp" {
        return None;
    }
    read_user(net_fd + NET_FD_SYSFD)
}
