//! HTTP/2 sessions of libraries: which connection each is on, so that what is made for a stream carries that stream's token.

use autospan_abi::limits::HTTP2_SESSIONS_MAX;
use autospan_abi::{Counter, Trail, token};
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;

use crate::carrier::{self, Carrier};
use crate::connection;
use crate::context::Context;
use crate::counter;
use crate::tls::SessionKey;

#[map]
static HTTP2_SESSIONS: LruHashMap<SessionKey, Session> = LruHashMap::with_max_entries(HTTP2_SESSIONS_MAX, 0);

#[repr(C)]
#[derive(Clone, Copy)]
struct Session {
    /// Address of the task that reads the connection, and nothing else.
    reader: u64,
    /// The connection, 0: not known yet.
    inode: u64,
}

/// `reader` is the task that reads the session's connection from now on.
#[inline(always)]
pub(crate) fn reads(key: SessionKey, reader: u64) {
    if HTTP2_SESSIONS.insert(key, Session { reader, inode: 0 }, 0).is_err() {
        counter::bump(Counter::LostCarriersFull);
    }
}

/// What a task carries that works on a stream of a session. `None`: its connection is not known.
#[inline(always)]
pub(crate) fn carrier_of(key: SessionKey, stream: u32) -> Option<Carrier> {
    let session = HTTP2_SESSIONS.get_ptr_mut(key)?;
    // SAFETY: points into the map; whoever else writes it writes the same.
    let session = unsafe { &mut *session };
    let read = carrier::of(Context::task(key.tgid, session.reader))?;
    let connection = connection::peek(read.sock())?;
    if session.inode == 0 {
        // What it read last is the connection's last: it was not handed that of another one.
        if !connection.is_read_last(read) {
            return None;
        }
        session.inode = connection.inode();
    }
    if session.inode != connection.inode() {
        return None;
    }
    Some(Carrier::read(token::of_stream(connection.id(), stream), Trail::Task, read.sock()).handed_on())
}
