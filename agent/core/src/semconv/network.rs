//! Attributes of a connection's ends. <https://opentelemetry.io/docs/specs/semconv/registry/attributes/network/>

use crate::event::Ends;
use crate::span::{Attribute, SpanKind};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Address and port of the server, as the socket has them.
pub(super) fn server(ends: Ends<'_>, kind: SpanKind) -> (Option<String>, Option<u16>) {
    match (ends, kind) {
        (Ends::Unix { path }, _) => (unix_name(path), None),
        (Ends::Inet { local: server, .. }, SpanKind::Server)
        | (Ends::Inet { remote: server, .. }, SpanKind::Client) => (Some(server.0.to_string()), Some(server.1)),
    }
}

/// `network.peer.*`, and `client.*` of a server.
pub(super) fn peer(ends: Ends<'_>, kind: SpanKind, out: &mut Vec<Attribute>) {
    match ends {
        Ends::Inet { remote: (ip, port), .. } => {
            let ip = ip.to_string();
            if kind == SpanKind::Server {
                out.push(Attribute::new("client.address", ip.clone()));
                out.push(Attribute::new("client.port", port));
            }
            out.push(Attribute::new("network.peer.address", ip));
            out.push(Attribute::new("network.peer.port", port));
            out.push(Attribute::new("network.transport", "tcp"));
        }
        Ends::Unix { path } => {
            // The path is the server's; a client's socket has no name.
            let server = if kind == SpanKind::Client { unix_name(path) } else { None };
            out.extend(server.map(|path| Attribute::new("network.peer.address", path)));
            out.push(Attribute::new("network.transport", "unix"));
        }
    }
}

/// A unix socket's name as `ss` shows it: `@` for the abstract namespace.
fn unix_name(path: &[u8]) -> Option<String> {
    match path {
        [] => None,
        [0, name @ ..] => Some(format!("@{}", String::from_utf8_lossy(name))),
        _ => Some(String::from_utf8_lossy(path).into_owned()),
    }
}
