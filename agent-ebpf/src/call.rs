//! System calls in progress: what the entry saw, kept for the exit.

use autospan_abi::limits::CALLS_MAX;
use autospan_abi::{Counter, Direction};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;

use crate::carrier::Cause;
use crate::context::Context;
use crate::kernel::{NoSocket, Sock, Socket};
use crate::process::Thread;
use crate::{carrier, connection, counter, lineage, tls};

#[map]
static CALLS: HashMap<u32, Call> = HashMap::with_max_entries(CALLS_MAX, 0);

/// Where the bytes of a call are in user memory.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Layout {
    /// One buffer.
    Buffer,
    /// An array of `struct iovec`.
    Vector,
    /// An array of `struct mmsghdr`.
    Messages,
    /// Nowhere: the kernel moved them itself.
    Unseen,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) sock: u64,
    pub(crate) inode: u64,
    /// User address of the buffer or array.
    pub(crate) source: u64,
    /// Entries of the array.
    pub(crate) count: u64,
    pub(crate) entered: u64,
    /// Outbound: what the context carried on entry.
    pub(crate) cause: Cause,
    /// Outbound TCP: sequence number of the first byte.
    pub(crate) sequence: u32,
    pub(crate) has_sequence: u8,
    /// [`Layout`] as a number.
    pub(crate) layout: u8,
    /// [`Direction`] as a number.
    pub(crate) direction: u8,
    /// 1: a call of a TLS library rather than of the system.
    pub(crate) plaintext: u8,
}

impl Call {
    /// A call on a socket, before anything moved.
    #[inline(always)]
    pub(crate) fn on(socket: Socket, direction: Direction, layout: Layout, source: u64, count: u64) -> Self {
        Self {
            sock: socket.sock.0,
            inode: socket.inode,
            source,
            count,
            // SAFETY: the helper has no preconditions.
            entered: unsafe { bpf_ktime_get_ns() },
            cause: Cause::NONE,
            sequence: 0,
            has_sequence: 0,
            layout: layout as u8,
            direction: direction as u8,
            plaintext: 0,
        }
    }

    /// The same, hooked only when it was over.
    #[inline(always)]
    pub(crate) fn at_exit(self) -> Self {
        Self { entered: 0, ..self }
    }

    #[inline(always)]
    pub(crate) fn socket(&self) -> Socket {
        Socket { sock: Sock(self.sock), inode: self.inode }
    }

    #[inline(always)]
    pub(crate) fn remember(&self, thread: Thread) {
        if CALLS.insert(thread.tid, self, 0).is_err() {
            counter::bump(Counter::LostCallsFull);
        }
    }
}

/// The call that the thread is in, forgotten with this.
#[inline(always)]
pub(crate) fn take(thread: Thread) -> Option<Call> {
    // SAFETY: only this thread writes its entry; copied before it is removed.
    let call = unsafe { CALLS.get(thread.tid) }.copied()?;
    forget(thread.tid);
    Some(call)
}

#[inline(always)]
pub(crate) fn forget(tid: u32) {
    // Not there is fine.
    let _ = CALLS.remove(tid);
}

/// The stream socket behind `fd`, or a count of why there is none.
#[inline(always)]
pub(crate) fn socket(fd: u64) -> Option<Socket> {
    match Socket::from_fd(fd) {
        Ok(socket) => Some(socket),
        Err(NoSocket::Other) => {
            counter::bump(Counter::CallsNotSocket);
            None
        }
        Err(NoSocket::Unreadable) => {
            counter::bump(Counter::LostKernelRead);
            None
        }
    }
}

/// Entry of a call that reads from `fd`.
#[inline(always)]
pub(crate) fn reads(thread: Thread, fd: u64, layout: Layout, source: u64, count: u64) {
    counter::bump(Counter::Calls);
    let Some(socket) = socket(fd) else { return };
    if connection::of(socket).is_some() {
        Call::on(socket, Direction::Inbound, layout, source, count).remember(thread);
    }
}

/// Entry of a call that writes to `fd`. The cause is taken here: the response may be read by another thread before this
/// one returns.
#[inline(always)]
pub(crate) fn writes(thread: Thread, fd: u64, layout: Layout, source: u64, count: u64) {
    counter::bump(Counter::Calls);
    let Some(socket) = socket(fd) else { return };
    let Some(connection) = connection::of(socket) else { return };
    let mut call = Call::on(socket, Direction::Outbound, layout, source, count);
    if tls::is_read_elsewhere(connection, &call, thread) {
        return;
    }
    let context = Context::current(thread);
    lineage::works(context);
    let carried = carrier::in_context(context, thread).cause_on(socket.sock, thread);
    call.cause = connection.cause_of_write(thread, carried);
    connection.turn_to_answer(thread, carried);
    if let Some(sequence) = tcp_sequence(socket.sock, Direction::Outbound) {
        call.sequence = sequence;
        call.has_sequence = 1;
    }
    call.remember(thread);
}

/// Sequence number of the next byte to be written, or to be read.
#[inline(always)]
pub(crate) fn tcp_sequence(sock: Sock, direction: Direction) -> Option<u32> {
    if !sock.is_tcp() {
        return None;
    }
    match direction {
        Direction::Inbound => sock.read_sequence(),
        Direction::Outbound => sock.write_sequence(),
    }
}
