//! One line: time, trace, duration, then who did what with which result.

use super::text;
use super::tree::Node;
use autospan_core::span::{Span, SpanKind, Status, Value};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::borrow::Cow;

/// How lines look.
#[derive(Clone, Debug)]
pub(super) struct Style {
    pub(super) color: bool,
    /// Columns of the terminal; none where the output is not one, and lines are as long as they are.
    pub(super) columns: Option<usize>,
    pub(super) zone: TimeZone,
}

/// SGR parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Color {
    Plain,
    Dim,
    Green,
    Cyan,
    Yellow,
    Red,
    /// A service: bold, in a colour by its name.
    Service(u8),
}

/// A line under construction, with the columns it takes.
struct Line<'a> {
    text: &'a mut String,
    color: bool,
    columns: usize,
}

/// What a server is asked to do.
const METHOD_COLUMNS_MAX: usize = 16;
/// … and a database: the summary has what it is done to.
const SUMMARY_COLUMNS_MAX: usize = 64;
/// The request part must not shrink to nothing in a deep tree.
const TARGET_COLUMNS_MIN: usize = 12;

pub(super) fn header(text: &mut String, style: &Style) {
    let mut line = Line { text, color: style.color, columns: 0 };
    line.push(Color::Dim, "time          trace     duration  service and request");
    text.push('\n');
}

pub(super) fn write(text: &mut String, node: &Node<'_>, late: bool, style: &Style) {
    let span = &node.span.span;
    let mut line = Line { text, color: style.color, columns: 0 };
    line.push(Color::Dim, &format!("{}  {}", time(span.start_unix_ns, &style.zone), short_id(span)));
    line.push(Color::Plain, &format!("  {:>8}  ", text::duration(elapsed(span))));
    line.push(Color::Dim, &node.branch);
    line.parties(node);
    let after = result(node, late);
    let after_columns: usize = after.iter().map(|(_, text)| text::width(text)).sum();
    let left = style.columns.map(|columns| columns.saturating_sub(line.columns + after_columns));
    line.request(node.server.map_or(span, |server| &server.span), left);
    after.iter().for_each(|(color, text)| line.push(*color, text));
    text.push('\n');
}

// === impl Line ===

impl Line<'_> {
    fn push(&mut self, color: Color, text: &str) {
        self.columns += text::width(text);
        match (self.color, color) {
            (false, _) | (_, Color::Plain) => self.text.push_str(text),
            (true, color) => {
                let sgr = color.sgr();
                self.text.extend(["\x1b[", &sgr, "m", text, "\x1b[0m"]);
            }
        }
    }

    /// `shop ←`, `shop →`, `shop → postgresql`, or `shop → stock` where both ends of the call are known.
    fn parties(&mut self, node: &Node<'_>) {
        self.service(&node.span.resource.service_name);
        let arrow = match node.span.span.kind {
            SpanKind::Client => " → ",
            SpanKind::Server => " ← ",
        };
        self.push(Color::Dim, arrow);
        match (node.server, database(&node.span.span)) {
            (Some(server), _) => self.service(&server.resource.service_name),
            (None, Some(system)) => self.push(Color::Plain, system),
            (None, None) => return,
        }
        self.push(Color::Plain, " ");
    }

    fn service(&mut self, name: &str) {
        self.push(Color::of_service(name), &text::truncated(&text::escaped(name), 32));
    }

    /// Method and target, the target cut to what is left of the line.
    fn request(&mut self, span: &Span, left: Option<usize>) {
        let method = text::escaped(string(span, "http.request.method").unwrap_or(&span.name));
        let columns = if database(span).is_some() { SUMMARY_COLUMNS_MAX } else { METHOD_COLUMNS_MAX };
        let method = text::truncated(&method, columns);
        self.push(Color::Plain, &method);
        let Some(target) = target(span) else { return };
        let target = text::escaped(&target);
        let left = left.map(|left| left.saturating_sub(text::width(&method) + 1).max(TARGET_COLUMNS_MIN));
        self.push(Color::Plain, " ");
        self.push(Color::Plain, &left.map_or(Cow::Borrowed(&*target), |left| text::truncated(&target, left)));
    }
}

fn time(unix_ns: u64, zone: &TimeZone) -> String {
    let time = Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
    time.to_zoned(zone.clone()).strftime("%H:%M:%S%.3f").to_string()
}

fn elapsed(span: &Span) -> u64 {
    span.end_unix_ns.saturating_sub(span.start_unix_ns)
}

/// The first 8 digits: enough to tell traces apart on a screen, and to find the full id in the exported spans.
fn short_id(span: &Span) -> String {
    let [a, b, c, d, ..] = span.trace_id;
    format!("{a:02x}{b:02x}{c:02x}{d:02x}")
}

/// What follows the request: status, the time that the other end took, and whether this comes late.
fn result(node: &Node<'_>, late: bool) -> Vec<(Color, String)> {
    let mut parts = vec![outcome(&node.span.span)];
    if let Some(server) = node.server {
        parts.push((Color::Dim, format!("  ({})", text::duration(elapsed(&server.span)))));
    }
    if late {
        parts.push((Color::Dim, "  (late)".into()));
    }
    parts
}

fn outcome(span: &Span) -> (Color, String) {
    let status = match span.attribute("http.response.status_code") {
        Some(Value::Int(status)) => Some(*status),
        _ => None,
    };
    let error = string(span, "error.type").map(|kind| text::truncated(&text::escaped(kind), 40).into_owned());
    match (&span.status, status, error) {
        (Status::Error(_), Some(status), _) => (Color::Red, format!("  ✗ {status}")),
        (Status::Error(_), None, error) => (Color::Red, format!("  ✗ {}", error.as_deref().unwrap_or("error"))),
        (Status::Unset, Some(status), _) => (Color::of_status(status), format!("  {status}")),
        (Status::Unset, None, _) => (Color::Plain, String::new()),
    }
}

/// What kind of database is called, if it is one.
fn database(span: &Span) -> Option<&str> {
    string(span, "db.system.name")
}

/// Path for a server; URL for a client, without the scheme that goes without saying. What a command of Redis is applied to.
fn target(span: &Span) -> Option<Cow<'_, str>> {
    if database(span) == Some("redis") {
        let (_, arguments) = string(span, "db.query.text")?.split_once(' ')?;
        return Some(Cow::Borrowed(arguments));
    }
    let full = string(span, "url.full").map(|url| url.strip_prefix("http://").unwrap_or(url));
    let path = string(span, "url.path");
    match (span.kind, full, path) {
        (SpanKind::Client, Some(full), _) | (_, Some(full), None) => Some(Cow::Borrowed(full)),
        (_, _, path) => path.map(Cow::Borrowed),
    }
}

fn string<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    match span.attribute(key)? {
        Value::String(value) => Some(value),
        _ => None,
    }
}

// === impl Color ===

impl Color {
    fn of_service(name: &str) -> Self {
        // FNV-1a: the same colour in every run.
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        const COLORS: [u8; 6] = [32, 33, 34, 35, 36, 94];
        Self::Service(COLORS[hash as usize % COLORS.len()])
    }

    fn of_status(status: i64) -> Self {
        match status {
            200..300 => Self::Green,
            300..400 => Self::Cyan,
            400..500 => Self::Yellow,
            500.. => Self::Red,
            _ => Self::Plain,
        }
    }

    fn sgr(self) -> Cow<'static, str> {
        match self {
            Self::Plain => "0".into(),
            Self::Dim => "2".into(),
            Self::Green => "32".into(),
            Self::Cyan => "36".into(),
            Self::Yellow => "33".into(),
            Self::Red => "1;31".into(),
            Self::Service(color) => format!("1;{color}").into(),
        }
    }
}
