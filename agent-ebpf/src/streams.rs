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
    /// Go: address of the goroutine that reads the connection, and nothing else. In that goroutine's own entry: the session.
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
        session = read_by(key, session.reader)?;
        set(key, session);
    }
    Some(of_stream(session.connection()?, session.sock, stream, Trail::Task))
}

/// A server's session on the connection that the goroutine has read.
#[inline(always)]
fn read_by(key: SessionKey, reader: u64) -> Option<Session> {
    let read = carrier::of(Context::task(key.tgid, reader))?;
    let connection = connection::peek(read.sock())?;
    // What it read last is the connection's last: it was not handed that of another one.
    if !connection.is_read_last(read) {
        return None;
    }
    Some(Session { reader, sock: read.sock().0, inode: connection.inode(), agreed: Session::PROOFS })
}

#[inline(always)]
fn of_stream(connection: &Connection, sock: u64, stream: u32, trail: Trail) -> Carrier {
    Carrier::read(token::of_stream(connection.id(), stream), trail, Sock(sock)).handed_on()
}

// === grpc-go ===

/// `reader` has just read from the connection of a server's session, which may be older than the agent.
#[inline(always)]
pub(crate) fn has_read(key: SessionKey, reader: u64) {
    let known = get(key).filter(|session| session.reader == reader);
    if known.and_then(|session| session.connection()).is_some() {
        return;
    }
    match read_by(key, reader) {
        Some(session) => set(key, session),
        None if known.is_none() => reads(key, reader),
        None => {}
    }
}

/// `reader` is the goroutine that reads the connection of a client's session from now on. What it reads is noted in an entry
/// of its own, that of the goroutine, whose `reader` is the session.
#[inline(always)]
pub(crate) fn watch(key: SessionKey, reader: u64) {
    reads(key, reader);
    reads(SessionKey { session: reader, ..key }, key.session);
}

/// The same in the middle.
#[inline(always)]
pub(crate) fn watch_unless_known(key: SessionKey, reader: u64) {
    let known = get(key).filter(|session| session.reader == reader);
    if known.and_then(|session| session.connection()).is_some() {
        return;
    }
    let noted = get(SessionKey { session: reader, ..key }).filter(|noted| noted.reader == key.session);
    if known.is_none() || noted.is_none() {
        watch(key, reader);
    }
}

/// A client's connection was read.
#[inline(never)]
pub(crate) fn note_read(tgid: u32, reader: u64, sock: u64, inode: u64) {
    if let Some(noted) = HTTP2_SESSIONS.get_ptr_mut(SessionKey { session: reader, tgid, pad: 0 }) {
        // SAFETY: points into the map; only this goroutine writes there, and who reads half of it finds no connection.
        unsafe { ((*noted).sock, (*noted).inode) = (sock, inode) };
    }
}

#[inline(always)]
pub(crate) fn is_watched(key: SessionKey) -> bool {
    get(key).is_some()
}

/// What carries `carrier` asked for a stream of a client's session.
#[inline(always)]
pub(crate) fn asked_by(key: SessionKey, stream: u32, carrier: Carrier, thread: Thread) {
    if let Some(connection) = watched(key) {
        tell_asked(connection, stream, carrier, thread);
    }
}

/// The connection of a client's session.
#[inline(always)]
fn watched(key: SessionKey) -> Option<&'static Connection> {
    let mut session = get(key)?;
    if session.sock == 0 {
        let noted = get(SessionKey { session: session.reader, ..key })?;
        if noted.sock == 0 || noted.reader != key.session {
            return None;
        }
        session = Session { sock: noted.sock, inode: noted.inode, agreed: Session::PROOFS, ..session };
        set(key, session);
    }
    session.connection()
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
    if let Some(connection) = get(key).and_then(|session| session.connection()) {
        tell_asked(connection, stream, carrier, thread);
    }
}

#[inline(always)]
fn tell_asked(connection: &Connection, stream: u32, carrier: Carrier, thread: Thread) {
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
