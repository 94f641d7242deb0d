//! A span as it came out of the receiver.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Unspecified,
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Span {
    pub resource: Map<String, Value>,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// Empty for a root.
    pub parent_span_id: String,
    pub trace_state: String,
    pub flags: u32,
    pub name: String,
    pub kind: Kind,
    pub start_unix_ns: u64,
    pub end_unix_ns: u64,
    pub attributes: Map<String, Value>,
    pub status: Status,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Status {
    /// 0 unset, 1 ok, 2 error.
    pub code: u8,
    pub message: String,
}

impl Span {
    /// A string attribute; empty where there is none.
    pub fn text(&self, key: &str) -> &str {
        self.attributes.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// An integer attribute.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.attributes.get(key).and_then(Value::as_i64)
    }

    pub fn service(&self) -> &str {
        self.resource.get("service.name").and_then(Value::as_str).unwrap_or_default()
    }

    /// `process.pid` of the resource, 0 where there is none.
    pub fn pid(&self) -> u32 {
        self.resource.get("process.pid").and_then(Value::as_u64).and_then(|pid| pid.try_into().ok()).unwrap_or(0)
    }

    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end_unix_ns.saturating_sub(self.start_unix_ns))
    }

    /// Is it the server end of a request to one of these processes?
    pub fn serves(&self, pids: &[u32]) -> bool {
        self.kind == Kind::Server && pids.contains(&self.pid())
    }

    /// Is it a request that one of these processes made?
    pub fn calls(&self, pids: &[u32]) -> bool {
        self.kind == Kind::Client && pids.contains(&self.pid())
    }

    pub fn is_child_of(&self, parent: &Self) -> bool {
        self.trace_id == parent.trace_id && self.parent_span_id == parent.span_id
    }
}
