//! From signals to exchanges: requests open them, responses close them, tokens lead to them.

use super::call::Behind;
use super::{Engine, Output, Resumes, Timer};
use crate::causality::{ExchangeId, TokenOwner};
use crate::connection::{Opaque, Origin, Signal};
use crate::counter::Counter;
use crate::exchange::Exchange;
use crate::protocol::{MessageEnd, RequestHead, ResponseHead, Side};
use crate::span::SpanKind;
use alloc::boxed::Box;
use autospan_abi::limits::{HEAD_DEFAULT_BYTES, HEAD_PIPELINE_BYTES};
use autospan_abi::{Policy, Role};

/// How long a connection must have had no request in flight before nothing of what was sent earlier is still to come.
const REST_NS: u64 = 1_000_000_000;

impl Engine {
    pub(super) fn signal(&mut self, connection: u64, at: u64, signal: Signal) {
        match signal {
            Signal::Request { head, origin, token } => self.request(connection, head, origin, token),
            Signal::RequestBytes { token } => self.request_bytes(connection, token),
            Signal::Doubtful { token } => self.exchanges.doubt(token),
            Signal::RequestEnd(end) => self.request_end(connection, end),
            Signal::Response { head, at } => self.response(connection, head, at),
            Signal::Outcome(head) => self.outcome(connection, head),
            Signal::ResponseEnd { end, at, tid, token } => self.response_end(connection, end, at, tid, token),
            Signal::StreamRequest { stream, head, origin, token } => {
                self.stream_request(connection, stream, head, origin, token)
            }
            Signal::Stream { stream, step, at, token } => self.stream_step(connection, stream, step, at, token),
            Signal::StreamLost { stream } => self.stream_lost(connection, stream),
            Signal::Multiplexed { joined } => self.multiplexed(connection, joined),
            Signal::Upgraded => self.upgraded(connection),
            Signal::EndIsOpen => self.end_is_open(connection, at),
            Signal::Orphan => self.orphan(connection, at),
            Signal::ResponsesLost { n } => self.responses_lost(connection, n),
            Signal::ExchangesLost { n } => self.exchanges_lost(connection, n),
            Signal::Void(Side::Request) => self.pairing(connection, |p| p.request = None),
            Signal::Void(Side::Response) => self.response_void(connection, at),
            Signal::LostBytes(n) => self.lost_bytes(connection, n),
            Signal::Desynced => {
                self.doubt_answers(connection, at);
                self.count(Counter::StreamDesyncs);
            }
            Signal::Recognised { role_corrected } => self.recognised(connection, role_corrected),
            Signal::Late => self.doubt_answers(connection, at),
            Signal::GaveUp(why) => self.gave_up(connection, at, why),
        }
    }

    fn pairing(&mut self, connection: u64, change: impl FnOnce(&mut crate::exchange::Pairing)) {
        if let Some(link) = self.links.get_mut(&connection) {
            change(&mut link.pairing);
        }
    }

    // === requests ===

    fn request(&mut self, connection: u64, head: Box<RequestHead>, origin: Origin, token: u64) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        if self.exchanges.is_full(&head) {
            link.pairing.unanswered.push_back(None);
            return self.count(Counter::DroppedTableFull);
        }
        let id = self.exchanges.next_id();
        link.pairing.unanswered.push_back(Some(id));
        link.pairing.request = Some(id);
        let exchange = Exchange::new(id, &link.connection, head, origin);
        self.overtakes(connection, &origin);
        self.begin(exchange, token);
    }

    /// A request is written on a connection that others wait on. Until the kernel side knows that it is shared, a thread that reads
    /// there is taken to go on with whoever wrote last.
    fn overtakes(&mut self, connection: u64, origin: &Origin) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        let has_rested = |used: &u64| used.saturating_add(REST_NS) < origin.at && link.pairing.unanswered.len() == 1;
        link.doubted = link.doubted.filter(|used| !has_rested(used)).map(|used| used.max(origin.at));
        let is_shared = link.connection.is_pipeline() && link.connection.role == Role::Client;
        if !is_shared || link.resumes != Resumes::One {
            return;
        }
        let waiting = link.pairing.unanswered.iter().rev().skip(1).flatten().next();
        let waiting = waiting.and_then(|id| self.exchanges.get(*id));
        if waiting.is_some_and(|before| before.origin.cause != origin.cause) {
            self.resumes_strangers(connection);
        }
    }

    /// `token`: of the call that completed the request's head.
    pub(super) fn begin(&mut self, exchange: Exchange, token: u64) {
        let (id, origin) = (exchange.id, exchange.origin);
        match exchange.kind {
            SpanKind::Client => self.client_request(exchange),
            SpanKind::Server => {
                self.exchanges.insert(exchange);
                self.exchanges.bind_head(token, id);
                self.in_flight(origin, id);
            }
        }
        self.start_timer(origin.at, Timer::Decide(id));
    }

    fn in_flight(&mut self, origin: Origin, id: ExchangeId) {
        let thread = self.threads.entry(origin.tid).or_default();
        let is_shared = !thread.is_empty();
        thread.insert(id);
        if let Some(process) = self.process(origin.tgid) {
            process.begin(id, origin.at);
            if is_shared {
                process.shares_threads();
            }
        }
    }

    /// The number of calls that a request waits for, and with it those of its process, changes.
    pub(super) fn calls_change(&mut self, waiting: Option<ExchangeId>, tgid: u32, change: fn(u32) -> u32) {
        if let Some(process) = self.processes.get_mut(&tgid) {
            process.open_calls = change(process.open_calls);
        }
        let Some(exchange) = waiting.and_then(|id| self.exchanges.get_mut(id)) else { return };
        let waited = exchange.open_calls != 0;
        exchange.open_calls = change(exchange.open_calls);
        let waits = exchange.open_calls != 0;
        if waits != waited
            && exchange.over().is_none()
            && let Some(process) = self.processes.get_mut(&exchange.origin.tgid)
        {
            process.waits_for_calls(waits);
        }
    }

    fn request_bytes(&mut self, connection: u64, token: u64) {
        if let Some(id) = self.links.get(&connection).and_then(|l| l.pairing.request) {
            self.exchanges.bind_body(token, id);
        }
    }

    fn request_end(&mut self, connection: u64, end: MessageEnd) {
        let Some(id) = self.links.get_mut(&connection).and_then(|l| l.pairing.request.take()) else { return };
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.request_end = end;
        }
    }

    // === responses ===

    fn response(&mut self, connection: u64, head: Box<ResponseHead>, at: u64) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        let id = link.pairing.unanswered.pop_front().flatten();
        link.pairing.response = id;
        if let Some(exchange) = id.and_then(|id| self.exchanges.get_mut(id)) {
            exchange.response = Some(head);
            exchange.first_byte = Some(at);
        }
    }

    fn outcome(&mut self, connection: u64, head: Box<ResponseHead>) {
        let Some(id) = self.links.get(&connection).and_then(|link| link.pairing.response) else { return };
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.response = Some(head);
        }
    }

    fn end_is_open(&mut self, connection: u64, at: u64) {
        let Some(id) = self.links.get(&connection).and_then(|link| link.pairing.response) else { return };
        if let Some(exchange) = self.exchanges.get_mut(id).filter(|exchange| exchange.over().is_none()) {
            exchange.end_is_open = Some(at);
            self.no_more_in_flight(id);
        }
    }

    fn response_end(&mut self, connection: u64, end: MessageEnd, at: u64, tid: u32, token: u64) {
        let id = self.links.get_mut(&connection).and_then(|link| link.pairing.response.take());
        self.answer_read(connection, id, token);
        let behind = id.map_or(Behind::Nobody, |id| self.behind(id));
        self.links.get_mut(&connection).into_iter().for_each(|link| link.behind = behind);
        let Some(id) = id else { return };
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.response_end = end;
        match exchange.kind {
            SpanKind::Server if tid != 0 => self.answered_by(id, tid),
            SpanKind::Client => self.call_answered_to(id, tid),
            SpanKind::Server => {}
        }
        self.close(id, at);
    }

    /// Who may go on with the end of the answer to the call.
    fn behind(&self, call: ExchangeId) -> Behind {
        let call = self.exchanges.get(call);
        let request = call.and_then(|call| call.waiting).and_then(|id| self.exchanges.get(id));
        match (call.and_then(|call| call.first_byte), request.map(|request| (request.id, request.end))) {
            (_, Some((id, None))) => Behind::One(id),
            (Some(began), Some((_, Some(answered)))) if began <= answered => Behind::Anybody,
            _ => Behind::Nobody,
        }
    }

    /// The call with this token read the answer to a call, or to one that nobody knows: who goes on from there does so for the
    /// request that the call was made for, unless there were answers for others in it.
    fn answer_read(&mut self, connection: u64, call: Option<ExchangeId>, token: u64) {
        let call = call.and_then(|id| self.exchanges.get(id));
        let parent = call.and_then(|call| call.parent.ok()).map(|(parent, _)| TokenOwner::One(parent));
        let owner = parent.or_else(|| call.and_then(|call| call.waiting).map(TokenOwner::Perhaps));
        let now = self.now;
        let Some(link) = self.links.get_mut(&connection).filter(|link| link.connection.role == Role::Client) else {
            return;
        };
        if token == 0 {
            return;
        }
        let owner = owner.filter(|_| link.doubted.is_none());
        link.doubted = link.doubted.map(|_| now);
        let before = link.answered.replace((token, owner)).filter(|(other, _)| *other == token);
        self.exchanges.bind_answer(token, owner, before.map(|(_, owner)| owner));
    }

    /// Which answer is for which request is not sure any more where there are several at once, until the connection has rested.
    fn doubt_answers(&mut self, connection: u64, at: u64) {
        if let Some(link) = self.links.get_mut(&connection).filter(|link| link.connection.is_pipeline()) {
            link.doubted = Some(at);
        }
    }

    /// Thread `tid` gave the answer to a request.
    fn answered_by(&mut self, id: ExchangeId, tid: u32) {
        let Some(Exchange { origin, has_waited, .. }) = self.exchanges.get(id) else { return };
        let Some(process) = self.processes.get_mut(&origin.tgid) else { return };
        let others = self.threads.get(&origin.tid).is_some_and(|own| process.has_more_than(*own));
        process.answered(tid == origin.tid, *has_waited, others);
    }

    /// Thread `tid` read the answer to a call.
    fn call_answered_to(&mut self, id: ExchangeId, tid: u32) {
        let Some(Exchange { origin, waiting: Some(caller), .. }) = self.exchanges.get(id) else { return };
        let by_caller = origin.tid == tid;
        if let Some(caller) = self.exchanges.get_mut(*caller).filter(|c| by_caller && c.origin.tid == tid) {
            caller.has_waited = true;
        }
    }

    /// The response's boundary is lost but its head is known: that is a span, ended where it was last seen.
    fn response_void(&mut self, connection: u64, at: u64) {
        if let Some(id) = self.links.get_mut(&connection).and_then(|l| l.pairing.response.take()) {
            if let Some(exchange) = self.exchanges.get_mut(id) {
                exchange.response_end = MessageEnd { body_bytes: None, truncated: false };
            }
            self.close(id, at);
        }
    }

    pub(super) fn orphan(&mut self, connection: u64, at: u64) {
        self.doubt_answers(connection, at);
        self.count(Counter::DroppedRequestLost);
        self.pairing(connection, |p| p.response = None);
        let is_joined = self.links.get_mut(&connection).is_some_and(|link| core::mem::take(&mut link.is_joined));
        if !is_joined {
            self.uncertain(connection, at);
        }
    }

    fn responses_lost(&mut self, connection: u64, n: usize) {
        for _ in 0..n {
            let Some(link) = self.links.get_mut(&connection) else { return };
            let Some(lost) = link.pairing.unanswered.pop_front() else { return };
            self.count(Counter::DroppedResponseLost);
            if let Some(id) = lost {
                self.drop_exchange(id);
            }
        }
        self.uncertain(connection, self.now);
    }

    fn exchanges_lost(&mut self, connection: u64, n: usize) {
        self.add(Counter::DroppedExchangeLost, n as u64);
        self.uncertain(connection, self.now);
    }

    // === ends ===

    /// The exchange is over; it stays for those that were started before its end.
    pub(super) fn close(&mut self, id: ExchangeId, at: u64) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let end = at.max(exchange.origin.at);
        let was_in_flight = exchange.over().is_none();
        exchange.end = Some(end);
        if was_in_flight {
            self.no_more_in_flight(id);
        }
        self.emit_if_ready(id);
        self.start_timer(end, Timer::Forget(id));
    }

    /// A request has its answer, or will have none.
    fn no_more_in_flight(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(id) else { return };
        match (exchange.kind, exchange.waiting) {
            (SpanKind::Server, _) => self.not_in_flight(id),
            (SpanKind::Client, waiting) => {
                let tgid = exchange.origin.tgid;
                self.calls_change(waiting, tgid, |calls| calls.saturating_sub(1));
            }
        }
    }

    fn not_in_flight(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(id) else { return };
        let origin = exchange.origin;
        if let Some(process) = self.processes.get_mut(&origin.tgid) {
            process.end(id, exchange.over().unwrap_or(self.now));
            if exchange.open_calls != 0 {
                process.waits_for_calls(false);
            }
        }
        if let Some(thread) = self.threads.get_mut(&origin.tid) {
            thread.remove(id);
            if thread.is_empty() {
                self.threads.remove(&origin.tid);
            }
        }
    }

    /// No span will come of the exchange.
    pub(super) fn drop_exchange(&mut self, id: ExchangeId) {
        if self.exchanges.get(id).is_some_and(|e| e.over().is_none()) {
            self.no_more_in_flight(id);
        }
        self.forget(id);
    }

    /// Forgets the exchange, later if its context waits for another's.
    pub(super) fn forget_decided(&mut self, id: ExchangeId) {
        if self.exchanges.get(id).is_some_and(|exchange| exchange.context.is_none()) {
            return self.start_timer(self.now, Timer::Forget(id));
        }
        // What its end shows.
        let dependents = self.exchanges.get_mut(id).map(|exchange| core::mem::take(&mut exchange.dependents));
        self.decide_all(dependents.unwrap_or_default());
        self.forget(id);
    }

    fn forget(&mut self, id: ExchangeId) {
        self.await_exit_no_more(id);
        let Some(exchange) = self.exchanges.remove(id) else { return };
        if let (SpanKind::Client, Some(key)) = (exchange.kind, exchange.join) {
            self.joins.remove(&key, id);
        }
        self.decide_all(exchange.dependents);
    }

    /// Nothing was heard of the connection for so long that what is awaited on it must have been lost.
    pub(super) fn give_up_waiting(&mut self, connection: u64) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        let unanswered = core::mem::take(&mut link.pairing.unanswered);
        let streams = core::mem::take(&mut link.streams);
        for id in unanswered.into_iter().flatten().chain(streams.into_values()) {
            self.count(Counter::DroppedResponseLost);
            self.drop_exchange(id);
        }
    }

    /// The connection is gone: whoever waits for a response will not get one, and that is worth a span.
    pub(super) fn end_unanswered(&mut self, connection: u64, at: u64) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        let unanswered = core::mem::take(&mut link.pairing.unanswered);
        let response = link.pairing.response.take();
        let streams = core::mem::take(&mut link.streams);
        for id in response.into_iter().chain(unanswered.into_iter().flatten()).chain(streams.into_values()) {
            self.close(id, at);
        }
    }

    // === the connection as a whole ===

    fn lost_bytes(&mut self, connection: u64, n: u64) {
        self.doubt_answers(connection, self.now);
        self.add(Counter::StreamGapBytes, n);
        self.uncertain(connection, self.now);
    }

    pub(super) fn uncertain(&mut self, connection: u64, at: u64) {
        let Some(link) = self.links.get(&connection) else { return };
        if let Some(process) = self.processes.get_mut(&link.connection.tgid) {
            process.lost(at);
        }
    }

    fn recognised(&mut self, connection: u64, role_corrected: bool) {
        let Some(link) = self.links.get(&connection) else { return };
        let role = link.connection.role;
        if link.connection.is_pipeline() && role == Role::Client {
            let policy = Policy::pipeline(HEAD_PIPELINE_BYTES, role);
            self.outputs.push_back(Output::Policy { connection, policy });
        } else if role_corrected {
            let policy = Policy::head(HEAD_DEFAULT_BYTES, role);
            self.outputs.push_back(Output::Policy { connection, policy });
        }
    }

    fn gave_up(&mut self, connection: u64, at: u64, why: Opaque) {
        self.outputs.push_back(Output::Policy { connection, policy: Policy::ignore() });
        let Some(link) = self.links.get_mut(&connection) else { return };
        let (role, tgid) = (link.connection.role, link.connection.tgid);
        let response = link.pairing.response.take();
        let unanswered = core::mem::take(&mut link.pairing.unanswered);
        let streams = core::mem::take(&mut link.streams);
        if let Some(id) = response {
            self.close(id, at);
        }
        for id in unanswered.into_iter().flatten().chain(streams.into_values()) {
            self.count(Counter::DroppedMalformed);
            self.drop_exchange(id);
        }
        match why {
            Opaque::Upgraded => {}
            Opaque::Unknown => self.count(Counter::ConnectionsUnknownProtocol),
            Opaque::Tls => self.tls_unread(connection, at),
            Opaque::Broken(why) => self.count(Counter::of(why)),
        }
        if role != Role::Client {
            self.opaque_server(connection, tgid);
        }
    }

    /// Its plaintext may turn up yet: counted when it has not for a while.
    fn tls_unread(&mut self, connection: u64, at: u64) {
        if let Some(link) = self.links.get_mut(&connection) {
            link.tls_unread_since = Some(at);
        }
    }

    /// From here on the process may serve requests that nobody sees.
    fn opaque_server(&mut self, connection: u64, tgid: u32) {
        let Some(process) = self.process(tgid) else { return };
        process.opaque_servers += 1;
        if let Some(link) = self.links.get_mut(&connection) {
            link.opaque_server_of = Some(tgid);
        }
    }
}
