//! Header fields of any version of HTTP, as far as a span shows them.

use super::{ProtocolConfig, TraceHeaders, known_method};
use crate::limits::{ATTRIBUTE_BYTES_MAX, cut_attribute};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// Takes a field that carries trace context.
pub(super) fn trace(trace: &mut TraceHeaders, name: &str, value: &[u8]) {
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    let once = match name.len() {
        2 if is("b3") => &mut trace.b3,
        11 if is("traceparent") => &mut trace.traceparent,
        11 if is("x-b3-spanid") => &mut trace.b3_span_id,
        12 if is("x-b3-traceid") => &mut trace.b3_trace_id,
        13 if is("uber-trace-id") => &mut trace.jaeger,
        10 if is("tracestate") => return join(&mut trace.tracestate, value),
        _ => return,
    };
    *once = Some(if once.is_none() { text(value) } else { String::new() });
}

/// Several `tracestate` fields are one list. The head's limit bounds it.
fn join(list: &mut String, value: &[u8]) {
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(&text(value));
}

/// Takes a field that was asked for.
pub(super) fn capture(captured: &mut Vec<(String, Vec<String>)>, name: &str, value: &[u8], config: &ProtocolConfig) {
    let Some(name) = config.capture_headers.iter().find(|wanted| wanted.eq_ignore_ascii_case(name)) else {
        return;
    };
    let value = text(value);
    match captured.iter_mut().find(|(known, _)| known == name) {
        Some((_, values)) => values.push(value),
        None => captured.push((name.clone(), Vec::from([value]))),
    }
}

pub(super) fn method(name: &str) -> Cow<'static, str> {
    known_method(name).map_or_else(|| Cow::Owned(text(name.as_bytes())), Cow::Borrowed)
}

/// Bytes of the wire as text: cut to the attribute limit at a character boundary, invalid UTF-8 replaced.
pub(super) fn text(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(ATTRIBUTE_BYTES_MAX)];
    let whole = match core::str::from_utf8(cut) {
        Ok(text) => return String::from(text),
        // Only the limit cut the last character in two.
        Err(e) if e.error_len().is_none() && cut.len() < bytes.len() => &cut[..e.valid_up_to()],
        Err(_) => cut,
    };
    let mut text = String::from_utf8_lossy(whole).into_owned();
    cut_attribute(&mut text);
    text
}
