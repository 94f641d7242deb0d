//! Trace context headers, separated by NUL.
#![no_main]

use autospan_core::limits::{TRACESTATE_BYTES_MAX, TRACESTATE_MEMBERS_MAX};
use autospan_core::protocol::TraceHeaders;
use autospan_core::trace_context::extract;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let mut fields = input.split('\0').map(|field| Some(field).filter(|field| !field.is_empty()).map(str::to_owned));
    let mut next = || fields.next().flatten();
    let headers = TraceHeaders {
        traceparent: next(),
        tracestate: next().unwrap_or_default(),
        b3: next(),
        b3_trace_id: next(),
        b3_span_id: next(),
        jaeger: next(),
    };
    if let Some(context) = extract(&headers) {
        assert_ne!(context.trace_id, [0; 16]);
        assert_ne!(context.parent_span_id, [0; 8]);
        assert!(context.trace_state.len() <= TRACESTATE_BYTES_MAX);
        let members = context.trace_state.split(',').filter(|member| !member.trim().is_empty());
        assert!(members.count() <= TRACESTATE_MEMBERS_MAX);
    }
});
