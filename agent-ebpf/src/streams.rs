//! HTTP/2 sessions of libraries: which connection each is on, so that what is made for a stream carries that stream's token,
//! and for whom streams were asked for.

use autospan_abi::limits::HTTP2_SESSIONS_MAX;
use autospan_abi::{Counter, RecordKind, StreamAsked, Trail, token};
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;

use crate::carrier::{self, Carrier};
use crate::connection::{self, Connection};
use crate::context::Context;
use crate::kernel::Sock;
use crate::process::Thread;
use crate::tls::SessionKey;
use crate::{counter, pending, ring};

#[map]
static HTTP2_SESSIONS: LruHashMap<SessionKey, Session> = LruHashMap::with_max_entries(HTTP2_SESSIONS_MAX, 0);

#[repr(C)]
#[derive(Clone, Copy)]
struct Session {
    /// Go: address of the goroutine that reads the connection, and nothing else.
    reader: u64,
    /// The connection, 0: not known yet.
    sock: u64,
    inode: u64,
    /// Times that it was found to be this one.
    agreed: u64,
}

impl Session {
    /// Times after which that is believed. What a session is given need not be what was read last: some is left from before,
    /// but not twice in a row.
    const PROOFS: u64 = 2;

    #[inline(always)]
    fn connection(&self) -> Option<&'static Connection> {
        let connection = connection::peek(Sock(self.sock))?;
        if self.agreed >= Self::PROOFS && connection.inode() == self.inode { Some(connection) } else { None }
    }
}

#[inline(always)]
fn set(key: SessionKey, session: Session) {
    if HTTP2_SESSIONS.insert(key, session, 0).is_err() {
        counter::bump(Counter::LostCarriersFull);
    }
}

#[inline(always)]
fn get(key: SessionKey) -> Option<Session> {
    // SAFETY: copied at once.
    unsafe { HTTP2_SESSIONS.get(key) }.copied()
}

// === Go ===

/// `reader` is the goroutine that reads the session's connection from now on.
#[inline(always)]
pub(crate) fn reads(key: SessionKey, reader: u64) {
    set(key, Session { reader, sock: 0, inode: 0, agreed: 0 });
}

/// What a goroutine carries that works on a stream of a session. `None`: its connection is not known.
#[inline(always)]
pub(crate) fn of_handler(key: SessionKey, stream: u32) -> Option<Carrier> {
    let mut session = get(key)?;
    if session.sock == 0 {
        let read = carrier::of(Context::task(key.tgid, session.reader))?;
        let connection = connection::peek(read.sock())?;
        // What it read last is the connection's last: it was not handed that of another one.
        if !connection.is_read_last(read) {
            return None;
        }
        session = Session { sock: read.sock().0, inode: connection.inode(), agreed: Session::PROOFS, ..session };
        set(key, session);
    }
    Some(of_stream(session.connection()?, session.sock, stream, Trail::Task))
}

#[inline(always)]
fn of_stream(connection: &Connection, sock: u64, stream: u32, trail: Trail) -> Carrier {
    Carrier::read(token::of_stream(connection.id(), stream), trail, Sock(sock)).handed_on()
}

// === nghttp2 ===

/// The session is given frames: those that the thread read last.
#[inline(always)]
pub(crate) fn received(key: SessionKey, thread: Thread) {
    let Some(read) = pending::take(thread) else { return };
    let Some(connection) = connection::peek(read.sock()) else { return };
    let (sock, inode) = (read.sock().0, connection.inode());
    match get(key) {
        Some(session) if session.sock == sock && session.inode == inode => {
            if session.agreed < Session::PROOFS {
                set(key, Session { agreed: session.agreed + 1, ..session });
            }
        }
        // What it is given is left from before.
        Some(session) if session.connection().is_some() => {}
        _ => {
            let agreed = if read.is_first() { Session::PROOFS } else { 1 };
            set(key, Session { reader: 0, sock, inode, agreed });
        }
    }
}

/// What a callback for a stream carries: on a server's session the stream's token, on a client's what the stream was asked
/// for with.
#[inline(always)]
pub(crate) fn of_callback(key: SessionKey, stream: u32) -> Option<Carrier> {
    if stream == 0 {
        return None;
    }
    let session = get(key)?;
    let connection = session.connection()?;
    if connection.is_server() {
        Some(of_stream(connection, session.sock, stream, Trail::Turn))
    } else {
        pending::work(key.tgid, token::of_stream(key.session, stream))
    }
}

/// The thread asked for a stream.
#[inline(always)]
pub(crate) fn asked(key: SessionKey, stream: u32, thread: Thread) {
    let carrier = carrier::current(thread).in_later_turn();
    pending::put_work(key.tgid, token::of_stream(key.session, stream), carrier);
    let Some(connection) = get(key).and_then(|session| session.connection()) else { return };
    if carrier.cause.is_some() {
        ring::emit(StreamAsked {
            header: ring::header(RecordKind::StreamAsked, size_of::<StreamAsked>() as u32, thread),
            connection: connection.id(),
            cause: carrier.cause.token,
            stream,
            trail: carrier.cause.trail,
        });
    }
}
