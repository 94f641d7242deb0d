//! The two ends of one connection on one host: the server's exchange finds the client's, with no header on the wire.
//!
//! TCP: the client's address and the sequence number of the request's first byte are the same at both ends. Unix
//! sockets know each other, and TLS has the client's address; in place of sequence numbers both have the position of
//! the request in its stream, counted by each end from where it was first seen (see [`Distance`]).
//! Streams of HTTP/2 have the same number at both ends.

use crate::causality::ExchangeId;
use crate::connection::{Address, Connection};
use alloc::collections::VecDeque;
use autospan_abi::Role;
use core::net::IpAddr;
use hashbrown::HashMap;

/// What both ends of a request agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// `netns` only for loopback addresses, which every namespace has.
    Tcp {
        client: (IpAddr, u16),
        netns: u32,
        sequence: u32,
    },
    /// `stream`: 0 where requests come one after the other.
    Tls {
        client: (IpAddr, u16),
        netns: u32,
        stream: u32,
    },
    Unix {
        client: u64,
        server: u64,
        stream: u32,
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
                    Some(_) => Some(Self::Tls { client, netns, stream: 0 }),
                    None => Some(Self::Tcp { client, netns, sequence: sequence? }),
                }
            }
            Address::Unix { .. } if connection.peer_sock == 0 => None,
            Address::Unix { .. } if ours => {
                Some(Self::Unix { client: connection.sock, server: connection.peer_sock, stream: 0 })
            }
            Address::Unix { .. } => {
                Some(Self::Unix { client: connection.peer_sock, server: connection.sock, stream: 0 })
            }
        }
    }

    /// One request alone has it.
    pub(crate) fn is_exact(&self) -> bool {
        match self {
            Self::Tcp { .. } => true,
            Self::Tls { stream, .. } | Self::Unix { stream, .. } => *stream > 0,
        }
    }

    /// Of many exchanges at once: both ends number their streams alike.
    pub(crate) fn of_stream(mut self, number: u32) -> Self {
        match &mut self {
            Self::Tcp { .. } => {}
            Self::Tls { stream, .. } | Self::Unix { stream, .. } => *stream = number,
        }
        self
    }
}

/// Requests seen at client ends. Entries live as long as their exchange, of which there are
/// [`crate::limits::EXCHANGES_MAX`] at most.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    clients: HashMap<Key, VecDeque<Sent>>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    id: ExchangeId,
    at: u64,
}

impl Joins {
    pub(crate) fn insert(&mut self, key: Key, id: ExchangeId, at: u64) {
        let sent = self.clients.entry(key).or_default();
        // Records of two CPUs may come in the wrong order, by a few.
        let place = sent.iter().rposition(|s| s.at <= at).map_or(0, |last| last + 1);
        sent.insert(place, Sent { id, at });
    }

    pub(crate) fn remove(&mut self, key: &Key, id: ExchangeId) {
        let Some(sent) = self.clients.get_mut(key) else { return };
        if let Some(place) = sent.iter().position(|s| s.id == id) {
            sent.remove(place);
        }
        if sent.is_empty() {
            self.clients.remove(key);
        }
    }

    /// The request under `key` that was sent last, as of `at`: without pipelining, the one that a server reads then.
    pub(crate) fn last_sent(&self, key: &Key, at: u64) -> Option<ExchangeId> {
        let sent = self.clients.get(key)?;
        let before = sent.partition_point(|s| s.at <= at);
        Some(sent.get(before.checked_sub(1)?)?.id)
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }
}

/// Requests in a row that must have had a distance.
const AGREEING_MIN: u32 = 3;

/// How far the positions of a connection's two ends are apart. Not at all where both saw the handshake; a connection that
/// was there before the agent is seen from another byte at each end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distance {
    /// Connection of the client end.
    client: u64,
    bytes: u64,
    /// Requests that had it, one after the other.
    agreeing: u32,
}

impl Distance {
    /// Whether a request at `client_position` of connection `client` can be the one at `position` of the server's end.
    /// `known`: of the server's end, as far as it is known already.
    pub(crate) fn agrees(known: &mut Option<Self>, client: u64, client_position: u64, position: u64) -> bool {
        let bytes = position.wrapping_sub(client_position);
        let before = known.filter(|known| known.client == client);
        let settled = before.filter(|known| known.bytes == 0 || known.agreeing >= AGREEING_MIN);
        if let Some(known) = settled {
            return known.bytes == bytes;
        }
        let agreeing = before.filter(|known| known.bytes == bytes).map_or(0, |known| known.agreeing);
        *known = Some(Self { client, bytes, agreeing: agreeing + 1 });
        bytes == 0 || agreeing + 1 >= AGREEING_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_seen_from_the_first_byte_agree_at_once_and_on_nothing_else() {
        let mut known = None;
        assert!(Distance::agrees(&mut known, 1, 0, 0));
        assert!(!Distance::agrees(&mut known, 1, 50, 100));
        assert!(!Distance::agrees(&mut known, 1, 100, 150));
        assert!(Distance::agrees(&mut known, 1, 150, 150));
    }

    #[test]
    fn any_other_distance_takes_three_requests() {
        let mut known = None;
        assert!(!Distance::agrees(&mut known, 1, 0, 70));
        assert!(!Distance::agrees(&mut known, 1, 30, 100));
        assert!(Distance::agrees(&mut known, 1, 60, 130));
        assert!(!Distance::agrees(&mut known, 1, 160, 160), "that is settled");
        assert!(Distance::agrees(&mut known, 2, 0, 0), "another client end");
    }

    #[test]
    fn the_request_sent_last_is_by_time_whatever_the_order_of_records() {
        let key = Key::Unix { client: 1, server: 2, stream: 0 };
        let mut joins = Joins::default();
        [(1, 10), (3, 30), (2, 20)].into_iter().for_each(|(id, at)| joins.insert(key, id, at));
        assert_eq!([5, 10, 25, 99].map(|at| joins.last_sent(&key, at)), [None, Some(1), Some(2), Some(3)]);
        [1, 2, 3].into_iter().for_each(|id| joins.remove(&key, id));
        assert_eq!(joins.len(), 0);
    }
}
