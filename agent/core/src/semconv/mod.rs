//! Semantic conventions: from exchanges to attribute tables, one file per protocol.

pub mod http;
mod tls;
