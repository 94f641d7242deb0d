//! Message heads: where they end, and what they say. `httparse` reads them.

use super::framing::{Body, Faulty, Framing};
use super::{Side, start_line};
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};
use crate::protocol::fields::{self, text};
use crate::protocol::{HttpRequest, HttpResponse, ProtocolConfig};
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use httparse::{Header, ParserConfig, Status};

/// A head at the start of some bytes.
#[derive(Debug)]
pub(super) enum Head<T> {
    Complete {
        head: T,
        bytes: usize,
    },
    Partial,
    /// No message starts with these first `bytes`.
    Malformed {
        bytes: usize,
    },
}

pub(super) type Request = (HttpRequest, Body);
pub(super) type Response = (HttpResponse, Framing);

/// Outcome of one attempt on some bytes: the head and its length, or `None` until there are enough of them.
type Attempt<T> = Result<Option<(T, usize)>, Faulty>;

type Headers<'a> = [MaybeUninit<Header<'a>>; HEADERS_MAX];

/// Reads a request's head. `scanned`: so many bytes were offered before and had no end of a head.
pub(super) fn request(bytes: &[u8], scanned: usize, config: &ProtocolConfig) -> Head<Request> {
    read(Side::Request, bytes, scanned, |bytes| attempt_request(bytes, config))
}

/// Reads a response's head; as [`request`].
pub(super) fn response(bytes: &[u8], scanned: usize) -> Head<Response> {
    read(Side::Response, bytes, scanned, attempt_response)
}

/// Tries at once, since a head mostly comes whole. Where it did not, waits for its end before the second try, so that
/// small pieces do not cost a parse each.
fn read<T>(side: Side, bytes: &[u8], scanned: usize, attempt: impl Fn(&[u8]) -> Attempt<T>) -> Head<T> {
    let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    if let Some(at) = start_line::misfit(side, bytes) {
        return Head::Malformed { bytes: at + 1 };
    }
    if scanned == 0
        && let Ok(Some((head, bytes))) = attempt(bytes)
    {
        return Head::Complete { head, bytes };
    }
    match end(bytes, scanned) {
        Some(end) => match attempt(&bytes[..end]).or_else(|_| attempt(&repaired(&bytes[..end]))) {
            Ok(Some((head, _))) => Head::Complete { head, bytes: end },
            Ok(None) | Err(Faulty) => Head::Malformed { bytes: end },
        },
        None if bytes.len() == HEAD_BYTES_MAX => Head::Malformed { bytes: HEAD_BYTES_MAX },
        None => Head::Partial,
    }
}

/// Length of the head, its empty line included.
fn end(bytes: &[u8], scanned: usize) -> Option<usize> {
    // The line feed of the last line may be the last but one of the bytes scanned.
    let from = scanned.saturating_sub(2).min(bytes.len());
    let mut rest = &bytes[from..];
    while let Some(line_end) = rest.iter().position(|&b| b == b'\n') {
        rest = &rest[line_end + 1..];
        let empty_line = match rest {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => continue,
        };
        return Some(bytes.len() - rest.len() + empty_line);
    }
    None
}

/// A copy without what servers accept and `httparse` does not: folded lines (RFC 9112 section 5.2) in requests, and a
/// target that is not UTF-8.
fn repaired(head: &[u8]) -> Vec<u8> {
    let mut head = String::from_utf8_lossy(head).into_owned().into_bytes();
    for i in 1..head.len() {
        if head[i - 1] == b'\n' && matches!(head[i], b' ' | b'\t') {
            head[i - 1] = b' ';
            if i >= 2 && head[i - 2] == b'\r' {
                head[i - 2] = b' ';
            }
        }
    }
    head
}

fn attempt_request(bytes: &[u8], config: &ProtocolConfig) -> Attempt<Request> {
    let mut headers: Headers<'_> = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let status = ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, bytes, &mut headers);
    let Status::Complete(len) = status.map_err(|_| Faulty)? else { return Ok(None) };
    let (mut request, mut framing) = (HttpRequest::default(), Framing::default());
    request.method = fields::method(parsed.method.unwrap_or_default());
    request.target = text(parsed.path.unwrap_or_default().as_bytes());
    request.version = version(parsed.version);
    for header in parsed.headers.iter() {
        request_header(&mut request, &mut framing, header);
        fields::capture(&mut request.captured, header.name, header.value, config);
    }
    let body = framing.request(request.version)?;
    Ok(Some(((request, body), len)))
}

fn attempt_response(bytes: &[u8]) -> Attempt<Response> {
    let mut headers: Headers<'_> = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    // What every client accepts: a client that refused it would not have a response at all.
    let status = ParserConfig::default()
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .parse_response_with_uninit_headers(&mut parsed, bytes, &mut headers);
    let Status::Complete(len) = status.map_err(|_| Faulty)? else { return Ok(None) };
    let mut framing = Framing::default();
    for header in parsed.headers.iter() {
        framing_header(&mut framing, header);
        framing.h2c |= header.name.eq_ignore_ascii_case("upgrade") && header.value.eq_ignore_ascii_case(b"h2c");
    }
    let (status, version) = (parsed.code.unwrap_or_default(), version(parsed.version));
    let response = HttpResponse { status, version, ..HttpResponse::default() };
    Ok(Some(((response, framing), len)))
}

fn request_header(request: &mut HttpRequest, framing: &mut Framing, header: &Header<'_>) {
    let is = |name: &str| header.name.eq_ignore_ascii_case(name);
    match header.name.len() {
        4 if is("host") => request.host = text(header.value),
        10 if is("user-agent") => request.user_agent = text(header.value),
        14 | 17 => framing_header(framing, header),
        _ => fields::trace(&mut request.trace, header.name, header.value),
    }
}

fn framing_header(framing: &mut Framing, header: &Header<'_>) {
    match header.name.len() {
        14 if header.name.eq_ignore_ascii_case("content-length") => framing.content_length(header.value),
        17 if header.name.eq_ignore_ascii_case("transfer-encoding") => framing.transfer_encoding(header.value),
        _ => {}
    }
}

fn version(minor: Option<u8>) -> &'static str {
    if minor == Some(0) { "1.0" } else { "1.1" }
}
