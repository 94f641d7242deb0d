//! Client connections that a process keeps open, by where they lead: whether one of them has nothing to do.

use crate::connection::{Address, Connection};
use autospan_abi::Role;
use core::net::IpAddr;
use hashbrown::HashMap;

/// Connections of one process to one place.
type Pool = (u32, IpAddr, u16);

/// Idle connections, counted. Entries live as long as the connections.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    idle: HashMap<Pool, u32>,
}

impl Pools {
    /// A connection may have become idle or busy, or be gone; `counted` is what is known of it here.
    pub(crate) fn update(&mut self, connection: &Connection, idle: bool, counted: &mut bool) {
        let Some(pool) = pool_of(connection).filter(|_| idle != *counted) else { return };
        *counted = idle;
        let count = self.idle.entry(pool).or_default();
        *count = if idle { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.idle.remove(&pool);
        }
    }

    /// Whether a connection other than this one leads to the same place and is idle. Who waits for one would have it.
    pub(crate) fn has_another(&self, connection: &Connection, counted: bool) -> bool {
        let idle = pool_of(connection).and_then(|pool| self.idle.get(&pool)).copied().unwrap_or(0);
        idle > u32::from(counted)
    }

    pub(crate) fn len(&self) -> usize {
        self.idle.len()
    }
}

fn pool_of(connection: &Connection) -> Option<Pool> {
    match *connection.address {
        Address::Inet { remote: (ip, port), .. } if connection.role == Role::Client => {
            Some((connection.tgid, ip, port))
        }
        _ => None,
    }
}
