//! Who made a CPython context, and whose connection it serves: what links contexts that no wake-up does.
//!
//! A context serves a connection if the connection's requests wake it, or if it was made by whoever was setting the connection
//! up at that time.

use autospan_abi::limits::{BEGINNINGS_MAX, LINEAGES_MAX};
use autospan_abi::{Counter, Trail};
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;

use crate::carrier::Carrier;
use crate::context::Context;
use crate::kernel::{Sock, Socket};
use crate::process::Thread;
use crate::{connection, counter};

/// By context; by [`Context::process`], what all of a process have shown.
#[map]
static LINEAGES: LruHashMap<Context, Lineage> = LruHashMap::with_max_entries(LINEAGES_MAX, 0);

/// By sock address, until the connection's first message: see [`connectors`].
#[map]
static CONNECTORS: LruHashMap<u64, [u64; 3]> = LruHashMap::with_max_entries(BEGINNINGS_MAX, 0);

/// By thread: the connection that it is setting up.
#[map]
static SETUPS: LruHashMap<u32, Setup> = LruHashMap::with_max_entries(BEGINNINGS_MAX, 0);

#[repr(C)]
#[derive(Clone, Copy)]
struct Setup {
    sock: u64,
    inode: u64,
    /// The context that does.
    context: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Lineage {
    /// Address of the context that made it, 0: none.
    maker: u64,
    /// The connection that it serves, 0: none so far.
    home: u64,
    home_inode: u64,
    /// Of a process: how often a context was woken by its home.
    wakes: u32,
    /// [`Lineage::MADE_FOR_REQUEST`] and others.
    flags: u32,
}

impl Lineage {
    const UNKNOWN: Self = Self { maker: 0, home: 0, home_inode: 0, wakes: 0, flags: 0 };

    /// Whoever made it was working for a request.
    const MADE_FOR_REQUEST: u32 = 1;
    /// It was made when its connection was set up.
    const MADE_FOR_HOME: u32 = 4;
    /// Of a process: contexts do not only wait for their connection's requests and leave these to contexts which they make.
    const WORKS: u32 = 2;
    /// Wakes of the right kind after which a process is believed to have a context for each connection.
    const PROOFS: u32 = 8;
}

/// A context was made, by one that carries `carrier`. Returns what it carries.
///
/// A server that has a context for each connection, which makes another for each request (aiohttp, hypercorn), may find the
/// next request there when it looks, without being woken by it. The request is that of its connection, if this has only one.
#[inline(always)]
pub(crate) fn made(context: Context, maker: Context, thread: Thread, carrier: Carrier) -> Carrier {
    let mut lineage = Lineage::UNKNOWN;
    lineage.maker = if maker.is_task() { maker.address() } else { 0 };
    if carrier.cause.is_some() {
        lineage.flags = Lineage::MADE_FOR_REQUEST;
    } else if let Some(setup) = setup_in(maker, thread) {
        (lineage.home, lineage.home_inode) = (setup.sock, setup.inode);
        lineage.flags = Lineage::MADE_FOR_HOME;
    }
    set(context, lineage);
    if carrier.cause.is_some() && !carrier.is_answered() {
        return carrier.handed_on();
    }
    waiting_at_home(maker).unwrap_or(carrier).handed_on()
}

/// The thread sets an option of a socket.
#[inline(always)]
pub(crate) fn sets_up(socket: Socket, thread: Thread) {
    let context = Context::current(thread);
    if context.is_python() {
        let setup = Setup { sock: socket.sock.0, inode: socket.inode, context: context.address() };
        if SETUPS.insert(thread.tid, setup, 0).is_err() {
            counter::bump(Counter::LostCarriersFull);
        }
    }
}

/// The thread enters another context: what it sets up from now on is another connection.
#[inline(always)]
pub(crate) fn entered(thread: Thread) {
    let _ = SETUPS.remove(thread.tid);
}

#[inline(always)]
fn setup_in(context: Context, thread: Thread) -> Option<Setup> {
    // SAFETY: copied at once; only this thread writes its entry.
    let setup = unsafe { SETUPS.get(thread.tid) }.copied()?;
    if context.is_task() && setup.context == context.address() { Some(setup) } else { None }
}

/// A context makes a socket connect. It may be gone, and another at its address, when the connection is used.
#[inline(always)]
pub(crate) fn connecting(sock: Sock, context: Context) {
    if context.is_python() {
        let maker = maker(context);
        let before = maker_of(context, maker);
        if CONNECTORS.insert(sock.0, [context.address(), maker, before], 0).is_err() {
            counter::bump(Counter::LostTlsFull);
        }
    }
}

/// Addresses of the context that made the socket connect, of the one that made that, and so on; 0: not known.
#[inline(always)]
pub(crate) fn connectors(sock: Sock) -> Option<[u64; 3]> {
    // SAFETY: copied before it is removed.
    let connectors = unsafe { CONNECTORS.get(sock.0) }.copied()?;
    let _ = CONNECTORS.remove(sock.0);
    Some(connectors)
}

/// Address of the context that made this one; 0: not known.
#[inline(always)]
fn maker(context: Context) -> u64 {
    // SAFETY: copied at once.
    unsafe { LINEAGES.get(context) }.map_or(0, |lineage| lineage.maker)
}

#[inline(always)]
fn maker_of(sibling: Context, address: u64) -> u64 {
    if address == 0 { 0 } else { maker(sibling.at(address)) }
}

/// `context` was woken by the one that read a request on this connection.
#[inline(always)]
pub(crate) fn woken(context: Context, carrier: Carrier) {
    let Some(lineage) = LINEAGES.get_ptr_mut(context) else { return };
    let Some(connection) = connection::peek(carrier.sock()) else { return };
    // SAFETY: points into the map; what two threads write at once is the same, or ends in doubt.
    let lineage = unsafe { &mut *lineage };
    if lineage.flags & Lineage::MADE_FOR_REQUEST != 0 {
        return;
    }
    let at_home = lineage.home == carrier.sock().0 && lineage.home_inode == connection.inode();
    if lineage.home != 0 && !at_home {
        return doubt(context);
    }
    (lineage.home, lineage.home_inode) = (carrier.sock().0, connection.inode());
    let process = context.process();
    if let Some(entry) = LINEAGES.get_ptr_mut(process) {
        // SAFETY: as above; a lost count is one proof less.
        unsafe { (*entry).wakes += 1 };
    } else {
        set(process, Lineage { wakes: 1, ..Lineage::UNKNOWN });
    }
}

/// The context wrote something itself, so that what it makes next need not be for the next request.
#[inline(always)]
pub(crate) fn works(context: Context) {
    // SAFETY: copied at once.
    if context.is_python() && unsafe { LINEAGES.get(context) }.is_some_and(|lineage| lineage.home != 0) {
        doubt(context);
    }
}

/// The process' contexts are used in another way than believed.
#[inline(never)]
fn doubt(context: Context) {
    set(context.process(), Lineage { flags: Lineage::WORKS, ..Lineage::UNKNOWN });
}

#[inline(always)]
fn set(context: Context, lineage: Lineage) {
    if LINEAGES.insert(context, lineage, 0).is_err() {
        counter::bump(Counter::LostCarriersFull);
    }
}

/// The only request that waits for its answer on the connection that the context serves.
#[inline(always)]
fn waiting_at_home(context: Context) -> Option<Carrier> {
    // SAFETY: copied at once.
    let lineage = unsafe { LINEAGES.get(context) }.copied()?;
    if lineage.home == 0 {
        return None;
    }
    // SAFETY: copied at once.
    let process = unsafe { LINEAGES.get(context.process()) }.copied().unwrap_or(Lineage::UNKNOWN);
    let is_proven = lineage.flags & Lineage::MADE_FOR_HOME != 0 || process.wakes >= Lineage::PROOFS;
    if process.flags & Lineage::WORKS != 0 || !is_proven {
        return None;
    }
    let sock = Sock(lineage.home);
    let connection = connection::peek(sock).filter(|connection| connection.inode() == lineage.home_inode)?;
    connection.only_waiting().map(|token| Carrier::read(token, Trail::Task, sock))
}
