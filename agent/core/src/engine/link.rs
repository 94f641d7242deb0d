//! From signals to exchanges: requests open them, responses close them, tokens lead to them.

use super::{Engine, Output, Resumes, Timer};
use crate::causality::{self, Carried, Evidence, ExchangeId, RootReason, TokenOwner, decide};
use crate::connection::{Opaque, Origin, Signal};
use crate::counter::Counter;
use crate::exchange::Exchange;
use crate::jobs::Call;
use crate::protocol::{MessageEnd, RequestHead, ResponseHead, Side};
use crate::routine::{self, Habit};
use crate::span::SpanKind;
use alloc::boxed::Box;
use autospan_abi::limits::HEAD_DEFAULT_BYTES;
use autospan_abi::{Policy, Role, Trail};

impl Engine {
    pub(super) fn signal(&mut self, connection: u64, at: u64, signal: Signal) {
        match signal {
            Signal::Request { head, origin, token } => self.request(connection, head, origin, token),
            Signal::RequestBytes { token } => self.request_bytes(connection, token),
            Signal::Doubtful { token } => self.exchanges.doubt(token),
            Signal::RequestEnd(end) => self.request_end(connection, end),
            Signal::Response(head) => self.response(connection, head),
            Signal::ResponseEnd { end, at, tid } => self.response_end(connection, end, at, tid),
            Signal::StreamRequest { stream, head, origin, token } => {
                self.stream_request(connection, stream, head, origin, token)
            }
            Signal::Stream { stream, step, at, token } => self.stream_step(connection, stream, step, at, token),
            Signal::StreamLost { stream } => self.stream_lost(connection, stream),
            Signal::Multiplexed { joined } => self.multiplexed(connection, joined),
            Signal::Upgraded => self.upgraded(connection),
            Signal::Orphan => self.orphan(connection, at),
            Signal::ResponsesLost { n } => self.responses_lost(connection, n),
            Signal::ExchangesLost { n } => self.exchanges_lost(connection, n),
            Signal::Void(Side::Request) => self.pairing(connection, |p| p.request = None),
            Signal::Void(Side::Response) => self.response_void(connection, at),
            Signal::LostBytes(n) => self.lost_bytes(connection, n),
            Signal::Desynced => self.count(Counter::StreamDesyncs),
            Signal::Recognised { role_corrected } => self.recognised(connection, role_corrected),
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
        self.begin(exchange, token);
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

    fn client_request(&mut self, mut exchange: Exchange) {
        let carried = self.carried(&exchange.origin);
        exchange.parent = self.parent_of(&exchange, carried);
        self.note_job(&exchange.origin, carried);
        self.await_exit(&mut exchange);
        exchange.waiting = match (exchange.parent, carried) {
            (Ok((parent, _)), _) => Some(parent),
            (Err(_), Carried::Open { id, .. }) => Some(id),
            (Err(_), _) => None,
        };
        if let (Err(_), true, Carried::Open { id, .. }) = (exchange.parent, exchange.origin.trail.is_reuse(), carried)
            && let Some(doubted) = self.exchanges.get_mut(id)
        {
            doubted.reuse_doubted = true;
        }
        self.calls_change(exchange.waiting, exchange.origin.tgid, |calls| calls.saturating_add(1));
        if let Some(key) = exchange.join {
            self.joins.insert(key, exchange.id, exchange.origin.at);
        }
        self.exchanges.insert(exchange);
    }

    /// Decided now, while the table of requests in flight is that of the call's time.
    fn parent_of(&mut self, call: &Exchange, carried: Carried) -> Result<(ExchangeId, Evidence), RootReason> {
        let Origin { tgid, at, .. } = call.origin;
        let routine = call
            .request
            .as_deref()
            .map(|RequestHead::Http(request)| self.ids.routine(&call.address, &request.method, &request.target));
        let (Some(process), Some(routine)) = (self.processes.get(&tgid), routine) else {
            return Err(RootReason::NoRequest);
        };
        // Calls whose names are unknown are not one routine.
        let is_known = call.request.as_deref().is_some_and(|RequestHead::Http(request)| request.is_known());
        let habit = if is_known { self.routines.habit(tgid, routine, process.work(at)) } else { Habit::default() };
        let (trail, carried_by_trail) = self.by_trail(call, carried);
        let decided = decide(process, causality::Call { at, carried: carried_by_trail, trail, habit });
        self.note_call(&call.origin, carried, routine);
        decided
    }

    /// How the cause came to the call, and what is left of it. Who could have had another connection did not wait for this
    /// one.
    fn by_trail(&self, call: &Exchange, carried: Carried) -> (Trail, Carried) {
        let Origin { trail, at, .. } = call.origin;
        if !trail.is_reuse() {
            return (trail, carried);
        }
        if let Carried::Open { id, .. } = carried
            && self.exchanges.get(id).is_some_and(|e| e.reuse_doubted)
        {
            return (trail, Carried::Unusable);
        }
        let is_seen = self.processes.get(&call.origin.tgid).is_some_and(|process| process.is_seen(at));
        // Who waited for a connection with many streams is not known to have.
        let link = self.links.get(&call.connection).filter(|link| is_seen && link.resumes == Resumes::One);
        let others_idle = link.is_some_and(|link| self.pools.has_others(&link.connection, at));
        (if others_idle { Trail::Turn } else { trail }, carried)
    }

    /// What the call tells about its process: it makes it for requests, or for none, or who knows.
    fn note_call(&mut self, origin: &Origin, carried: Carried, routine: routine::Key) {
        let Some(process) = self.processes.get_mut(&origin.tgid) else { return };
        let (work, is_idle) = (process.work(origin.at), process.is_idle());
        let is_alone = process.only_request(origin.at).is_some();
        match (carried, origin.trail) {
            (Carried::Open { .. }, _) | (Carried::Nothing, Trail::Thread | Trail::Spawned) if is_alone => {
                self.routines.made_for_one(origin.tgid, routine, work);
            }
            (Carried::Answered, _)
            | (Carried::Nothing, Trail::Task | Trail::SpawnedByTask | Trail::Turn | Trail::Stream) => {
                self.strayed(origin, routine, work);
            }
            (Carried::Nothing | Carried::Unusable, _) if is_idle => self.strayed(origin, routine, work),
            _ => {}
        }
    }

    /// What the call tells about how its thread came to it.
    fn note_job(&mut self, origin: &Origin, carried: Carried) {
        let Some(process) = self.processes.get_mut(&origin.tgid) else { return };
        let kind = match (carried, origin.trail) {
            (Carried::Open { by_reader: false, .. }, Trail::Thread) => Call::HandedOver,
            (Carried::Nothing, Trail::Thread) if !process.is_idle() => Call::Unexplained,
            _ => Call::Other,
        };
        if let Some(watch) = process.jobs.note(kind, origin.at) {
            self.outputs.push_back(Output::WatchJobs { tgid: origin.tgid, watch });
        }
    }

    /// A call for no request, or for who knows which.
    fn strayed(&mut self, origin: &Origin, routine: routine::Key, work: routine::Work) {
        self.routines.strayed(origin.tgid, routine, work);
        let Some(process) = self.processes.get_mut(&origin.tgid) else { return };
        process.called_by_itself(work.now);
        if origin.trail == Trail::Thread {
            process.shares_threads();
        }
    }

    pub(super) fn carried(&self, origin: &Origin) -> Carried {
        if origin.cause == 0 {
            return Carried::Nothing;
        }
        let id = match self.exchanges.owner(origin.cause) {
            None => return Carried::Answered,
            Some(TokenOwner::Many) => return Carried::Unusable,
            Some(TokenOwner::One(id)) => id,
        };
        let strangers = self.processes.get(&origin.tgid).map(|process| process.resumes_strangers).unwrap_or_default();
        let by_thread = !matches!(origin.trail, Trail::Task | Trail::Stream);
        match self.exchanges.get(id) {
            Some(e) if e.origin.tgid != origin.tgid => Carried::Unusable,
            Some(e) if by_thread && strangers.include(e.origin.at) => Carried::Unusable,
            Some(e) if e.end.is_none_or(|end| end > origin.at) => {
                let alone = self.threads.get(&e.origin.tid).is_some_and(|t| t.only() == Some(id));
                Carried::Open { id, alone, by_reader: e.origin.tid == origin.tid, calls: e.open_calls }
            }
            _ => Carried::Answered,
        }
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
            && exchange.end.is_none()
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

    fn response(&mut self, connection: u64, head: Box<ResponseHead>) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        let id = link.pairing.unanswered.pop_front().flatten();
        link.pairing.response = id;
        if let Some(exchange) = id.and_then(|id| self.exchanges.get_mut(id)) {
            exchange.response = Some(head);
        }
    }

    fn response_end(&mut self, connection: u64, end: MessageEnd, at: u64, tid: u32) {
        let Some(id) = self.links.get_mut(&connection).and_then(|l| l.pairing.response.take()) else { return };
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.response_end = end;
        match exchange.kind {
            SpanKind::Server if tid != 0 => self.answered_by(id, tid),
            SpanKind::Client => self.call_answered_to(id, tid),
            SpanKind::Server => {}
        }
        self.close(id, at);
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
            self.close(id, at);
        }
    }

    pub(super) fn orphan(&mut self, connection: u64, at: u64) {
        self.count(Counter::DroppedRequestLost);
        self.pairing(connection, |p| p.response = None);
        self.uncertain(connection, at);
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
        if exchange.end.replace(end).is_none() {
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
            process.end(id, exchange.end.unwrap_or(self.now));
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
        if self.exchanges.get(id).is_some_and(|e| e.end.is_none()) {
            self.no_more_in_flight(id);
        }
        self.forget(id);
    }

    /// Forgets the exchange, later if its context waits for another's.
    pub(super) fn forget_decided(&mut self, id: ExchangeId) {
        if self.exchanges.get(id).is_some_and(|exchange| exchange.context.is_none()) {
            return self.start_timer(self.now, Timer::Forget(id));
        }
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
        if role_corrected {
            let policy = Policy::head(HEAD_DEFAULT_BYTES, link.connection.role);
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
