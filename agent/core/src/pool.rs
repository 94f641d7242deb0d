//! Client connections that a process keeps open, by where they lead: whether one of them has had nothing to do for a while.

use crate::connection::{Address, Connection};
use crate::map::HashMap;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use autospan_abi::Role;
use core::net::IpAddr;

/// A connection that is given back to its pool is taken by whoever waits for it within a turn of the event loop. One that
/// lies there for so long is wanted by nobody.
const UNWANTED_NS: u64 = 50_000_000;

/// So many of them are believed.
const OTHERS_MIN: usize = 2;

/// Connections of one process to one place.
type Pool = (u32, Place);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Inet(IpAddr, u16),
    /// Its path.
    Unix(Box<[u8]>),
}

/// Idle connections: since when, and which. Entries live as long as the connections.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    idle: HashMap<Pool, BTreeSet<(u64, u64)>>,
}

impl Pools {
    /// A connection may have become idle or busy, or be gone; `since` is what was noted of it before.
    pub(crate) fn update(&mut self, connection: &Connection, idle: bool, since: &mut Option<u64>) {
        if idle == since.is_some() {
            return;
        }
        let Some(pool) = pool_of(connection) else { return };
        let connections = self.idle.entry(pool.clone()).or_default();
        match since.take() {
            Some(since) => drop(connections.remove(&(since, connection.id))),
            None => {
                *since = Some(connection.last_at);
                connections.insert((connection.last_at, connection.id));
            }
        }
        if connections.is_empty() {
            self.idle.remove(&pool);
        }
    }

    /// Whether connections other than this one lead to the same place and are wanted by nobody. A single one may only seem
    /// to be idle, since the record of its last request was lost.
    pub(crate) fn has_others(&self, connection: &Connection, now: u64) -> bool {
        let idle = pool_of(connection).and_then(|pool| self.idle.get(&pool));
        let unwanted = idle.into_iter().flatten().take_while(|(since, _)| since.saturating_add(UNWANTED_NS) <= now);
        unwanted.filter(|(_, id)| *id != connection.id).take(OTHERS_MIN).count() == OTHERS_MIN
    }

    pub(crate) fn len(&self) -> usize {
        self.idle.len()
    }
}

fn pool_of(connection: &Connection) -> Option<Pool> {
    let place = match &*connection.address {
        _ if connection.role != Role::Client => return None,
        Address::Inet { remote: (ip, port), .. } => Place::Inet(*ip, *port),
        Address::Unix { path } => Place::Unix(path.clone()),
    };
    Some((connection.tgid, place))
}
