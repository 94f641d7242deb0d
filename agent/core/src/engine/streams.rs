//! Connections with many exchanges at once: from signals to exchanges, by stream.

use super::{Engine, Link, Output, Resumes};
use crate::causality::{Carried, Evidence, ExchangeId};
use crate::connection::Origin;
use crate::counter::Counter;
use crate::exchange::Exchange;
use crate::limits::{SETTLE_NS, STREAMS_MAX};
use crate::protocol::{HttpResponse, RequestHead, ResponseHead, Side, StreamStep};
use crate::span::SpanKind;
use crate::unsent::Head;
use alloc::boxed::Box;
use autospan_abi::{Policy, Role, Trail, token};

/// The stream of a request that was made before the connection had any.
const FIRST_STREAM: u32 = 1;

impl Engine {
    /// Every frame's header must be seen, wherever it is in a call.
    pub(super) fn multiplexed(&mut self, connection: u64, joined: bool) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        let (role, tgid) = (link.connection.role, link.connection.tgid);
        let calls_known = self.processes.get(&tgid).is_some_and(|process| process.unsent.is_known());
        link.queue.is_known = calls_known && !joined;
        self.outputs.push_back(Output::Policy { connection, policy: Policy::streams(role) });
        if role == Role::Client {
            self.resumes_strangers(connection);
        }
        if joined {
            self.count(Counter::Http2Joined);
            // What is in flight was not seen.
            self.uncertain(connection, self.now);
        }
    }

    /// Many wait for answers on it, which the kernel side does not know yet.
    pub(super) fn resumes_strangers(&mut self, connection: u64) {
        let link = self.links.get_mut(&connection).filter(|link| link.resumes == Resumes::One);
        let Some(link) = link else { return };
        link.resumes = Resumes::Strangers;
        let tgid = link.connection.tgid;
        self.process(tgid).into_iter().for_each(|process| process.resumes_strangers.begin());
    }

    /// The kernel side knows it as well.
    pub(super) fn known_to_multiplex(&mut self, connection: u64, at: u64) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        let before = core::mem::replace(&mut link.resumes, Resumes::Nobody);
        let tgid = link.connection.tgid;
        self.strangers_end(before, tgid, at);
    }

    /// The connection is gone.
    pub(super) fn resumes_no_strangers(&mut self, link: &Link, at: u64) {
        self.strangers_end(link.resumes, link.connection.tgid, at);
    }

    fn strangers_end(&mut self, resumes: Resumes, tgid: u32, at: u64) {
        if resumes == Resumes::Strangers
            && let Some(process) = self.processes.get_mut(&tgid)
        {
            process.resumes_strangers.end(at);
        }
    }

    /// Stream `stream` will be a request with this cause, or is one already: who asks need not be who writes.
    pub(super) fn stream_asked(&mut self, connection: u64, stream: u32, cause: u64, trail: Trail) {
        if let Some(id) = self.stream(connection, stream) {
            return self.asked_before(id, cause, trail);
        }
        let Some(link) = self.links.get_mut(&connection) else { return };
        if link.asked.len() < STREAMS_MAX {
            link.asked.insert(stream, (cause, trail));
        }
    }

    /// The call was written by the time that this is told. What a task carries is exact, whatever else was in flight.
    fn asked_before(&mut self, call: ExchangeId, cause: u64, trail: Trail) {
        let is_open = |exchange: &&Exchange| exchange.kind == SpanKind::Client && exchange.context.is_none();
        let Some(exchange) = self.exchanges.get(call).filter(is_open).filter(|_| trail == Trail::Task) else { return };
        let (origin, before) = (Origin { cause, trail, ..exchange.origin }, exchange.waiting);
        let Carried::Open { id, .. } = self.carried(&origin) else { return };
        self.calls_change(before, origin.tgid, |calls| calls.saturating_sub(1));
        self.calls_change(Some(id), origin.tgid, |calls| calls.saturating_add(1));
        if let Some(exchange) = self.exchanges.get_mut(call) {
            (exchange.origin, exchange.parent, exchange.waiting) = (origin, Ok((id, Evidence::Task)), Some(id));
        }
    }

    pub(super) fn upgraded(&mut self, connection: u64) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        if let Some(id) = link.pairing.unanswered.pop_front().flatten() {
            link.streams.insert(FIRST_STREAM, id);
            if link.connection.role == Role::Server {
                self.exchanges.bind_body(token::of_stream(connection, FIRST_STREAM), id);
            }
        }
    }

    pub(super) fn stream_request(
        &mut self,
        connection: u64,
        stream: u32,
        head: Box<RequestHead>,
        origin: Origin,
        token: u64,
    ) {
        let is_known = head.routine().is_some();
        self.add(Counter::UnknownNames, u64::from(!is_known));
        let id = self.exchanges.next_id();
        let may_be_grpc = head.http().is_some_and(|request| request.grpc) || !is_known;
        let is_writers = self.attribute_head(connection, id, may_be_grpc, &origin);
        // Whoever else wrote it may have written it for another.
        let origin = if is_writers { origin } else { Origin { cause: 0, trail: Trail::Thread, ..origin } };
        let Some(link) = self.links.get_mut(&connection) else { return };
        link.queue.most = link.queue.most.max(link.streams.len() + 1);
        if self.exchanges.is_full(&head) {
            return self.count(Counter::DroppedTableFull);
        }
        let replaced = link.streams.insert(stream, id);
        let asked = link.asked.remove(&stream);
        // Streams begin in the order of their numbers: what was asked for before and is not sent will not be.
        link.asked = link.asked.split_off(&stream);
        let origin = asked.map_or(origin, |(cause, trail)| Origin { cause, trail, ..origin });
        let mut exchange = Exchange::new(id, &link.connection, head, origin);
        exchange.join = exchange.join.map(|key| key.of_stream(stream));
        let is_server = exchange.kind == SpanKind::Server;
        self.begin(exchange, token::of_stream(connection, stream));
        if is_server {
            self.doubt_read(token, id);
        }
        replaced.into_iter().for_each(|id| self.drop_exchange(id));
    }

    /// A head was written: whether it is the writer's own. Counts as sent what was asked for, and takes back what was wrongly told
    /// of others. `may_be_grpc`: the library that calls are asked of may have sent it.
    fn attribute_head(&mut self, connection: u64, id: ExchangeId, may_be_grpc: bool, origin: &Origin) -> bool {
        if origin.trail == Trail::Stream {
            return true;
        }
        let (Some(link), Some(process)) = (self.links.get_mut(&connection), self.processes.get_mut(&origin.tgid))
        else {
            return false;
        };
        if link.connection.role != Role::Client || !may_be_grpc {
            return false;
        }
        let is_idle = link.streams.is_empty();
        let is_settled = link.queue.ended.is_some_and(|ended| is_idle && ended.saturating_add(SETTLE_NS) <= origin.at);
        // One that waits would have been sent.
        link.queue.is_known |= is_settled && process.unsent.is_known();
        // Of a peer whose settings were not seen, what it allowed before is known.
        let allowed = link.connection.streams_max().map_or(link.queue.most, |max| max as usize);
        let may_wait = !link.queue.is_known || link.streams.len() >= allowed.div_ceil(2);
        let is_sure = process.is_seen(origin.at) && !may_wait;
        match process.unsent.sent(id, origin.tid, origin.at) {
            Head::Own => is_sure,
            Head::Any => false,
            Head::Unasked(told) => {
                for id in told {
                    if let Some(exchange) = self.exchanges.get_mut(id) {
                        exchange.is_not_proven();
                    }
                }
                false
            }
        }
    }

    pub(super) fn stream_step(&mut self, connection: u64, stream: u32, step: StreamStep, at: u64, token: u64) {
        match step {
            StreamStep::Orphan => return self.orphan(connection, at),
            StreamStep::RequestsLost(n) => {
                self.add(Counter::DroppedRequestLost, n as u64);
                return self.uncertain(connection, self.now);
            }
            StreamStep::ResponseLost => return self.stream_lost(connection, stream),
            _ => {}
        }
        let Some(id) = self.stream(connection, stream) else {
            return self.add(Counter::DroppedMalformed, u64::from(step == StreamStep::Malformed));
        };
        let exchange = self.exchanges.get_mut(id);
        match step {
            StreamStep::Data => self.stream_data(id, token),
            StreamStep::Response(head) => self.stream_response(id, head),
            StreamStep::Trailers { grpc_status } => self.stream_trailers(id, grpc_status),
            StreamStep::End(Side::Request, end) => {
                exchange.into_iter().for_each(|exchange| exchange.request_end = end);
            }
            StreamStep::End(Side::Response, end) => {
                if let Some(exchange) = exchange {
                    exchange.response_end = end;
                    // Its head was lost.
                    let unknown = || HttpResponse { version: "2", ..HttpResponse::default() };
                    exchange.response.get_or_insert_with(|| Box::new(ResponseHead::Http(unknown())));
                }
                self.end_stream(connection, stream, at);
            }
            StreamStep::Reset { code } => {
                exchange.into_iter().for_each(|exchange| exchange.reset = Some(code));
                self.end_stream(connection, stream, at);
            }
            StreamStep::Malformed => {
                self.count(Counter::DroppedMalformed);
                self.drop_stream(connection, stream);
            }
            StreamStep::Request(_) | StreamStep::Orphan | StreamStep::RequestsLost(_) | StreamStep::ResponseLost => {}
        }
    }

    /// Nothing was heard of it since a loss.
    pub(super) fn stream_lost(&mut self, connection: u64, stream: u32) {
        if self.stream(connection, stream).is_some() {
            self.count(Counter::DroppedResponseLost);
            self.drop_stream(connection, stream);
        }
    }

    fn stream(&self, connection: u64, stream: u32) -> Option<ExchangeId> {
        self.links.get(&connection)?.streams.get(&stream).copied()
    }

    fn stream_data(&mut self, id: ExchangeId, token: u64) {
        if self.exchanges.get(id).is_some_and(|exchange| exchange.kind == SpanKind::Server) {
            self.doubt_read(token, id);
        }
    }

    /// Whoever read parts of the request need not work on it, nor on it alone.
    fn doubt_read(&mut self, token: u64, id: ExchangeId) {
        if token != 0 {
            self.exchanges.bind_body(token, id);
            self.exchanges.doubt(token);
        }
    }

    fn stream_response(&mut self, id: ExchangeId, head: Box<ResponseHead>) {
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.response = Some(head);
        }
    }

    fn stream_trailers(&mut self, id: ExchangeId, status: Option<u8>) {
        let response = self.exchanges.get_mut(id).and_then(|exchange| exchange.response.as_deref_mut());
        if let Some(ResponseHead::Http(response)) = response {
            response.grpc_status = status;
            response.grpc |= status.is_some();
        }
    }

    fn end_stream(&mut self, connection: u64, stream: u32, at: u64) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        let id = link.streams.remove(&stream);
        link.queue.ended = Some(at);
        id.into_iter().for_each(|id| self.close(id, at));
    }

    fn drop_stream(&mut self, connection: u64, stream: u32) {
        let id = self.links.get_mut(&connection).and_then(|link| link.streams.remove(&stream));
        id.into_iter().for_each(|id| self.drop_exchange(id));
    }
}
