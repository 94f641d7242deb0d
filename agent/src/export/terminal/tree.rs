//! Spans of one trace in reading order: each under its parent, siblings by time.

use crate::export::ExportSpan;
use autospan_core::span::{Span, SpanId, SpanKind};
use std::collections::HashMap;

/// Deeper spans are shown at this depth: the branches must leave room for the text.
const DEPTH_MAX: usize = 12;

/// One line of the tree.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) span: &'a ExportSpan,
    /// The other end of the same call, where it is the only thing below: both are one line.
    pub(super) server: Option<&'a ExportSpan>,
    /// Box-drawing characters before the text.
    pub(super) branch: String,
}

struct Tree<'a> {
    spans: &'a [ExportSpan],
    /// Indices of the children, by time, for each span.
    children: Vec<Vec<usize>>,
    seen: Vec<bool>,
    nodes: Vec<Node<'a>>,
}

struct Visit {
    index: usize,
    depth: usize,
    /// Branches of the ancestors.
    indent: String,
    last: bool,
}

pub(super) fn nodes(spans: &[ExportSpan]) -> Vec<Node<'_>> {
    let parents = parents(spans);
    let mut tree = Tree::new(spans, &parents);
    let roots = by_start(spans, (0..spans.len()).filter(|&i| parents[i].is_none()));
    // Ids come from headers too, so parents may form a ring without a root: its members are shown all the same.
    for index in roots.into_iter().chain(0..spans.len()) {
        tree.descend(index);
    }
    tree.nodes
}

/// The index of each span's parent, where it is here.
fn parents(spans: &[ExportSpan]) -> Vec<Option<usize>> {
    let by_id: HashMap<SpanId, usize> = spans.iter().enumerate().map(|(i, span)| (span.span.span_id, i)).collect();
    let parent = |span: &ExportSpan| by_id.get(&span.span.parent?.span_id).copied();
    spans.iter().map(parent).collect()
}

fn by_start(spans: &[ExportSpan], indices: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut indices: Vec<usize> = indices.collect();
    indices.sort_by_key(|&i| (spans[i].span.start_unix_ns, spans[i].span.end_unix_ns));
    indices
}

// === impl Tree ===

impl<'a> Tree<'a> {
    fn new(spans: &'a [ExportSpan], parents: &[Option<usize>]) -> Self {
        let mut children = vec![Vec::new(); spans.len()];
        for index in by_start(spans, 0..spans.len()) {
            if let Some(parent) = parents[index] {
                children[parent].push(index);
            }
        }
        Self { spans, children, seen: vec![false; spans.len()], nodes: Vec::with_capacity(spans.len()) }
    }

    /// Depth first and without recursion: depth is up to the services.
    fn descend(&mut self, root: usize) {
        let mut stack = vec![Visit { index: root, depth: 0, indent: String::new(), last: true }];
        while let Some(visit) = stack.pop() {
            if std::mem::replace(&mut self.seen[visit.index], true) {
                continue;
            }
            let server = self.other_end(visit.index);
            let below = server.unwrap_or(visit.index);
            self.seen[below] = true;
            let branch = branch(&visit);
            let span = &self.spans[visit.index];
            self.nodes.push(Node { span, server: server.map(|index| &self.spans[index]), branch });
            self.push_children(below, &visit, &mut stack);
        }
    }

    fn push_children(&self, parent: usize, visit: &Visit, stack: &mut Vec<Visit>) {
        let (depth, indent) = inner(visit);
        let children = self.children[parent].iter().rev().enumerate();
        stack.extend(children.map(|(i, &index)| Visit { index, depth, indent: indent.clone(), last: i == 0 }));
    }

    /// The server span of the call that this client span made, if that is all there is below it.
    fn other_end(&self, index: usize) -> Option<usize> {
        let [child] = self.children[index][..] else { return None };
        let (client, server) = (&self.spans[index].span, &self.spans[child].span);
        let ends = client.kind == SpanKind::Client && server.kind == SpanKind::Server && !self.seen[child];
        (ends && same_outcome(client, server)).then_some(child)
    }
}

fn same_outcome(a: &Span, b: &Span) -> bool {
    ["http.request.method", "http.response.status_code", "db.response.status_code"]
        .into_iter()
        .all(|key| a.attribute(key) == b.attribute(key))
}

fn branch(visit: &Visit) -> String {
    match (visit.depth, visit.last) {
        (0, _) => String::new(),
        (_, true) => format!("{}└─ ", visit.indent),
        (_, false) => format!("{}├─ ", visit.indent),
    }
}

/// Depth and indent of the children.
fn inner(visit: &Visit) -> (usize, String) {
    match (visit.depth, visit.last) {
        (0, _) => (1, String::new()),
        (DEPTH_MAX.., _) => (DEPTH_MAX, visit.indent.clone()),
        (depth, true) => (depth + 1, format!("{}   ", visit.indent)),
        (depth, false) => (depth + 1, format!("{}│  ", visit.indent)),
    }
}
