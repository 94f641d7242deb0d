//! From signals to exchanges: requests open them, responses close them, tokens lead to them.

use super::{Engine, Link, Output, Resumes, Timer};
use crate::causality::{self, Carried, Evidence, ExchangeId, REUSES_MIN, RootReason, TokenOwner, decide};
use crate::connection::{Opaque, Origin, Signal};
use crate::counter::Counter;
use crate::exchange::Exchange;
use crate::jobs::Call;
use crate::protocol::{DatabaseSystem, MessageEnd, RequestHead, ResponseHead, Side};
use crate::routine::{self, Habit};
use crate::span::SpanKind;
use alloc::boxed::Box;
use autospan_abi::limits::{HEAD_DEFAULT_BYTES, HEAD_PIPELINE_BYTES};
use autospan_abi::{Policy, Role, Trail};

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
            link.resumes = Resumes::Strangers;
            self.process(origin.tgid).into_iter().for_each(|process| process.resumes_strangers.begin());
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

    fn client_request(&mut self, mut exchange: Exchange) {
        let carried = self.carried(&exchange.origin);
        exchange.parent = self.parent_of(&exchange, carried);
        exchange.is_guess = self.note_guess(&exchange, carried);
        self.note_job(&exchange.origin, carried);
        self.await_exit(&mut exchange);
        exchange.waiting = match (exchange.parent, carried) {
            (Ok((parent, _)), _) => Some(parent),
            (Err(_), Carried::Open { id, .. } | Carried::Perhaps { id }) => Some(id),
            (Err(_), Carried::Answered) => self.waits_behind(&exchange),
            (Err(_), _) => None,
        };
        let is_reuse = exchange.origin.trail.is_reuse() && !exchange.is_of_session();
        if let (Err(_), true, Carried::Open { id, .. }) = (exchange.parent, is_reuse, carried)
            && let Some(doubted) = self.exchanges.get_mut(id)
        {
            doubted.reuse_doubted = true;
        }
        if let Some(link) = self.links.get_mut(&exchange.connection) {
            link.written(&exchange);
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
        let Some(process) = self.processes.get(&tgid) else { return Err(RootReason::NoRequest) };
        let routine = call.request.as_deref().and_then(RequestHead::routine);
        let routine = routine.map(|what| self.ids.routine(&call.address, call.connection, what));
        let habit = routine.map(|routine| self.routines.habit(tgid, routine, process.work(at))).unwrap_or_default();
        let (trail, carried_by_trail) = self.by_trail(call, carried);
        let decided = decide(process, causality::Call { at, carried: carried_by_trail, trail, habit });
        // What a session needs is done whenever a connection is opened, by whoever opens it.
        if !call.is_of_session() {
            let waits_behind = self.waits_behind(call);
            self.note_call(&call.origin, carried, waits_behind, routine);
        }
        match decided {
            Ok((id, _)) if habit.is_exhausted && self.is_one_too_many(call, id, carried, habit) => {
                self.exchanges.get_mut(id).into_iter().for_each(|request| request.is_exceeded = true);
                Err(RootReason::Ambiguous)
            }
            decided => decided,
        }
    }

    /// Work that nobody waits for may stand in the queue of a client as well: it shows as a call more than requests make.
    fn is_one_too_many(&self, call: &Exchange, id: ExchangeId, carried: Carried, habit: Habit) -> bool {
        let process = self.processes.get(&call.origin.tgid);
        let is_lone = process.is_some_and(|process| process.lone_request(call.origin.at) == Some(id));
        habit.requests >= REUSES_MIN && is_lone && self.may_be_queued(call, carried)
    }

    /// It is written in the turn of an answer on the connection of a database, or when who used that last gives it back.
    fn may_be_queued(&self, call: &Exchange, carried: Carried) -> bool {
        let link = self.links.get(&call.connection).filter(|_| is_database(call));
        link.is_some_and(|link| trail_by_pool(link, call, carried).is_reuse())
    }

    /// Whether the call is its parent's shows when that is over. What goes on with the answer to such a call is no surer.
    fn note_guess(&mut self, call: &Exchange, carried: Carried) -> bool {
        let Some((id, _)) = call.parent.ok().filter(|_| is_database(call)) else { return false };
        let may_be_queued = self.may_be_queued(call, carried);
        let Some(request) = self.exchanges.get_mut(id) else { return false };
        request.is_guess |= may_be_queued;
        request.is_guess
    }

    /// How the cause came to the call, and what is left of it. Who could have had another connection did not wait for this
    /// one.
    fn by_trail(&self, call: &Exchange, carried: Carried) -> (Trail, Carried) {
        let Origin { at, .. } = call.origin;
        let Some(link) = self.links.get(&call.connection) else { return (call.origin.trail, carried) };
        if link.waits_for_login(&call.origin) {
            return (Trail::Reuse, Carried::Unusable);
        }
        let trail = trail_by_pool(link, call, carried);
        if !trail.is_reuse() {
            return (trail, carried);
        }
        let process = self.processes.get(&call.origin.tgid).filter(|process| process.is_seen(at));
        let others_wait = !process.is_some_and(|process| process.nobody_else_waits(carried, at));
        // A pool makes a connection for who needs one.
        if let Carried::Open { id, .. } = carried
            && link.opened_for == Some(id)
            && !others_wait
        {
            return (Trail::Turn, carried);
        }
        let lone = self.lone_waiting(call, carried);
        if let Carried::Open { id, .. } = carried
            && self.exchanges.get(id).is_some_and(|e| e.reuse_doubted)
        {
            return (Trail::Reuse, lone.unwrap_or(Carried::Unusable));
        }
        // Who waited for a connection with many streams is not known to have.
        let is_one = link.resumes == Resumes::One && !link.connection.is_pipeline();
        let others_idle = is_one && process.is_some() && self.pools.has_others(&link.connection, at);
        // A client of a database may have a queue for each of its connections, in which timers wait as well.
        let by_itself = process.is_some_and(|process| process.calls_by_itself(at));
        let is_queued = is_database(call) && (others_wait || by_itself);
        let may_wait = match carried {
            Carried::Answered => self.waits_behind(call).is_some(),
            _ => matches!(carried, Carried::Perhaps { .. }),
        };
        let waited = lone.filter(|_| may_wait && !others_idle);
        match waited {
            Some(waited) => (Trail::Reuse, waited),
            None => (if others_idle && !is_queued { Trail::Turn } else { trail }, carried),
        }
    }

    /// The only request that a database's connection can have been waited for by, or that can go on with the answer on it: habit has to
    /// tell whether it makes the call.
    fn lone_waiting(&self, call: &Exchange, carried: Carried) -> Option<Carried> {
        let Origin { tgid, at, tid, .. } = call.origin;
        let id =
            self.processes.get(&tgid).and_then(|process| process.lone_request(at)).filter(|_| is_database(call))?;
        let lone = self.exchanges.get(id)?;
        let is_its = !matches!(carried, Carried::Open { id: other, .. } if other != id);
        let open = Carried::Open { id, alone: true, by_reader: lone.origin.tid == tid, calls: lone.open_calls };
        is_its.then_some(open)
    }

    /// Where the turn carries a request that is over: the only one in flight, if it may be what waited for the end of the answer on the
    /// connection.
    fn waits_behind(&self, call: &Exchange) -> Option<ExchangeId> {
        let Origin { tgid, at, trail, .. } = call.origin;
        let link = self.links.get(&call.connection).filter(|_| trail.is_reuse() && is_database(call))?;
        let only = self.processes.get(&tgid)?.only_request(at);
        only.filter(|id| link.behind.may_be(*id))
    }

    /// What the call tells about its process: it makes it for requests, or for none, or who knows.
    fn note_call(
        &mut self,
        origin: &Origin,
        carried: Carried,
        waits_behind: Option<ExchangeId>,
        routine: Option<routine::Key>,
    ) {
        let Some(process) = self.processes.get_mut(&origin.tgid) else { return };
        let (work, is_idle) = (process.work(origin.at), process.is_idle());
        let (is_alone, is_nothing_sure) =
            (process.only_request(origin.at).is_some(), process.is_nothing_sure(origin.at));
        match (carried, origin.trail) {
            (Carried::Open { .. } | Carried::Perhaps { .. }, _)
            | (Carried::Nothing, Trail::Thread | Trail::Spawned)
                if is_alone =>
            {
                self.made_for_one(origin, routine, work);
            }
            // The only request waited for the end of an answer. Else it is what goes on behind the response to another one.
            (Carried::Answered, _) if waits_behind.is_some() => self.made_for_one(origin, routine, work),
            // Another one may have waited for the connection, or for the answer to a call that was not seen.
            (Carried::Answered, trail) if trail.is_reuse() && !is_idle && !is_alone => {}
            (Carried::Nothing, Trail::Turn) if !is_nothing_sure => {}
            // What goes on behind the answer to such a call.
            (Carried::Answered, _) if !is_nothing_sure && self.exchanges.owner(origin.cause).is_none() => {}
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

    fn made_for_one(&mut self, origin: &Origin, routine: Option<routine::Key>, work: routine::Work) {
        routine.into_iter().for_each(|routine| self.routines.made_for_one(origin.tgid, routine, work));
    }

    /// A call for no request, or for who knows which.
    fn strayed(&mut self, origin: &Origin, routine: Option<routine::Key>, work: routine::Work) {
        routine.into_iter().for_each(|routine| self.routines.strayed(origin.tgid, routine, work));
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
            Some(TokenOwner::Perhaps(id)) => return self.carried_perhaps(id, origin),
            Some(TokenOwner::One(id)) => id,
        };
        let strangers = self.processes.get(&origin.tgid).map(|process| process.resumes_strangers).unwrap_or_default();
        let by_thread = !matches!(origin.trail, Trail::Task | Trail::Stream);
        match self.exchanges.get(id) {
            Some(e) if e.origin.tgid != origin.tgid => Carried::Unusable,
            Some(e) if by_thread && strangers.include(e.origin.at) => Carried::Unusable,
            Some(e) if e.over().is_none_or(|end| end > origin.at) => {
                let alone = self.threads.get(&e.origin.tid).is_some_and(|t| t.only() == Some(id));
                Carried::Open { id, alone, by_reader: e.origin.tid == origin.tid, calls: e.open_calls }
            }
            _ => Carried::Answered,
        }
    }

    fn carried_perhaps(&self, id: ExchangeId, origin: &Origin) -> Carried {
        let is_open = |e: &&Exchange| e.origin.tgid == origin.tgid && e.end.is_none_or(|end| end > origin.at);
        self.exchanges.get(id).filter(is_open).map_or(Carried::Unusable, |_| Carried::Perhaps { id })
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

/// Who may go on with the end of an answer, if not the request that the turn carries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Behind {
    Nobody,
    /// The request that the call was made for.
    One(ExchangeId),
    /// That request was answered after the answer to the call had begun: another one may have waited for the end.
    Anybody,
}

impl Behind {
    fn may_be(self, request: ExchangeId) -> bool {
        match self {
            Self::Nobody => false,
            Self::One(id) => id == request,
            Self::Anybody => true,
        }
    }
}

impl Link {
    /// A call was written on it.
    fn written(&mut self, call: &Exchange) {
        let is_first = self.last_for.is_none() && self.connection.is_seen_from_start();
        self.opened_for = if is_first { call.waiting } else { self.opened_for }.filter(|_| call.is_of_session());
        self.last_for = call.waiting;
        self.is_ready |= call.origin.cause != 0 && !self.goes_on(&call.origin);
    }

    /// The turn of the call began with an answer on this connection.
    fn goes_on(&self, origin: &Origin) -> bool {
        self.answered.is_some_and(|(token, _)| token == origin.cause)
    }

    /// Requests of many may have been kept back until the answer came that the turn began with.
    fn waits_for_login(&self, origin: &Origin) -> bool {
        self.connection.is_pipeline() && origin.trail == Trail::Turn && !self.is_ready && self.goes_on(origin)
    }
}

fn is_database(call: &Exchange) -> bool {
    matches!(call.request.as_deref(), Some(RequestHead::Database(_)))
}

fn is_postgres(call: &Exchange) -> bool {
    matches!(call.request.as_deref(), Some(RequestHead::Database(request)) if request.system == DatabaseSystem::PostgreSql)
}

/// Pools of databases' connections hand one on when whoever has it gives it back, not when an answer comes: that may be in any turn
/// of the request that used it last. And who is handed one is called in that very turn.
fn trail_by_pool(link: &Link, call: &Exchange, carried: Carried) -> Trail {
    match (call.origin.trail, carried) {
        (trail, _) if !is_database(call) || link.connection.is_pipeline() => trail,
        (Trail::ReuseAtOnce, _) if !is_postgres(call) => Trail::Reuse,
        (Trail::Turn, Carried::Open { id, .. }) if link.last_for == Some(id) => Trail::Reuse,
        (trail, _) => trail,
    }
}
