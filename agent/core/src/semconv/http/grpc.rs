//! gRPC, by the RPC conventions as of semantic conventions 1.44 (release candidate).
//! <https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>

use super::super::network;
use super::{Exchange, Failure, Url};
use crate::protocol::http2::UNKNOWN;
use crate::semconv::tls;
use crate::span::{Attribute, SpanKind};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

const SYSTEM: &str = "grpc";

/// <https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>
const STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const CANCEL: u32 = 8;
const DEADLINE_EXCEEDED: u8 = 4;

/// By the error code of HTTP/2: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors>
const fn status_of_reset(code: u32) -> u8 {
    const REFUSED_STREAM: u32 = 7;
    const ENHANCE_YOUR_CALM: u32 = 11;
    const INADEQUATE_SECURITY: u32 = 12;
    match code {
        CANCEL => 1,
        REFUSED_STREAM => 14,
        ENHANCE_YOUR_CALM => 8,
        INADEQUATE_SECURITY => 7,
        _ => 13,
    }
}

/// Those that are a server's own fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
const SERVER_ERRORS: [u8; 6] = [2, 4, 12, 13, 14, 15];

/// Name of a status; a number that is none is UNKNOWN to every client.
pub(super) fn status_name(status: u8) -> &'static str {
    STATUS.get(usize::from(status)).copied().unwrap_or("UNKNOWN")
}

impl Exchange<'_> {
    pub(super) fn is_grpc(&self) -> bool {
        self.request.grpc || self.response.as_ref().is_some_and(|(response, _)| response.grpc)
    }

    /// `package.Service/Method`; `None`: it cannot be known.
    fn grpc_method(&self) -> Option<String> {
        let path = self.request.target.split('?').next().filter(|path| *path != UNKNOWN)?;
        Some(path.strip_prefix('/').unwrap_or(path).to_string())
    }

    pub(super) fn grpc_name(&self) -> Cow<'static, str> {
        self.grpc_method().map_or(Cow::Borrowed(SYSTEM), Cow::Owned)
    }

    /// As the server said it, or as the client makes it of a stream that was given up.
    fn grpc_status(&self) -> Option<u8> {
        let said = self.response.as_ref().and_then(|(response, _)| response.grpc_status);
        said.or_else(|| match self.reset {
            Some(CANCEL) if self.grpc_deadline_passed() => Some(DEADLINE_EXCEEDED),
            Some(code) => Some(status_of_reset(code)),
            None => None,
        })
    }

    /// A client gives up what takes too long with the code of any other cancellation.
    fn grpc_deadline_passed(&self) -> bool {
        // What is sent is rounded up: C-core keeps two digits of it.
        self.request.grpc_timeout.is_some_and(|timeout| self.duration_ns >= timeout - timeout / 10)
    }

    /// Whether the status is a failure; `None`: there is none to tell by.
    pub(super) fn grpc_error(&self) -> Option<Option<Failure>> {
        let failed = |status: &u8| match self.kind {
            SpanKind::Client => *status != 0,
            SpanKind::Server => SERVER_ERRORS.contains(status),
        };
        let status = self.grpc_status().filter(|_| self.is_grpc())?;
        Some(Some(status).filter(failed).map(Failure::Grpc))
    }

    pub(super) fn grpc_attributes(self, out: &mut Vec<Attribute>) {
        out.push(Attribute::new("rpc.system.name", SYSTEM));
        out.push(Attribute::new("rpc.method", self.grpc_method().unwrap_or_else(|| UNKNOWN.to_string())));
        let status = self.grpc_status().map(status_name);
        out.extend(status.map(|status| Attribute::new("rpc.response.status_code", status)));
        self.error_type(out);
        let url = Url::parse("/", &self.request.host, if self.tls.is_some() { "https" } else { "http" });
        self.server(&url, out);
        network::peer(self.ends, self.kind, out);
        out.extend(self.tls.into_iter().flat_map(tls::attributes));
        if !self.request.user_agent.is_empty() {
            out.push(Attribute::new("user_agent.original", self.request.user_agent));
        }
        for (name, values) in self.request.captured {
            out.push(Attribute::new(format!("rpc.request.metadata.{name}"), values));
        }
    }
}
