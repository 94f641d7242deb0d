//! Go: goroutines are made, and requests are handed to the goroutine that writes them. Which goroutine makes a system call
//! is read rather than followed (`crate::context`).

use autospan_abi::GoRuntime;
use autospan_abi::limits::RUNTIMES_MAX;
use aya_ebpf::macros::{map, uprobe};
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::ProbeContext;

use crate::capture::read_user;
use crate::context::Context;
use crate::kernel::Socket;
use crate::process::{self, Thread};
use crate::registers::Frame;
use crate::tls::{self, SessionKey};
use crate::{carrier, connection, pending};

/// Set by the agent, by tgid.
#[map]
static GO_RUNTIMES: LruHashMap<u32, GoRuntime> = LruHashMap::with_max_entries(RUNTIMES_MAX, 0);

/// `func newproc1(fn *funcval, callergp *g, …) *g`, on the thread's own stack.
#[uprobe]
pub fn go_newproc(ctx: ProbeContext) -> u32 {
    if let Some(thread) = process::current_target() {
        pending::begin_spawn(thread, Frame::of(&ctx).go_second());
    }
    0
}

/// Each `ret` of it. The new goroutine inherits; a g that is used again loses what the old one carried.
#[uprobe]
pub fn go_newproc_return(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let made = Context::task(thread.tgid, Frame::of(&ctx).go_first());
    let maker = pending::end_spawn(thread).map(|maker| Context::task(thread.tgid, maker));
    match maker.and_then(carrier::of) {
        Some(carrier) => carrier::set(made, carrier.handed_on()),
        None => carrier::forget(made),
    }
    0
}

/// `func (pc *persistConn) roundTrip(req *transportRequest)`: the goroutine gives its request to the one that writes on
/// the connection, which is its own until the response is read.
#[uprobe]
pub fn go_round_trip(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    // SAFETY: the agent writes an entry once per process.
    let Some(runtime) = (unsafe { GO_RUNTIMES.get(thread.tgid) }) else { return 0 };
    if let Some(conn) = read_user::<u64>(Frame::of(&ctx).go_first() + u64::from(runtime.conn)) {
        hand_over(runtime, conn, thread);
    }
    0
}

#[inline(always)]
fn hand_over(runtime: &GoRuntime, conn: u64, thread: Thread) {
    let carrier = carrier::current(thread).handed_on();
    let session = SessionKey { session: conn, tgid: thread.tgid, pad: 0 };
    if let Some(connection) = tls::connection_of(session, thread) {
        return connection.hand(carrier.cause);
    }
    let socket = tcp_descriptor(runtime, conn).and_then(|fd| Socket::from_fd(fd).ok());
    match socket.and_then(|socket| connection::in_probe(socket, thread)) {
        Some(connection) => connection.hand(carrier.cause),
        // TLS that has not carried anything yet: its first write takes it.
        None => pending::put_work(thread.tgid, conn, carrier),
    }
}

/// File descriptor of a `*net.TCPConn`. `None`: it is something else.
#[inline(always)]
fn tcp_descriptor(runtime: &GoRuntime, conn: u64) -> Option<u64> {
    let net_fd = read_user::<u64>(conn)?;
    let [text, len] = read_user::<[u64; 2]>(net_fd + u64::from(runtime.network))?;
    if len != 3 || read_user::<[u8; 3]>(text)? != *b"tcp" {
        return None;
    }
    read_user(net_fd + u64::from(runtime.sysfd))
}
