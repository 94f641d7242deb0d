//! The two ends of one connection on one host: the server's exchange finds the client's, with no header on the wire.
//!
//! TCP: the client's address and the sequence number of the request's first byte are the same at both ends. Unix
//! sockets know each other, and TLS has the client's address; in place of sequence numbers both have the position of
//! the request in its stream, counted by each end from where it was first seen (see [`Distance`]).
//! Streams of HTTP/2 have the same number at both ends.

use crate::causality::ExchangeId;
use crate::connection::{Address, Connection};
use crate::map::HashMap;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use autospan_abi::Role;
use core::net::IpAddr;

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

/// Requests on their way on one connection of which the one is sought that a server has read.
const SOUGHT_MAX: usize = 1024;

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

    /// The requests under `key` that were sent last, as of `at`, the latest first: without pipelining, a server that reads one then
    /// reads the first of these.
    pub(crate) fn last_sent(&self, key: &Key, at: u64) -> impl Iterator<Item = ExchangeId> + Clone {
        let sent = self.clients.get(key);
        let before = sent.map_or(0, |sent| sent.partition_point(|s| s.at <= at));
        let before = sent.into_iter().flat_map(move |sent| sent.range(..before).rev());
        before.map(|sent| sent.id).take(SOUGHT_MAX)
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }
}

/// Requests in a row that must have had a distance.
const AGREEING_MIN: u32 = 3;
/// Requests on their way at once that tell something of a distance.
const WAITING_MAX: usize = 16;

/// How far the positions of a connection's two ends are apart. Not at all where both saw the handshake; a connection that
/// was there before the agent is seen from another byte at each end.
#[derive(Clone, Debug)]
pub(crate) struct Distance {
    /// Connection of the client end.
    client: u64,
    /// What it may be: each request was one that was on its way when it was read.
    bytes: Vec<u64>,
    /// Requests that agreed on that, one after the other.
    agreeing: u32,
}

/// A request that was on its way when a server read one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) id: ExchangeId,
    pub(crate) position: u64,
}

impl Distance {
    /// Which of those on their way on connection `client` is the one at `position` of the server's end, as far as that is sure.
    /// `known`: of the server's end, as far as it is known already. `one_by_one`: no request is sent before the one in front of it is
    /// answered.
    pub(crate) fn find(
        known: &mut Option<Self>,
        client: u64,
        waiting: impl Iterator<Item = Waiting> + Clone,
        position: u64,
        one_by_one: bool,
    ) -> Option<ExchangeId> {
        let of_client = known.take().filter(|known| known.client == client);
        let found = known.insert(match of_client {
            Some(known) if known.settled(one_by_one).is_some() => known,
            before => Self::narrowed(before, client, waiting.clone(), position),
        });
        let at = position.wrapping_sub(found.settled(one_by_one)?);
        waiting.into_iter().find(|waiting| waiting.position == at).map(|waiting| waiting.id)
    }

    fn narrowed(before: Option<Self>, client: u64, waiting: impl Iterator<Item = Waiting>, position: u64) -> Self {
        let bytes: Vec<_> = waiting.take(WAITING_MAX + 1).map(|w| position.wrapping_sub(w.position)).collect();
        let Some(mut known) = before else { return Self { client, bytes, agreeing: 1 } };
        if bytes.len() > WAITING_MAX {
            return known;
        }
        known.bytes.retain(|known| bytes.contains(known));
        if known.bytes.is_empty() {
            return Self { client, bytes, agreeing: 1 };
        }
        known.agreeing = known.agreeing.saturating_add(1);
        known
    }

    fn settled(&self, one_by_one: bool) -> Option<u64> {
        let [bytes] = self.bytes[..] else { return None };
        (one_by_one && bytes == 0 || self.agreeing >= AGREEING_MIN).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Of requests that wait at these positions of the client's end, that at `position` of the server's.
    fn find(
        known: &mut Option<Distance>,
        client: u64,
        waiting: &[u64],
        position: u64,
        one_by_one: bool,
    ) -> Option<u64> {
        let waiting = waiting.iter().map(|position| Waiting { id: 1000 + position, position: *position });
        Distance::find(known, client, waiting, position, one_by_one).map(|id| id - 1000)
    }

    #[test]
    fn ends_seen_from_the_first_byte_agree_at_once_and_on_nothing_else() {
        let mut known = None;
        let mut at = |client, position| find(&mut known, 1, &[client], position, true);
        assert_eq!([at(0, 0), at(50, 100), at(100, 150), at(150, 150)], [Some(0), None, None, Some(150)]);
    }

    #[test]
    fn any_other_distance_takes_three_requests() {
        let mut known = None;
        let mut at = |client, position| find(&mut known, 1, &[client], position, true);
        assert_eq!([at(0, 70), at(30, 100), at(60, 130)], [None, None, Some(60)]);
        assert_eq!(at(160, 160), None, "that is settled");
        assert_eq!(find(&mut known, 2, &[0], 0, true), Some(0), "another client end");
    }

    #[test]
    fn of_many_on_their_way_the_one_is_found_once_one_distance_alone_is_left() {
        let mut known = None;
        let mut at = |waiting: &[u64], position| find(&mut known, 1, waiting, position, false);
        assert_eq!(at(&[30, 10, 0], 100), None);
        assert_eq!(at(&[30, 10], 110), None);
        assert_eq!(at(&[75, 30], 130), Some(30));
        assert_eq!(at(&[90, 75], 175), Some(75));
        assert_eq!(at(&[90], 175), None, "it was lost");
    }

    #[test]
    fn of_many_of_one_length_nothing_tells_which_is_which() {
        let mut known = None;
        for position in (0..1_000).step_by(10) {
            assert_eq!(find(&mut known, 1, &[position + 10, position], position, false), None, "{position}");
        }
    }

    #[test]
    fn the_first_that_was_seen_need_not_be_the_one_that_was_read() {
        let mut known = None;
        // One that was sent before the agent came.
        assert_eq!(find(&mut known, 1, &[0], 0, false), None);
        let mut at = |client, position| find(&mut known, 1, &[client], position, false);
        assert_eq!([at(0, 40), at(40, 80), at(80, 120)], [None, None, Some(80)]);
    }

    #[test]
    fn the_request_sent_last_is_by_time_whatever_the_order_of_records() {
        let key = Key::Unix { client: 1, server: 2, stream: 0 };
        let mut joins = Joins::default();
        [(1, 10), (3, 30), (2, 20)].into_iter().for_each(|(id, at)| joins.insert(key, id, at));
        let sent = |at| joins.last_sent(&key, at).collect::<Vec<_>>();
        assert_eq!([5, 10, 25, 99].map(sent), [vec![], vec![1], vec![2, 1], vec![3, 2, 1]]);
        [1, 2, 3].into_iter().for_each(|id| joins.remove(&key, id));
        assert_eq!(joins.len(), 0);
    }
}
