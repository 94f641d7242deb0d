//! Trace context headers, valid and not. Most cases are those of the W3C's and B3's own documents.

use autospan_core::protocol::TraceHeaders;
use autospan_core::trace_context::extract;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `trace-span` of the context, or nothing.
fn ids(headers: &TraceHeaders) -> Option<String> {
    extract(headers).map(|context| format!("{}-{}", hex(&context.trace_id), hex(&context.parent_span_id)))
}

fn traceparent(value: &str) -> Option<String> {
    ids(&TraceHeaders { traceparent: Some(value.to_owned()), ..TraceHeaders::default() })
}

fn b3(value: &str) -> Option<String> {
    ids(&TraceHeaders { b3: Some(value.to_owned()), ..TraceHeaders::default() })
}

fn b3_multi(trace: &str, span: &str) -> Option<String> {
    let (b3_trace_id, b3_span_id) = (Some(trace.to_owned()), Some(span.to_owned()));
    ids(&TraceHeaders { b3_trace_id, b3_span_id, ..TraceHeaders::default() })
}

fn jaeger(value: &str) -> Option<String> {
    ids(&TraceHeaders { jaeger: Some(value.to_owned()), ..TraceHeaders::default() })
}

/// The `tracestate` that is passed on.
fn tracestate(value: &str) -> String {
    let traceparent = Some(format!("00-{TRACE}-{SPAN}-01"));
    let headers = TraceHeaders { traceparent, tracestate: value.to_owned(), ..TraceHeaders::default() };
    extract(&headers).expect("a valid traceparent").trace_state
}

#[test]
fn valid_traceparents() {
    let expected = Some(format!("{TRACE}-{SPAN}"));
    for valid in [
        format!("00-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-00"),
        format!("00-{TRACE}-{SPAN}-ff"),
        format!(" 00-{TRACE}-{SPAN}-01\t"),
        format!("01-{TRACE}-{SPAN}-01"),
        format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"),
        format!("fe-{TRACE}-{SPAN}-01-"),
    ] {
        assert_eq!(traceparent(&valid), expected, "{valid}");
    }
}

#[test]
fn invalid_traceparents() {
    let zeros = "0".repeat(32);
    for invalid in [
        String::new(),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("cc-{TRACE}-{SPAN}-01.more"),
        format!("00-{TRACE}-{SPAN}-0"),
        format!("00-{TRACE}-{SPAN}-0g"),
        format!("0-{TRACE}-{SPAN}-01"),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{zeros}-{SPAN}-01"),
        format!("00-{TRACE}-{}-01", &zeros[..16]),
        format!("00-{}-{SPAN}-01", &TRACE[1..]),
        format!("00_{TRACE}_{SPAN}_01"),
        format!("00-{TRACE}-{SPAN}é01"),
        format!("00-{TRACE}{SPAN}--01"),
    ] {
        assert_eq!(traceparent(&invalid), None, "{invalid}");
    }
}

#[test]
fn tracestates() {
    for valid in
        ["congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", "a=1 , b=2", "1a-2f@foo=bar", "a=1,,b=2", "a/b*c_d-e=!x y~"]
    {
        assert_eq!(tracestate(valid), valid);
    }
    let member = |i: usize| format!("k{i}=v");
    let list = |n| (0..n).map(member).collect::<Vec<_>>().join(",");
    assert_eq!(tracestate(&list(32)), list(32));
    let too_long = format!("a={}", "x".repeat(511));
    for invalid in ["a", "A=1", "=1", "a=", "a=1,a=2", "a=b=c", "a@b@c=1", "a=é", &list(33), &too_long] {
        assert_eq!(tracestate(invalid), "", "{invalid}");
    }
}

#[test]
fn b3_in_one_header() {
    let trace = "80f198ee56343ba864fe8b2a57d3eff7";
    let expected = Some(format!("{trace}-e457b5a2e4d86bd1"));
    for rest in ["", "-1", "-0", "-d", "-1-05e3ac9a4f6e3b90"] {
        assert_eq!(b3(&format!("{trace}-e457b5a2e4d86bd1{rest}")), expected, "{rest}");
    }
    assert_eq!(
        b3("64fe8b2a57d3eff7-e457b5a2e4d86bd1-1"),
        Some("000000000000000064fe8b2a57d3eff7-e457b5a2e4d86bd1".into())
    );
    for invalid in
        ["0", "1", "", "x-y-1", "64fe8b2a57d3eff7-e457b5a2e4d86bd1-2", "64fe8b2a57d3eff7-e457b5a2e4d86bd1-1-2"]
    {
        assert_eq!(b3(invalid), None, "{invalid}");
    }
}

#[test]
fn b3_in_several_headers() {
    let padded = Some("0000000000000000463ac35c9f6413ad-a2fb4a1d1a96d312".to_owned());
    assert_eq!(b3_multi("463ac35c9f6413ad", "a2fb4a1d1a96d312"), padded);
    assert_eq!(b3_multi("463AC35C9F6413AD", "A2FB4A1D1A96D312"), padded);
    assert_eq!(b3_multi(TRACE, SPAN), Some(format!("{TRACE}-{SPAN}")));
    assert_eq!(b3_multi("463ac35c9f6413a", SPAN), None);
    assert_eq!(b3_multi(TRACE, "0000000000000000"), None);
    assert_eq!(b3_multi(TRACE, ""), None);
}

#[test]
fn jaegers_own() {
    let expected = Some("00000000000000000000000000003f5a-000000000000001b".to_owned());
    assert_eq!(jaeger("3f5a:1b:0:1"), expected);
    assert_eq!(jaeger("3f5a%3A1b%3A0%3A1"), expected);
    for invalid in ["3f5a:1b:0", "0:1b:0:1", "+1:1b:0:1", "x:1b:0:1", "3f5a:11111111111111111:0:1", ""] {
        assert_eq!(jaeger(invalid), None, "{invalid}");
    }
}

#[test]
fn w3c_wins_and_an_invalid_header_does_not_hide_a_valid_one() {
    let mut headers = TraceHeaders {
        traceparent: Some(format!("00-{TRACE}-{SPAN}-01")),
        tracestate: "a=1".to_owned(),
        b3: Some("64fe8b2a57d3eff7-e457b5a2e4d86bd1-1".to_owned()),
        ..TraceHeaders::default()
    };
    assert_eq!(ids(&headers), Some(format!("{TRACE}-{SPAN}")));
    headers.traceparent = Some(String::new());
    assert_eq!(ids(&headers), b3("64fe8b2a57d3eff7-e457b5a2e4d86bd1-1"));
    // A tracestate belongs to its traceparent.
    assert_eq!(extract(&headers).expect("valid").trace_state, "");
}
