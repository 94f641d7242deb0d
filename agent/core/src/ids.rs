//! Trace and span ids: derived, not drawn, so that the same records give the same ids and the kernel side can one day
//! derive them too.

use crate::connection::Address;
use crate::protocol::Routine;
use crate::span::{SpanId, TraceId};
use siphasher::sip128::{Hasher128, SipHasher13};

/// Derives ids from the session's secret.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    hasher: SipHasher13,
}

impl Ids {
    pub(crate) fn new(secret: &[u8; 16]) -> Self {
        Self { hasher: SipHasher13::new_with_key(secret) }
    }

    /// Id of the span whose request starts at `position` of `connection`.
    pub(crate) fn span(&self, connection: u64, position: u64) -> SpanId {
        let hash = self.hash(1, connection, position);
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        id[7] |= u8::from(id == [0; 8]);
        id
    }

    /// Id of the trace that starts with that request.
    pub(crate) fn trace(&self, connection: u64, position: u64) -> TraceId {
        let mut id = self.hash(2, connection, position);
        id[15] |= u8::from(id == [0; 16]);
        id
    }

    /// What calls have in common that do the same: where they go, and what they do there.
    pub(crate) fn routine(&self, to: &Address, connection: u64, what: Routine<'_>) -> u64 {
        use core::hash::{Hash, Hasher};
        let mut hasher = self.hasher;
        hasher.write_u8(3);
        match to {
            Address::Inet { remote, .. } => remote.hash(&mut hasher),
            Address::Unix { path } => path.hash(&mut hasher),
        }
        what.hash(&mut hasher);
        what.handle.map(|_| connection).hash(&mut hasher);
        hasher.finish()
    }

    fn hash(&self, domain: u8, connection: u64, position: u64) -> [u8; 16] {
        use core::hash::Hasher;
        let mut hasher = self.hasher;
        let mut message = [0; 17];
        message[0] = domain;
        message[1..9].copy_from_slice(&connection.to_le_bytes());
        message[9..].copy_from_slice(&position.to_le_bytes());
        hasher.write(&message);
        hasher.finish128().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{IpAddr, Ipv4Addr};

    #[test]
    fn routines_are_told_apart_by_place_what_is_done_and_to_what() {
        let ids = Ids::new(&[7; 16]);
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let to = |local, port| Address::Inet { local: (ip, local), remote: (ip, port) };
        let (get, handle) = (Routine::new("GET", "/items"), Routine { handle: Some(7), ..Routine::new("", "") });
        let routine = ids.routine(&to(40_000, 80), 1, get);
        assert_eq!(ids.routine(&to(40_001, 80), 2, get), routine);
        assert_ne!(ids.routine(&to(40_000, 81), 1, get), routine);
        assert_ne!(ids.routine(&to(40_000, 80), 1, Routine::new("PUT", "/items")), routine);
        assert_ne!(ids.routine(&to(40_000, 80), 1, Routine::new("GET", "/item")), routine);
        let routine = ids.routine(&to(40_000, 80), 1, handle);
        assert_ne!(ids.routine(&to(40_000, 80), 2, handle), routine, "it is of one connection");
        assert_ne!(ids.routine(&to(40_000, 80), 1, Routine { handle: Some(8), ..handle }), routine);
    }
}
