//! What became of each call: the service's own list beside the spans that the receiver received.

use super::mode::Mode;
use anyhow::{Context, Result};
use rig::{Kind, Span};
use std::collections::HashMap;
use std::path::Path;

/// Spans between a call and the request that it was made for, where a proxy's are between them.
const HOPS_MAX: usize = 4;

/// A call that was made, and the request that it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) code: String,
    pub(super) n: u64,
}

/// The list that the service kept: lines of a code and a request's number. A line that was cut is an error.
pub(super) fn truth(path: &Path) -> Result<Vec<Call>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.lines().map(|line| call(line).with_context(|| format!("{}: {line:?}", path.display()))).collect()
}

fn call(line: &str) -> Option<Call> {
    let (code, n) = line.split_once(' ')?;
    Some(Call { code: code.to_owned(), n: n.parse().ok()? })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right {
        evidence: String,
    },
    /// `got`: the request that it was given to.
    Wrong {
        evidence: String,
        got: String,
    },
    /// `reason`: the agent's.
    NoParent {
        reason: String,
    },
    /// A parent was named, and no such span came.
    ParentMissing {
        evidence: String,
    },
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

    fn judge_span(&self, span: &Span, n: u64) -> Verdict {
        if span.parent_span_id.is_empty() {
            return Verdict::NoParent { reason: span.text("autospan.parent.reason").to_owned() };
        }
        let evidence = span.text("autospan.parent.evidence").to_owned();
        match self.request(span) {
            None => Verdict::ParentMissing { evidence },
            Some(path) if number(path) == Some(n) => Verdict::Right { evidence },
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
