//! What came out of a dialog, as text.

use crate::dialog::{Dialog, Turn};
use crate::driver::{Driver, Seen};
use autospan_core::protocol::{HttpRequest, RequestHead, ResponseHead, Side};
use std::fmt::Write;

/// Plays the turns on a fresh parser.
pub fn play(dialog: &Dialog, turns: &[Turn]) -> Driver {
    let mut driver = Driver::new(dialog.config.clone());
    for turn in turns {
        match turn {
            Turn::Bytes { side, bytes, call_end } => driver.bytes(*side, bytes, *call_end),
            Turn::Gap { side, len } => driver.gap(*side, *len),
            Turn::Close { side } => driver.close(*side),
            Turn::Assume => driver.assume_request(),
        }
    }
    driver
}

/// One line per message, end and loss, in the order in which they were known.
pub fn transcript(driver: &Driver) -> String {
    let mut out = String::new();
    for (side, seen) in &driver.seen {
        let mark = if *side == Side::Request { '>' } else { '<' };
        let _ = writeln!(out, "{mark} {}", line(seen));
    }
    if driver.awaits_request() {
        out.push_str("< awaits its request\n");
    }
    out
}

fn line(seen: &Seen) -> String {
    match seen {
        Seen::Request(head) => match &**head {
            RequestHead::Http(request) => request_line(request),
        },
        Seen::Response(head) => match &**head {
            ResponseHead::Http(response) => format!("{} HTTP/{}", response.status, response.version),
        },
        Seen::End(end) => format!(
            "end, body {}{}",
            end.body_bytes.unwrap_or_default(),
            if end.truncated { ", truncated" } else { "" }
        ),
        Seen::Desync => "desync".to_owned(),
        Seen::Upgraded => "upgraded".to_owned(),
    }
}

fn request_line(request: &HttpRequest) -> String {
    let mut line = format!("{} {} HTTP/{}", request.method, request.target, request.version);
    let trace = &request.trace;
    let mut field = |name: &str, value: &str| {
        let _ = write!(line, " {name}={value:?}");
    };
    let texts = [("host", &request.host), ("agent", &request.user_agent), ("tracestate", &trace.tracestate)];
    texts.into_iter().filter(|(_, text)| !text.is_empty()).for_each(|(name, text)| field(name, text));
    let optional = [
        ("traceparent", &trace.traceparent),
        ("b3", &trace.b3),
        ("b3-trace", &trace.b3_trace_id),
        ("b3-span", &trace.b3_span_id),
        ("jaeger", &trace.jaeger),
    ];
    optional.into_iter().for_each(|(name, text)| text.iter().for_each(|text| field(name, text)));
    for (name, values) in &request.captured {
        values.iter().for_each(|value| field(name, value));
    }
    line
}
