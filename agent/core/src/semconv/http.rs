//! Stable HTTP semantic conventions. <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>

mod grpc;
mod url;

use super::{CONNECTION_CLOSED, network, tls};
use crate::event::{Ends, Tls};
use crate::protocol::{HttpRequest, HttpResponse, MessageEnd};
use crate::span::{Attribute, SpanKind, Status};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use url::Url;

/// One exchange, as the conventions see it.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// Server spans: this process received the request. Client spans: it sent it.
    pub kind: SpanKind,
    pub request: HttpRequest,
    pub request_end: MessageEnd,
    /// `None`: the connection was closed before a response came.
    pub response: Option<(HttpResponse, MessageEnd)>,
    /// HTTP/2: the error code with which either side gave it up.
    pub reset: Option<u32>,
    /// From the request's start to the end.
    pub duration_ns: u64,
    /// It went through TLS.
    pub tls: Option<Tls>,
    /// The connection's ends, as this process sees them.
    pub ends: Ends<'a>,
}

/// Attributes of most exchanges; more of them reallocate once.
const ATTRIBUTES_USUAL: usize = 20;

/// Name of the span: without a route, the method alone.
pub fn name(request: &HttpRequest) -> Cow<'static, str> {
    Cow::Borrowed(request.known_method().unwrap_or("HTTP"))
}

impl Exchange<'_> {
    pub fn name(&self) -> Cow<'static, str> {
        if self.is_grpc() { self.grpc_name() } else { name(&self.request) }
    }

    /// An error for a server is what is its own fault; a client has no use for a 4xx either.
    pub fn status(&self) -> Status {
        match self.error() {
            None => Status::Unset,
            // The code says it all.
            Some(Failure::Status(_) | Failure::Reset(_) | Failure::Grpc(_)) => Status::Error(Cow::Borrowed("")),
            Some(Failure::ConnectionClosed) => {
                Status::Error(Cow::Borrowed("the connection was closed before the response was complete"))
            }
        }
    }

    /// All attributes, in no order that matters.
    pub fn attributes(self) -> Vec<Attribute> {
        let mut out = Vec::with_capacity(ATTRIBUTES_USUAL);
        if self.is_grpc() {
            self.grpc_attributes(&mut out);
            return out;
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = Url::parse(&self.request.target, &self.request.host, scheme);
        self.url(&url, &mut out);
        self.server(&url, &mut out);
        network::peer(self.ends, self.kind, &mut out);
        out.extend(self.tls.into_iter().flat_map(tls::attributes));
        self.outcome(&mut out);
        self.request(&mut out);
        out
    }

    fn url(&self, url: &Url<'_>, out: &mut Vec<Attribute>) {
        match self.kind {
            SpanKind::Client => out.push(Attribute::new("url.full", url.full(|| self.inet_server()))),
            SpanKind::Server => {
                out.push(Attribute::new("url.scheme", url.scheme));
                out.extend(url.path.map(|path| Attribute::new("url.path", path.to_string())));
                out.extend(url.query.map(|query| Attribute::new("url.query", url::redacted(query))));
            }
        }
    }

    /// The server as the request names it, else as the socket does.
    fn server(&self, url: &Url<'_>, out: &mut Vec<Attribute>) {
        let (address, port) = match url.host {
            Some(host) => (Some(host.to_string()), url.port.or_else(|| self.unnamed_port(url))),
            None => network::server(self.ends, self.kind),
        };
        out.extend(address.map(|address| Attribute::new("server.address", address)));
        out.extend(port.map(|port| Attribute::new("server.port", port)));
    }

    /// Port of a server that is named without one: a server knows its own, a client used the scheme's.
    fn unnamed_port(&self, url: &Url<'_>) -> Option<u16> {
        match (self.ends, self.kind) {
            (Ends::Unix { .. }, _) => None,
            (Ends::Inet { local, .. }, SpanKind::Server) => Some(local.1),
            (Ends::Inet { .. }, SpanKind::Client) => Some(url.default_port()),
        }
    }

    /// A path is no part of a URL's authority.
    fn inet_server(&self) -> (Option<String>, Option<u16>) {
        if matches!(self.ends, Ends::Unix { .. }) { (None, None) } else { network::server(self.ends, self.kind) }
    }

    fn outcome(&self, out: &mut Vec<Attribute>) {
        out.extend(self.request_end.body_bytes.map(|bytes| Attribute::new("http.request.body.size", bytes)));
        if let Some((response, end)) = &self.response {
            if response.status != 0 {
                out.push(Attribute::new("http.response.status_code", response.status));
            }
            out.extend(end.body_bytes.map(|bytes| Attribute::new("http.response.body.size", bytes)));
        }
        self.error_type(out);
    }

    fn error_type(&self, out: &mut Vec<Attribute>) {
        let Some(failure) = self.error() else { return };
        out.push(match failure {
            Failure::Status(code) => Attribute::new("error.type", code.to_string()),
            Failure::ConnectionClosed => Attribute::new("error.type", CONNECTION_CLOSED),
            Failure::Reset(code) => Attribute::new("error.type", reset_name(code)),
            Failure::Grpc(status) => Attribute::new("error.type", grpc::status_name(status)),
        });
    }

    fn request(self, out: &mut Vec<Attribute>) {
        match self.request.known_method() {
            Some(method) => out.push(Attribute::new("http.request.method", method)),
            None => {
                out.push(Attribute::new("http.request.method", "_OTHER"));
                out.push(Attribute::new("http.request.method_original", self.request.method.into_owned()));
            }
        }
        out.push(Attribute::new("network.protocol.version", self.request.version));
        if !self.request.user_agent.is_empty() {
            out.push(Attribute::new("user_agent.original", self.request.user_agent));
        }
        for (name, values) in self.request.captured {
            out.push(Attribute::new(format!("http.request.header.{name}"), values));
        }
    }

    fn error(&self) -> Option<Failure> {
        if let Some(judged) = self.grpc_error() {
            return judged;
        }
        let error_from = if self.kind == SpanKind::Server { 500 } else { 400 };
        match &self.response {
            Some((response, _)) if response.status >= error_from => Some(Failure::Status(response.status)),
            Some((_, end)) if !end.truncated => None,
            _ if self.reset.is_some() => self.reset.map(Failure::Reset),
            _ => Some(Failure::ConnectionClosed),
        }
    }
}

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Status(u16),
    ConnectionClosed,
    /// By an error code of HTTP/2.
    Reset(u32),
    /// By a status of gRPC.
    Grpc(u8),
}

/// RFC 9113 section 7.
fn reset_name(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied().unwrap_or("_OTHER")
}

#[cfg(test)]
mod tests;
