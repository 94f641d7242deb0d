//! What came out of a dialog, as text.

use crate::dialog::{Dialog, Turn};
use crate::driver::{Driver, Seen};
use autospan_core::protocol::{
    DatabaseRequest, DatabaseResponse, Definition, HttpRequest, Reported, RequestHead, ResponseHead, Side,
};
use std::fmt::Write;

/// Plays the turns on a fresh parser.
pub fn play(protocol: &Definition, dialog: &Dialog, turns: &[Turn]) -> Driver {
    let mut driver = Driver::new(protocol, dialog.config.clone());
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
            RequestHead::Database(request) => database_line(request),
        },
        Seen::Response(head) => response_line(head),
        Seen::Outcome(head) => format!("outcome: {}", response_line(head)),
        Seen::End(end) => {
            let body = end.body_bytes.map_or_else(|| "end".to_owned(), |bytes| format!("end, body {bytes}"));
            format!("{body}{}", if end.truncated { ", truncated" } else { "" })
        }
        Seen::Desync => "desync".to_owned(),
        Seen::Upgraded => "upgraded".to_owned(),
    }
}

fn response_line(head: &ResponseHead) -> String {
    match head {
        ResponseHead::Http(response) => format!("{} HTTP/{}", response.status, response.version),
        ResponseHead::Database(DatabaseResponse { returned_rows, error }) => {
            let rows = returned_rows.map_or_else(|| "rows unknown".to_owned(), |rows| format!("rows {rows}"));
            error.as_ref().map_or(rows, |code| format!("error {code}"))
        }
    }
}

fn database_line(request: &DatabaseRequest) -> String {
    let DatabaseRequest { system, statement, namespace, batch_size, reported } = request;
    let mut line = format!("{} {:?}", system.name(), statement.summary);
    let mut field = |name: &str, value: Option<&str>| {
        let _ = value.map(|value| write!(line, " {name}={value:?}"));
    };
    field("operation", statement.operation.as_deref());
    field("collection", statement.collection.as_deref());
    field("procedure", statement.procedure.as_deref());
    field("namespace", namespace.as_deref());
    field("text", statement.text.as_deref());
    field("batch", batch_size.map(|n| n.to_string()).as_deref());
    if *reported == Reported::IfFailed {
        line.push_str(" (reported if it fails)");
    }
    line
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
