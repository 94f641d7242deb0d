//! What became of each call: the service's own list beside the spans that the receiver received.

use super::mode::Mode;
use anyhow::{Context, Result};
use rig::{Kind, Span};
use std::collections::HashMap;
use std::path::Path;

/// Spans between a call and the request that it was made for, where a proxy's are between them.
const HOPS_MAX: usize = 4;

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) code: String,
    /// The request that it was made for; `None` for a heartbeat.
    pub(super) n: Option<u64>,
}

/// The list that the service kept: lines of a code and a request's number, or `-` where there was none. A line that was cut is an error.
pub(super) fn truth(path: &Path) -> Result<Vec<Call>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.lines().map(|line| call(line).with_context(|| format!("{}: {line:?}", path.display()))).collect()
}

fn call(line: &str) -> Option<Call> {
    let (code, n) = line.split_once(' ')?;
    let n = if n == "-" { None } else { Some(n.parse().ok()?) };
    Some(Call { code: code.to_owned(), n })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// `evidence` is empty where it is right that there is no parent.
    Right { evidence: String },
    /// `got`: the request that it was given to.
    Wrong { evidence: String, got: String },
    /// `reason`: the agent's.
    NoParent { reason: String },
    /// A parent was named, and no such span came.
    ParentMissing { evidence: String },
    /// No span came.
    Missing,
}

/// A call, how it was made, and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) call: Call,
    pub(super) mode: Mode,
    pub(super) verdict: Verdict,
}

/// Spans by what identifies them.
#[derive(Debug)]
pub(super) struct Spans<'a> {
    calls: HashMap<&'a str, Vec<&'a Span>>,
    by_id: HashMap<(&'a str, &'a str), &'a Span>,
}

impl<'a> Spans<'a> {
    pub(super) fn new(spans: &'a [Span]) -> Self {
        let mut calls: HashMap<_, Vec<_>> = HashMap::new();
        for span in spans.iter().filter(|span| span.kind == Kind::Client) {
            if let Some(code) = code(span) {
                calls.entry(code).or_default().push(span);
            }
        }
        let by_id = spans.iter().map(|span| ((span.trace_id.as_str(), span.span_id.as_str()), span)).collect();
        Self { calls, by_id }
    }

    /// The worst of the spans of one call: a client may have tried twice.
    pub(super) fn judge(&self, call: &Call) -> Verdict {
        let spans = self.calls.get(call.code.as_str()).into_iter().flatten();
        spans.map(|span| self.judge_span(span, call.n)).max_by_key(badness).unwrap_or(Verdict::Missing)
    }

    fn judge_span(&self, span: &'a Span, n: Option<u64>) -> Verdict {
        if span.parent_span_id.is_empty() {
            if n.is_none() {
                return Verdict::Right { evidence: String::new() };
            }
            return Verdict::NoParent { reason: span.text("autospan.parent.reason").to_owned() };
        }
        let evidence = span.text("autospan.parent.evidence").to_owned();
        match self.request(span) {
            None => Verdict::ParentMissing { evidence },
            Some(path) if n.is_some() && number(path) == n => Verdict::Right { evidence },
            Some(path) => Verdict::Wrong { evidence, got: path.to_owned() },
        }
    }

    /// Path of the nearest server span above.
    fn request(&self, span: &'a Span) -> Option<&'a str> {
        let parent = |span: &&'a Span| self.by_id.get(&(span.trace_id.as_str(), span.parent_span_id.as_str())).copied();
        let ancestors = std::iter::successors(parent(&span), |span| parent(span)).take(HOPS_MAX);
        ancestors.into_iter().find(|span| span.kind == Kind::Server).map(|span| span.text("url.path"))
    }
}

fn badness(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Right { .. } => 0,
        Verdict::Missing => 1,
        Verdict::NoParent { .. } => 2,
        Verdict::ParentMissing { .. } => 3,
        Verdict::Wrong { .. } => 4,
    }
}

/// The code in `…/d/<code>`.
pub(super) fn code(span: &Span) -> Option<&str> {
    let (_, rest) = span.text("url.full").split_once("/d/")?;
    rest.split('?').next()
}

/// The number in `/r/<n>`.
pub(super) fn number(path: &str) -> Option<u64> {
    path.strip_prefix("/r/")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `parent`: empty for none. `what`: the path of a server span, the URL of a client span.
    fn span(id: &str, parent: &str, what: &str) -> Span {
        let (kind, key) = if what.starts_with('/') { ("server", "url.path") } else { ("client", "url.full") };
        let span = json!({
            "resource": {}, "trace_id": "t", "span_id": id, "parent_span_id": parent, "trace_state": "", "flags": 0,
            "name": "GET", "kind": kind, "start_unix_ns": 1, "end_unix_ns": 2, "status": {"code": 0, "message": ""},
            "attributes": {key: what, "autospan.parent.evidence": "thread", "autospan.parent.reason": "ambiguous"},
        });
        serde_json::from_value(span).expect("a span")
    }

    fn judge(n: Option<u64>, spans: &[Span]) -> Verdict {
        Spans::new(spans).judge(&Call { code: "c0de".to_owned(), n })
    }

    const CALL: &str = "http://localhost:1/d/c0de";

    fn right() -> Verdict {
        Verdict::Right { evidence: "thread".to_owned() }
    }

    #[test]
    fn the_parent_is_the_request_that_the_list_names() {
        let spans = [span("a", "", "/r/7"), span("b", "", "/r/8"), span("c", "a", CALL)];
        assert_eq!(judge(Some(7), &spans), right());
        let wrong = Verdict::Wrong { evidence: "thread".to_owned(), got: "/r/7".to_owned() };
        assert_eq!(judge(Some(8), &spans), wrong);
        assert_eq!(judge(None, &spans), wrong, "nobody asked for it");
    }

    #[test]
    fn no_parent_is_right_for_calls_that_nobody_asked_for() {
        let spans = [span("a", "", "/r/7"), span("c", "", CALL)];
        assert_eq!(judge(Some(7), &spans), Verdict::NoParent { reason: "ambiguous".to_owned() });
        assert_eq!(judge(None, &spans), Verdict::Right { evidence: String::new() });
    }

    #[test]
    fn spans_that_did_not_come() {
        assert_eq!(judge(Some(7), &[span("a", "", "/r/7")]), Verdict::Missing);
        let orphan = [span("c", "a", CALL)];
        assert_eq!(judge(Some(7), &orphan), Verdict::ParentMissing { evidence: "thread".to_owned() });
    }

    #[test]
    fn proxies_may_stand_between() {
        let proxy = span("b", "a", "http://localhost:2/r/7");
        assert_eq!(judge(Some(7), &[span("a", "", "/r/7"), proxy.clone(), span("c", "b", CALL)]), right());
        let circle = [span("a", "c", "http://localhost:2/"), span("c", "a", CALL)];
        assert!(matches!(judge(Some(7), &circle), Verdict::ParentMissing { .. }));
    }

    #[test]
    fn of_two_spans_of_a_call_the_worse_one_counts() {
        let spans = [span("a", "", "/r/7"), span("b", "", "/r/8"), span("c", "a", CALL), span("d", "b", CALL)];
        assert!(matches!(judge(Some(7), &spans), Verdict::Wrong { .. }));
    }

    #[test]
    fn lists() {
        let made = |code: &str, n| Some(Call { code: code.to_owned(), n });
        assert_eq!(call("ab12 7"), made("ab12", Some(7)));
        assert_eq!(call("ab12 -"), made("ab12", None));
        assert_eq!(call("ab12"), None);
        assert_eq!(call("ab12 7x"), None);
    }
}
