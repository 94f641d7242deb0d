//! Trace context headers: W3C `traceparent` and `tracestate`, B3 single and multi header, Jaeger's `uber-trace-id`.
//! <https://www.w3.org/TR/trace-context/>, <https://github.com/openzipkin/b3-propagation>,
//! <https://www.jaegertracing.io/docs/1.76/sdk-migration/#propagation-format>

use crate::limits::{TRACESTATE_BYTES_MAX, TRACESTATE_MEMBERS_MAX};
use crate::protocol::TraceHeaders;
use crate::span::{SpanId, TraceId};
use alloc::string::String;

/// A valid incoming trace context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: TraceId,
    pub parent_span_id: SpanId,
    /// Verbatim; empty where there was none, or an invalid one.
    pub trace_state: String,
}

/// The context that the headers carry. W3C's wins over B3's, and a single header over several.
pub fn extract(headers: &TraceHeaders) -> Option<TraceContext> {
    let w3c = headers.traceparent.as_deref().and_then(traceparent).map(|ids| (ids, tracestate(&headers.tracestate)));
    let (ids, trace_state) = w3c.or_else(|| other(headers).map(|ids| (ids, "")))?;
    Some(TraceContext { trace_id: ids.0, parent_span_id: ids.1, trace_state: String::from(trace_state) })
}

type Ids = (TraceId, SpanId);

fn other(headers: &TraceHeaders) -> Option<Ids> {
    let single = || headers.b3.as_deref().and_then(b3_single);
    let multi = || b3_ids(headers.b3_trace_id.as_deref()?, headers.b3_span_id.as_deref()?);
    let jaeger = || headers.jaeger.as_deref().and_then(jaeger);
    single().or_else(multi).or_else(jaeger)
}

/// `version "-" trace-id "-" parent-id "-" trace-flags`. Versions to come may append fields.
fn traceparent(value: &str) -> Option<Ids> {
    let value = value.trim_matches([' ', '\t']);
    let (known, appended) = value.split_at_checked(55)?;
    let mut fields = known.split('-');
    let (version, trace, parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let version = lower_hex::<1>(version)?;
    lower_hex::<1>(flags)?;
    let appended_fits = appended.is_empty() || (version != [0] && appended.starts_with('-'));
    if version == [0xff] || !appended_fits || fields.next().is_some() {
        return None;
    }
    ids(lower_hex(trace)?, lower_hex(parent)?)
}

/// The list, if it is valid.
fn tracestate(list: &str) -> &str {
    let members = || list.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty());
    let duplicate = |i, key| members().take(i).filter_map(member_key).any(|earlier| earlier == key);
    let valid = |(i, member)| member_key(member).is_some_and(|key| !duplicate(i, key));
    let fits = list.len() <= TRACESTATE_BYTES_MAX && members().count() <= TRACESTATE_MEMBERS_MAX;
    if fits && members().enumerate().all(valid) { list } else { "" }
}

/// Key of a valid `key "=" value`.
fn member_key(member: &str) -> Option<&str> {
    let (key, value) = member.split_once('=')?;
    let key_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/@".contains(&b);
    let key_fits = (1..=256).contains(&key.len())
        && key.as_bytes()[0].is_ascii_alphanumeric()
        && key.bytes().all(key_byte)
        && key.bytes().filter(|&b| b == b'@').count() <= 1;
    let value_byte = |b: u8| matches!(b, b' '..=b'~') && b != b'=';
    let value_fits = (1..=256).contains(&value.len()) && value.bytes().all(value_byte);
    (key_fits && value_fits).then_some(key)
}

/// `trace-id "-" span-id [ "-" sampling [ "-" parent-id ] ]`; a lone sampling state has no context.
fn b3_single(value: &str) -> Option<Ids> {
    let mut fields = value.trim().split('-');
    let (trace, span) = (fields.next()?, fields.next()?);
    let sampling_fits = fields.next().is_none_or(|state| matches!(state, "0" | "1" | "d"));
    let parent_fits = fields.next().is_none_or(|parent| hex::<8>(parent).is_some());
    (sampling_fits && parent_fits && fields.next().is_none()).then(|| b3_ids(trace, span))?
}

/// Trace ids of 64 bits are padded on the left, as every bridge to W3C does.
fn b3_ids(trace: &str, span: &str) -> Option<Ids> {
    let (trace, span) = (trace.trim(), span.trim());
    let trace_id = match trace.len() {
        16 => padded(hex(trace)?),
        _ => hex(trace)?,
    };
    ids(trace_id, hex(span)?)
}

/// `trace-id ":" span-id ":" parent-span-id ":" flags`, leading zeros left out, colons perhaps percent-encoded.
fn jaeger(value: &str) -> Option<Ids> {
    let mut fields = value.trim().split(':').flat_map(|field| field.split("%3A"));
    let (trace, span) = (fields.next()?, fields.next()?);
    let (_parent, flags) = (fields.next()?, fields.next()?);
    u8::from_str_radix(flags, 16).ok()?;
    ids(short_hex(trace, 32)?.to_be_bytes(), u64::try_from(short_hex(span, 16)?).ok()?.to_be_bytes())
}

fn short_hex(text: &str, digits_max: usize) -> Option<u128> {
    let fits = (1..=digits_max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then(|| u128::from_str_radix(text, 16).ok())?
}

fn padded(low: [u8; 8]) -> TraceId {
    u128::from(u64::from_be_bytes(low)).to_be_bytes()
}

/// Ids of all zeros are invalid.
fn ids(trace: TraceId, span: SpanId) -> Option<Ids> {
    (trace != [0; 16] && span != [0; 8]).then_some((trace, span))
}

fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) { None } else { hex(text) }
}

/// Exactly `2 * N` hex digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let mut out = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}
