//! Header lists: requests, responses and trailers (RFC 9113 section 8.3), of which something may be unknown.

use super::UNKNOWN;
use super::hpack::Field;
use crate::protocol::fields::{self, text};
use crate::protocol::{HttpRequest, HttpResponse, ProtocolConfig, Side};
use alloc::borrow::Cow;
use alloc::string::String;

/// What a header list holds.
#[derive(Debug, Default)]
pub(super) struct Head {
    request: HttpRequest,
    path: Option<String>,
    method: bool,
    authority: bool,
    status: Option<u16>,
    /// What the content type says.
    grpc: Option<bool>,
    /// A field that only gRPC has. Its content type may be unknown.
    grpc_field: bool,
    grpc_status: Option<u8>,
    /// Known pseudo-header fields of requests, and of responses.
    pseudo: [u8; 2],
    /// Fields with something unknown in them.
    unknown: bool,
    /// A field that no endpoint would send, or not there.
    invalid: bool,
    regular: bool,
}

impl Head {
    pub(super) fn add(&mut self, field: Field<'_>, config: &ProtocolConfig) {
        let (Some(name), Some(value)) = (field.name, field.value) else {
            self.unknown = true;
            return;
        };
        match name.split_first() {
            Some((b':', name)) => self.pseudo(name, value),
            Some(_) => self.regular(name, value, config),
            None => self.invalid = true,
        }
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) {
        let valid = match name {
            b"method" => {
                let twice = core::mem::replace(&mut self.method, true);
                let method = core::str::from_utf8(value).unwrap_or_default();
                self.request.method = fields::method(method);
                !twice && !method.is_empty() && value.iter().all(u8::is_ascii_graphic)
            }
            b"path" => self.path.replace(text(value)).is_none() && matches!(value, [b'/' | b'*', ..]),
            b"scheme" => !value.is_empty() && value.iter().all(u8::is_ascii_graphic),
            b"authority" => {
                self.request.host = text(value);
                !core::mem::replace(&mut self.authority, true)
            }
            b"protocol" => true,
            b"status" => match *value {
                [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
                    let digit = |byte: u8| u16::from(byte - b'0');
                    self.status.replace(digit(a) * 100 + digit(b) * 10 + digit(c)).is_none()
                }
                _ => false,
            },
            _ => false,
        };
        self.pseudo[usize::from(name == b"status")] += 1;
        self.invalid |= !valid || self.regular;
    }

    fn regular(&mut self, name: &[u8], value: &[u8], config: &ProtocolConfig) {
        self.regular = true;
        let field = core::str::from_utf8(name).unwrap_or_default();
        self.invalid |= field.is_empty() || name.iter().any(|b| b.is_ascii_uppercase() || !b.is_ascii_graphic());
        match name {
            b"host" if !self.authority => self.request.host = text(value),
            b"user-agent" => self.request.user_agent = text(value),
            b"content-type" => self.grpc = Some(is_grpc(value)),
            b"grpc-status" => self.grpc_status = core::str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
            b"grpc-timeout" => self.request.grpc_timeout = timeout_ns(value),
            _ => fields::trace(&mut self.request.trace, field, value),
        }
        self.grpc_field |= name.starts_with(b"grpc-");
        fields::capture(&mut self.request.captured, field, value, config);
    }

    /// No field is one that nobody sends, or not there.
    pub(super) fn is_valid(&self) -> bool {
        !self.invalid && (self.pseudo[0] == 0 || self.pseudo[1] == 0)
    }

    /// Which side sends such a list, as far as its known pseudo-header fields tell. It must be valid.
    pub(super) fn side(&self) -> Option<Side> {
        match self.pseudo {
            [0, 0] => None,
            [_, 0] => Some(Side::Request),
            _ => Some(Side::Response),
        }
    }

    /// The list's place in its stream tells that it is a request's.
    pub(super) fn request(self) -> HttpRequest {
        let grpc = self.is_grpc();
        let Self { mut request, path, method, .. } = self;
        if !method {
            request.method = Cow::Borrowed(UNKNOWN);
        }
        let connect = method && request.method == "CONNECT";
        request.target = match path {
            Some(path) => path,
            None if connect => request.host.clone(),
            None => UNKNOWN.into(),
        };
        request.version = "2";
        request.grpc = grpc;
        request
    }

    /// As [`Self::request`]. Status 0: unknown.
    pub(super) fn response(&self) -> HttpResponse {
        HttpResponse {
            status: self.status.unwrap_or_default(),
            version: "2",
            grpc: self.is_grpc(),
            grpc_status: self.grpc_status,
        }
    }

    fn is_grpc(&self) -> bool {
        self.grpc.unwrap_or(self.grpc_field)
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.status
    }

    pub(super) fn grpc_status(&self) -> Option<u8> {
        self.grpc_status
    }

    /// The list is not what it must be, and that is not because something is unknown.
    pub(super) fn is_malformed(&self, side: Side) -> bool {
        let needed = match side {
            Side::Request => self.method && (self.path.is_some() || self.request.method == "CONNECT"),
            Side::Response => self.status.is_some(),
        };
        let foreign = match side {
            Side::Request => self.pseudo[1] > 0,
            Side::Response => self.pseudo[0] > 0,
        };
        foreign || !(needed || self.unknown)
    }
}

/// At most eight digits and a unit: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests>
fn timeout_ns(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last().filter(|(_, digits)| digits.len() <= 8)?;
    let unit_ns: u64 = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    let count: u64 = core::str::from_utf8(digits).ok()?.parse().ok()?;
    count.checked_mul(unit_ns)
}

/// `application/grpc`, with or without a format behind it. gRPC-Web is another: its trailers are in the body.
fn is_grpc(content_type: &[u8]) -> bool {
    content_type.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest, [] | [b'+' | b';' | b' ', ..]))
}
