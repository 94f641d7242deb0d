//! The two ends of one connection on one host: the server's exchange finds the client's, with no header on the wire.
//!
//! TCP: the client's address and the sequence number of the request's first byte are the same at both ends. Unix
//! sockets: each end knows the other's socket; of the client's exchanges on it, the one that encloses the server's. The
//! same for TLS, whose plaintext has no sequence numbers: the client's address, and the exchange that encloses.

use crate::causality::ExchangeId;
use crate::connection::{Address, Connection};
use alloc::collections::VecDeque;
use autospan_abi::Role;
use core::net::IpAddr;
use hashbrown::HashMap;

/// Client exchanges remembered per connection.
const RECENT_MAX: usize = 8;

/// What both ends of a request agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// `netns` only for loopback addresses, which every namespace has.
    Tcp {
        client: (IpAddr, u16),
        netns: u32,
        sequence: u32,
    },
    Tls {
        client: (IpAddr, u16),
        netns: u32,
    },
    Unix {
        client: u64,
        server: u64,
    },
}

impl Key {
    /// The key of a request that starts with TCP sequence number `sequence` on this connection.
    pub(crate) fn new(connection: &Connection, sequence: Option<u32>) -> Option<Self> {
        let ours = connection.role == Role::Client;
        match *connection.address {
            Address::Inet { local, remote } => {
                let client = if ours { local } else { remote };
                let netns = if client.0.is_loopback() { connection.netns } else { 0 };
                match connection.tls {
                    Some(_) => Some(Self::Tls { client, netns }),
                    None => Some(Self::Tcp { client, netns, sequence: sequence? }),
                }
            }
            Address::Unix { .. } if connection.peer_sock == 0 => None,
            Address::Unix { .. } if ours => Some(Self::Unix { client: connection.sock, server: connection.peer_sock }),
            Address::Unix { .. } => Some(Self::Unix { client: connection.peer_sock, server: connection.sock }),
        }
    }
}

/// Requests seen at client ends. Entries live as long as their exchange.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    clients: HashMap<Key, VecDeque<ExchangeId>>,
}

impl Joins {
    pub(crate) fn insert(&mut self, key: Key, id: ExchangeId) {
        let ids = self.clients.entry(key).or_default();
        if ids.len() == RECENT_MAX {
            ids.pop_front();
        }
        ids.push_back(id);
    }

    pub(crate) fn remove(&mut self, key: &Key, id: ExchangeId) {
        if let Some(ids) = self.clients.get_mut(key) {
            ids.retain(|i| *i != id);
            if ids.is_empty() {
                self.clients.remove(key);
            }
        }
    }

    /// The only client exchange under `key` that `encloses` the server's.
    pub(crate) fn find(&self, key: &Key, mut encloses: impl FnMut(ExchangeId) -> bool) -> Option<ExchangeId> {
        let mut fitting = self.clients.get(key)?.iter().copied().filter(|id| encloses(*id));
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }
}
