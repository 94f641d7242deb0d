//! From exchanges to spans: the place in a trace, then the attributes.

use super::{Engine, Output, Timer};
use crate::causality::{Evidence, ExchangeId, RootReason};
use crate::counter::Counter;
use crate::event::Tls;
use crate::exchange::{Context, Exchange};
use crate::join::{Distance, Waiting};
use crate::limits::{EXIT_AWAITED_MAX, EXIT_AWAITED_NS, GUESS_AWAITED_NS, GUESSES_AWAITED_MAX, SETTLE_NS};
use crate::semconv;
use crate::span::{Attribute, Parent, Span, SpanKind};
use crate::trace_context::{TraceContext, extract};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use hashbrown::hash_map::Entry;

impl Engine {
    /// Every record that could change the exchange's parent has arrived: decide it, and what waits for it.
    pub(super) fn decide_context(&mut self, id: ExchangeId) {
        self.decide_all(vec![id]);
    }

    pub(super) fn decide_all(&mut self, mut ids: Vec<ExchangeId>) {
        while let Some(id) = ids.pop() {
            ids.append(&mut self.decide_one(id));
        }
    }

    /// Returns the exchanges that waited for this one.
    fn decide_one(&mut self, id: ExchangeId) -> Vec<ExchangeId> {
        self.becomes_due(id);
        let Some(exchange) = self.exchanges.get(id).filter(|exchange| exchange.context.is_none()) else {
            return Vec::new();
        };
        let since = exchange.origin.at;
        if let Some((other, at_most)) = self.awaits(exchange)
            && let Some(other) = self.exchanges.get_mut(other)
        {
            other.dependents.push(id);
            self.timers.extend(at_most.map(|ns| Reverse((since.saturating_add(ns), Timer::Decide(id)))));
            return Vec::new();
        }
        self.decide(id);
        self.exchanges.get_mut(id).map(|exchange| core::mem::take(&mut exchange.dependents)).unwrap_or_default()
    }

    /// All records about the start of the exchange have arrived: which client end a server's request came from can be told.
    fn becomes_due(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get_mut(id).filter(|exchange| !exchange.is_due) else { return };
        exchange.is_due = true;
        if exchange.kind == SpanKind::Client {
            return;
        }
        let client = self.client_end(id);
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.parent = client.map(|client| (client, Evidence::Join)).ok_or(RootReason::Entry);
        }
    }

    /// What has to be decided, or to end, before the exchange is, and for how many ns that is awaited at most.
    fn awaits(&self, exchange: &Exchange) -> Option<(ExchangeId, Option<u64>)> {
        if let Some(before) = self.undecided_before(exchange) {
            return Some((before, exchange.awaits_exit.then_some(EXIT_AWAITED_NS)));
        }
        let parent = self.guess_awaits(exchange)?;
        Some((parent.id, parent.end.is_none().then_some(GUESS_AWAITED_NS)))
    }

    /// The exchange that has to be decided, or to end, first.
    fn undecided_before(&self, exchange: &Exchange) -> Option<ExchangeId> {
        let before = exchange.parent.ok().and_then(|(parent, _)| self.exchanges.get(parent));
        let may_exit = exchange.awaits_exit && self.now < exchange.origin.at.saturating_add(EXIT_AWAITED_NS);
        before.filter(|before| before.context.is_none() || may_exit).map(|before| before.id)
    }

    /// The request whose end will show whether the call is its own.
    fn guess_awaits(&self, call: &Exchange) -> Option<&Exchange> {
        let parent = call.parent.ok().filter(|_| call.is_guess).and_then(|(parent, _)| self.exchanges.get(parent))?;
        if parent.dependents.len() >= GUESSES_AWAITED_MAX {
            return None;
        }
        let is_open = parent.end.is_none_or(|end| self.now < end.saturating_add(SETTLE_NS));
        (is_open && self.now < call.origin.at.saturating_add(GUESS_AWAITED_NS)).then_some(parent)
    }

    /// A request waits for what it asks a database. What it was answered without may be work that nobody waits for.
    fn guess_shows(&mut self, id: ExchangeId) {
        let Some(call) = self.exchanges.get(id).filter(|call| call.is_guess) else { return };
        let (tgid, parent, answer) = (call.origin.tgid, call.parent.ok(), call.first_byte);
        let Some(parent) = parent.and_then(|(parent, _)| self.exchanges.get_mut(parent)) else { return };
        parent.dependents.retain(|other| *other != id);
        let answered = parent.end.filter(|_| parent.first_byte.is_some());
        let is_detached = answered.is_some_and(|end| answer.is_none_or(|answer| answer > end));
        if !is_detached && !parent.is_exceeded {
            return;
        }
        self.exchanges.get_mut(id).into_iter().for_each(|call| call.parent = Err(RootReason::Ambiguous));
        if let Some(process) = self.processes.get_mut(&tgid).filter(|_| is_detached) {
            process.called_by_itself(self.now);
        }
    }

    fn decide(&mut self, id: ExchangeId) {
        self.await_exit_no_more(id);
        self.guess_shows(id);
        let Some(exchange) = self.exchanges.get(id) else { return };
        let context = match exchange.kind {
            SpanKind::Server => self.server_context(exchange),
            SpanKind::Client => self.client_context(exchange),
        };
        self.count(match context.evidence {
            Ok(Evidence::Thread) => Counter::ParentThread,
            Ok(Evidence::Task) => Counter::ParentTask,
            Ok(Evidence::Turn) => Counter::ParentTurn,
            Ok(Evidence::OnlyRequest) => Counter::ParentOnlyRequest,
            Ok(Evidence::Header) => Counter::ParentHeader,
            Ok(Evidence::Join) => Counter::ParentJoin,
            Err(RootReason::Entry) => Counter::RootEntry,
            Err(RootReason::NoRequest) => Counter::RootNoRequest,
            Err(RootReason::Ambiguous) => Counter::RootAmbiguous,
            Err(RootReason::Answered) => Counter::RootAnswered,
        });
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.context = Some(context);
        }
        self.emit_if_ready(id);
    }

    // === threads that are made for a request ===

    /// A thread that was made on behalf of a request may work for that one alone, or be one of a pool's from then on. If it ends
    /// while the request is known, it was the former.
    pub(super) fn await_exit(&mut self, call: &mut Exchange) {
        let by_carrier = matches!(call.parent, Ok((_, Evidence::Thread | Evidence::Task)));
        if !by_carrier || !call.origin.trail.is_spawned() {
            return;
        }
        let calls = self.spawned.entry(call.origin.tid).or_default();
        calls.push(call.id);
        call.awaits_exit = true;
        if calls.len() > EXIT_AWAITED_MAX {
            // So many calls: it is one of a pool's.
            call.is_not_proven();
            self.exit_shows(call.origin.tid, Exchange::is_not_proven);
        }
    }

    pub(super) fn thread_exited(&mut self, tid: u32) {
        self.exit_shows(tid, |call| call.awaits_exit = false);
    }

    fn exit_shows(&mut self, tid: u32, what: fn(&mut Exchange)) {
        for id in self.spawned.remove(&tid).unwrap_or_default() {
            let Some(call) = self.exchanges.get_mut(id) else { continue };
            what(call);
            if call.is_due {
                self.decide_context(id);
            }
        }
    }

    /// The thread did not end in time, or the call is dropped.
    pub(super) fn await_exit_no_more(&mut self, id: ExchangeId) {
        let Some(call) = self.exchanges.get_mut(id).filter(|call| call.awaits_exit) else { return };
        call.is_not_proven();
        if let Entry::Occupied(mut calls) = self.spawned.entry(call.origin.tid) {
            calls.get_mut().retain(|other| *other != id);
            if calls.get().is_empty() {
                calls.remove();
            }
        }
    }

    /// The client end on this host, unless a header says that the request belongs to another trace than that.
    fn server_context(&self, exchange: &Exchange) -> Context {
        let header = header(exchange);
        let client = exchange.parent.ok().and_then(|(id, _)| self.exchanges.get(id)).and_then(|c| c.context.as_ref());
        match (client, header) {
            (Some(client), header) if header.as_ref().is_none_or(|h| h.trace_id == client.trace_id) => {
                let state = header.map(|h| h.trace_state).unwrap_or_else(|| client.trace_state.clone());
                self.child(exchange, client, state, Evidence::Join)
            }
            (_, Some(header)) => self.continued(exchange, header),
            (_, None) => self.root(exchange, RootReason::Entry),
        }
    }

    /// The request that caused the call, unless the call carries a header of another trace: then the application
    /// propagates its own context and knows better.
    fn client_context(&self, exchange: &Exchange) -> Context {
        let parent = exchange.parent.and_then(|(id, evidence)| {
            let parent = self.exchanges.get(id).filter(|p| p.origin.at <= exchange.origin.at);
            parent.and_then(|p| p.context.as_ref()).map(|p| (p, evidence)).ok_or(RootReason::NoRequest)
        });
        match (parent, header(exchange)) {
            (Ok((parent, evidence)), header) if header.as_ref().is_none_or(|h| h.trace_id == parent.trace_id) => {
                self.child(exchange, parent, parent.trace_state.clone(), evidence)
            }
            (_, Some(header)) => self.continued(exchange, header),
            (Err(reason), None) => self.root(exchange, reason),
            (Ok(_), None) => self.root(exchange, RootReason::NoRequest),
        }
    }

    /// The exchange of the client end whose request this server's is.
    fn client_end(&mut self, server: ExchangeId) -> Option<ExchangeId> {
        let server = self.exchanges.get(server)?;
        let (key, at, position) = (server.join.as_ref()?, server.origin.at, server.origin.position);
        let sent = self.joins.last_sent(key, at).filter_map(|id| self.exchanges.get(id));
        let mut waiting = sent.filter(|client| client.end.is_none_or(|end| end >= at));
        let client = waiting.next()?;
        if key.is_exact() {
            return Some(client.id);
        }
        let (connection, seen) = (client.connection, [client.tls, server.tls].iter().all(is_seen_from_start));
        let waiting = [client].into_iter().chain(waiting).filter(|client| client.connection == connection);
        let mut waiting = waiting.map(|client| Waiting { id: client.id, position: client.origin.position });
        if seen {
            return waiting.find(|client| client.position == position).map(|client| client.id);
        }
        let link = self.links.get_mut(&server.connection)?;
        Distance::find(&mut link.distance, connection, waiting, position, !link.connection.is_pipeline())
    }

    fn child(&self, exchange: &Exchange, parent: &Context, trace_state: String, evidence: Evidence) -> Context {
        let parent_span = Parent { span_id: parent.span_id, remote: false };
        Context {
            trace_id: parent.trace_id,
            span_id: self.ids.span(exchange.connection, exchange.origin.position),
            parent: Some(parent_span),
            trace_state,
            evidence: Ok(evidence),
        }
    }

    fn continued(&self, exchange: &Exchange, header: TraceContext) -> Context {
        Context {
            trace_id: header.trace_id,
            span_id: self.ids.span(exchange.connection, exchange.origin.position),
            parent: Some(Parent { span_id: header.parent_span_id, remote: true }),
            trace_state: header.trace_state,
            evidence: Ok(Evidence::Header),
        }
    }

    fn root(&self, exchange: &Exchange, reason: RootReason) -> Context {
        let (connection, position) = (exchange.connection, exchange.origin.position);
        Context {
            trace_id: self.ids.trace(connection, position),
            span_id: self.ids.span(connection, position),
            parent: None,
            trace_state: String::new(),
            evidence: Err(reason),
        }
    }

    /// A span leaves when its exchange is over and its context decided, whichever comes later.
    pub(super) fn emit_if_ready(&mut self, id: ExchangeId) {
        let ready = self.exchanges.get_mut(id).filter(|e| e.end.is_some() && e.context.is_some());
        let Some(response) = ready.map(|e| e.response.take()) else { return };
        let Some(request) = self.exchanges.take_request(id) else { return };
        let Some(exchange) = self.exchanges.get(id) else { return };
        let (Some(end), Some(context)) = (exchange.end, exchange.context.clone()) else { return };
        let described = semconv::Exchange {
            kind: exchange.kind,
            request: *request,
            request_end: exchange.request_end,
            response: response.map(|head| (*head, exchange.response_end)),
            reset: exchange.reset,
            first_byte_ns: exchange.first_byte.map(|at| at.saturating_sub(exchange.origin.at)),
            duration_ns: end.saturating_sub(exchange.origin.at),
            tls: exchange.tls,
            ends: exchange.address.ends(),
        };
        let Some(semconv::Described { name, status, mut attributes }) = described.describe() else {
            return self.count(Counter::ExchangesUnreported);
        };
        attributes.push(match context.evidence {
            Ok(evidence) => Attribute::new("autospan.parent.evidence", evidence.name()),
            Err(reason) => Attribute::new("autospan.parent.reason", reason.name()),
        });
        let span = Span {
            trace_id: context.trace_id,
            span_id: context.span_id,
            parent: context.parent,
            trace_state: context.trace_state,
            name,
            kind: exchange.kind,
            start_unix_ns: self.epoch_unix_ns.saturating_add(exchange.origin.at),
            end_unix_ns: self.epoch_unix_ns.saturating_add(end),
            attributes,
            status,
            tgid: exchange.origin.tgid,
            tid: exchange.origin.tid,
        };
        self.outputs.push_back(Output::Span(Box::new(span)));
        self.count(Counter::Spans);
    }
}

/// The handshake was seen, and with it each byte of the plaintext.
fn is_seen_from_start(tls: &Option<Tls>) -> bool {
    tls.is_some_and(|tls| tls.version != 0)
}

/// The trace context that the request itself carries.
fn header(exchange: &Exchange) -> Option<TraceContext> {
    extract(&exchange.request.as_deref()?.http()?.trace)
}
