//! What databases have in common: text of statements, and rows or an error.

use super::Exchanges;
use super::golden::Golden;
use autospan_core::limits::ATTRIBUTE_BYTES_MAX;
use autospan_core::sql::{Dialect, Statement};

/// Rows are counted where there are any: how many are none, an expectation may not know.
const ROWS_UNKNOWN: &str = "rows unknown";

pub(super) fn ours(golden: &Golden) -> Exchanges {
    let mut seen = Exchanges { requests: golden.expected('>').filter_map(request).collect(), ..Exchanges::default() };
    for line in golden.expected('<') {
        let (is_outcome, line) = line.strip_prefix("outcome: ").map_or((false, line), |line| (true, line));
        if !["rows ", "error "].iter().any(|start| line.starts_with(start)) {
            continue;
        }
        if is_outcome {
            seen.responses.pop();
        }
        seen.responses.push(if line == ROWS_UNKNOWN { rows(0) } else { line.to_owned() });
    }
    seen
}

/// The text of a request; where it has none, what it does.
fn request(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(" \"")?;
    let summary = quoted(rest).filter(|summary| !summary.is_empty());
    let field = |name: &str| line.split_once(name).and_then(|(_, rest)| quoted(rest));
    let told = field(" text=\"").or(summary).or_else(|| field(" operation=\""));
    Some(told.unwrap_or_default().to_owned())
}

/// Up to the quotation mark that ends it, escaped as it is.
fn quoted(rest: &str) -> Option<&str> {
    let mut escaped = false;
    let end = rest.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.and_then(|end| rest.get(..end))
}

pub(super) fn rows(count: u64) -> String {
    format!("rows {count}")
}

pub(super) fn error(code: &str) -> String {
    format!("error {code}")
}

/// What must be told of a statement, by its first bytes. As Wireshark shows its text, control characters are escaped.
pub(super) fn statement(text: &str, dialect: Dialect, golden: &Golden) -> String {
    let text = text.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t");
    let start = text.as_bytes().get(..ATTRIBUTE_BYTES_MAX).unwrap_or(text.as_bytes());
    let statement = Statement::read(start, dialect, golden.dialog.config.query_text, start.len() < text.len());
    escaped(&statement.text.unwrap_or(statement.summary))
}

/// As in an expectation, without quotation marks.
pub(super) fn escaped(text: &str) -> String {
    let quoted = format!("{text:?}");
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}
