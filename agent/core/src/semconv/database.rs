//! Stable database semantic conventions. <https://opentelemetry.io/docs/specs/semconv/database/database-spans/>

use super::{CONNECTION_CLOSED, Described, network, tls};
use crate::event::{Ends, Tls};
use crate::protocol::{DatabaseRequest, DatabaseResponse, DatabaseSystem, MessageEnd, Reported};
use crate::span::{Attribute, SpanKind, Status};
use alloc::borrow::Cow;
use alloc::string::ToString;
use alloc::vec::Vec;

/// One exchange, as the conventions see it.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    pub kind: SpanKind,
    pub request: DatabaseRequest,
    /// `None`: the connection was closed before a response came.
    pub response: Option<(DatabaseResponse, MessageEnd)>,
    /// From the request's start to the first byte of the response.
    pub first_byte_ns: Option<u64>,
    pub tls: Option<Tls>,
    pub ends: Ends<'a>,
}

/// Attributes of most exchanges; more of them reallocate once.
const ATTRIBUTES_USUAL: usize = 20;

/// Nanoseconds until the first byte of the response came; the span's end is that of the last.
pub const FIRST_BYTE: &str = "autospan.time_to_first_byte_ns";

impl Exchange<'_> {
    /// `None`: nobody asked for it, and it went well.
    pub(super) fn describe(self) -> Option<Described> {
        if self.request.reported == Reported::IfFailed && self.error().is_none() {
            return None;
        }
        Some(Described { name: self.name(), status: self.status(), attributes: self.attributes() })
    }

    /// The summary; else the operation and its target; else the system.
    fn name(&self) -> Cow<'static, str> {
        let statement = &self.request.statement;
        match (&statement.operation, &statement.collection) {
            _ if !statement.summary.is_empty() => Cow::Owned(statement.summary.clone()),
            (Some(operation), Some(collection)) => Cow::Owned(alloc::format!("{operation} {collection}")),
            (Some(operation), None) => operation.clone(),
            (None, _) => Cow::Borrowed(self.request.system.name()),
        }
    }

    fn status(&self) -> Status {
        match self.error() {
            None => Status::Unset,
            Some(CONNECTION_CLOSED) => {
                Status::Error(Cow::Borrowed("the connection was closed before the response was complete"))
            }
            // The code says it all.
            Some(_) => Status::Error(Cow::Borrowed("")),
        }
    }

    /// `error.type`.
    fn error(&self) -> Option<&str> {
        match &self.response {
            Some((DatabaseResponse { error: Some(code), .. }, _)) => Some(code),
            Some((_, end)) if !end.truncated => None,
            _ => Some(CONNECTION_CLOSED),
        }
    }

    fn attributes(&self) -> Vec<Attribute> {
        let mut out = Vec::with_capacity(ATTRIBUTES_USUAL);
        out.push(Attribute::new("db.system.name", self.request.system.name()));
        self.statement(&mut out);
        self.outcome(&mut out);
        let (address, port) = network::server(self.ends, self.kind);
        out.extend(address.map(|address| Attribute::new("server.address", address)));
        out.extend(port.map(|port| Attribute::new("server.port", port)));
        network::peer(self.ends, self.kind, &mut out);
        out.extend(self.tls.into_iter().flat_map(tls::attributes));
        out
    }

    fn statement(&self, out: &mut Vec<Attribute>) {
        let DatabaseRequest { system, statement, namespace, batch_size, .. } = &self.request;
        let mut text = |key, value: Option<&str>| out.extend(value.map(|v| Attribute::new(key, v.to_string())));
        text("db.operation.name", statement.operation.as_deref());
        text("db.collection.name", statement.collection.as_deref());
        text("db.stored_procedure.name", statement.procedure.as_deref());
        text("db.namespace", namespace.as_deref());
        text("db.query.text", statement.text.as_deref());
        // What a key-value store is asked is no query.
        if *system != DatabaseSystem::Redis && !statement.summary.is_empty() {
            text("db.query.summary", Some(&statement.summary));
        }
        out.extend(batch_size.map(|n| Attribute::new("db.operation.batch.size", u64::from(n))));
    }

    fn outcome(&self, out: &mut Vec<Attribute>) {
        if let Some((response, _)) = &self.response {
            out.extend(response.returned_rows.map(|rows| Attribute::new("db.response.returned_rows", rows)));
            out.extend(response.status_code().map(|code| Attribute::new("db.response.status_code", code.to_string())));
        }
        out.extend(self.error().map(|error| Attribute::new("error.type", error.to_string())));
        out.extend(self.first_byte_ns.map(|ns| Attribute::new(FIRST_BYTE, ns)));
    }
}

#[cfg(test)]
mod tests;
