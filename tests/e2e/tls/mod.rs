//! TLS: the same spans as without it, and which TLS it was.

mod chain;
mod clients;
mod early;
mod golang;
mod handshake;
mod interpreters;
mod late;
mod load;
mod loss;
mod many;
mod opaque;
mod servers;
mod transfer;

use anyhow::Result;
use rig::{Client, Connector, Kind, Nginx, Span};

/// Checks what either end of a TLS connection must say, whose handshake the agent saw.
fn check_tls(span: &Span) {
    let scheme = match span.kind {
        Kind::Client => span.text("url.full").split("://").next().unwrap_or_default(),
        _ => span.text("url.scheme"),
    };
    assert_eq!(scheme, "https", "{span:#?}");
    assert!(["1.2", "1.3"].contains(&span.text("tls.protocol.version")), "{span:#?}");
    assert!(span.text("tls.cipher").starts_with("TLS_"), "{span:#?}");
}

/// Checks a call and what it led to: both ends of one TLS connection.
fn check_pair(call: &Span, server: &Span) {
    check_tls(call);
    check_tls(server);
    assert!(server.is_child_of(call), "{call:#?} {server:#?}");
    assert_eq!(server.text("autospan.parent.evidence"), "join", "{server:#?}");
    for key in ["tls.protocol.version", "tls.cipher"] {
        assert_eq!(call.text(key), server.text(key), "{call:#?} {server:#?}");
    }
    assert_eq!(call.number("network.peer.port"), server.number("server.port"), "{call:#?} {server:#?}");
}

fn connect(nginx: &Nginx, connector: &Connector) -> Result<Client> {
    connector.connect(&nginx.address)
}
