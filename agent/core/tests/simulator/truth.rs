//! What a run of the agent should have found out: the spans there can be, and the parent of each.

use crate::agent::Session;
use crate::plan::Plan;
use autospan_core::span::{SpanId, SpanKind};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hasher;

/// A span that there can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) request: usize,
    pub(crate) kind: SpanKind,
    pub(crate) parent: Option<SpanId>,
    /// Without a fault, a span that has this parent must say so.
    pub(crate) is_exact: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Truth(pub(crate) BTreeMap<SpanId, Known>);

impl Truth {
    pub(crate) fn new(plan: &Plan, session: &Session) -> Self {
        let ids: HashMap<(usize, bool), SpanId> = session
            .origins
            .iter()
            .map(|(origin, (request, kind))| ((*request, *kind == SpanKind::Server), span_id(session.secret, *origin)))
            .collect();
        let known = ids.iter().map(|((request, is_server), id)| {
            let caller = plan.requests[*request].parent;
            let (kind, parent, is_exact) = match is_server {
                true => (SpanKind::Server, Some((*request, false)), true),
                false => {
                    let is_exact = caller.is_some_and(|c| plan.services[plan.requests[c].service].model.is_exact());
                    (SpanKind::Client, caller.map(|c| (c, true)), is_exact)
                }
            };
            let parent = parent.and_then(|parent| ids.get(&parent)).copied();
            (*id, Known { request: *request, kind, parent, is_exact })
        });
        Self(known.collect())
    }
}

/// Ids are derived: see `ids` of the engine.
fn span_id(secret: [u8; 16], (connection, position): (u64, u64)) -> SpanId {
    let mut message = [0; 17];
    message[0] = 1;
    message[1..9].copy_from_slice(&connection.to_le_bytes());
    message[9..].copy_from_slice(&position.to_le_bytes());
    let mut hasher = SipHasher13::new_with_key(&secret);
    hasher.write(&message);
    let mut id = [0; 8];
    id.copy_from_slice(&hasher.finish128().as_bytes()[..8]);
    id
}

pub(crate) fn hex(id: SpanId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
