//! From exchanges to spans: the place in a trace, then the attributes.

use super::{Engine, Output};
use crate::causality::{Evidence, ExchangeId, RootReason};
use crate::counter::Counter;
use crate::exchange::{Context, Exchange};
use crate::protocol::{RequestHead, ResponseHead};
use crate::semconv::http;
use crate::span::{Attribute, Parent, Span, SpanKind};
use crate::trace_context::{TraceContext, extract};
use alloc::boxed::Box;
use alloc::string::String;

impl Engine {
    /// Every record that could change the exchange's parent has arrived: decide it.
    pub(super) fn decide_context(&mut self, id: ExchangeId) {
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

    /// The client end on this host, unless a header says that the request belongs to another trace than that.
    fn server_context(&self, exchange: &Exchange) -> Context {
        let header = header(exchange);
        let client = self.client_end(exchange).and_then(|c| c.context.as_ref());
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
    fn client_end(&self, server: &Exchange) -> Option<&Exchange> {
        let encloses = |id| {
            self.exchanges.get(id).is_some_and(|client| {
                client.origin.at <= server.origin.at && client.end.is_none_or(|end| end >= server.origin.at)
            })
        };
        self.joins.find(server.join.as_ref()?, encloses).and_then(|id| self.exchanges.get(id))
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
        let RequestHead::Http(request) = *request;
        let response = response.map(|head| match *head {
            ResponseHead::Http(response) => (response, exchange.response_end),
        });
        let name = http::name(&request);
        let request_end = exchange.request_end;
        let described = http::Exchange {
            kind: exchange.kind,
            request,
            request_end,
            response,
            tls: exchange.tls,
            ends: exchange.address.ends(),
        };
        let status = described.status();
        let mut attributes = described.attributes();
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

/// The trace context that the request itself carries.
fn header(exchange: &Exchange) -> Option<TraceContext> {
    match exchange.request.as_deref()? {
        RequestHead::Http(request) => extract(&request.trace),
    }
}
