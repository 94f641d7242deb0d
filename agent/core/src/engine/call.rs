//! Which request a call is for: what its thread, task or turn carries, as far as the connection it is written on and what the
//! process does again and again let that be believed.

use super::{Engine, Link, Output, Resumes};
use crate::causality::{self, Carried, Evidence, ExchangeId, REUSES_MIN, RootReason, TokenOwner, decide};
use crate::connection::Origin;
use crate::exchange::Exchange;
use crate::jobs::Call;
use crate::protocol::{DatabaseSystem, RequestHead};
use crate::routine::{self, Habit};
use autospan_abi::Trail;

impl Engine {
    pub(super) fn client_request(&mut self, mut exchange: Exchange) {
        let carried = self.carried(&exchange.origin);
        let behind = self.waits_behind(&exchange);
        exchange.parent = self.parent_of(&exchange, carried, behind);
        exchange.is_guess = self.note_guess(&exchange, carried);
        self.note_job(&exchange.origin, carried);
        self.await_exit(&mut exchange);
        exchange.waiting = match (exchange.parent, carried) {
            (Ok((parent, _)), _) => Some(parent),
            (Err(_), Carried::Open { id, .. } | Carried::Perhaps { id }) => Some(id),
            (Err(_), Carried::Answered) => behind,
            (Err(_), _) => None,
        };
        let is_reuse = exchange.origin.trail.is_reuse() && !exchange.is_of_session();
        if let (Err(_), true, Carried::Open { id, .. }) = (exchange.parent, is_reuse, carried)
            && let Some(doubted) = self.exchanges.get_mut(id)
        {
            doubted.reuse_doubted = true;
        }
        let overlaps = self.overlaps(&exchange);
        if let Some(link) = self.links.get_mut(&exchange.connection) {
            link.written(&exchange);
            link.is_shared |= overlaps;
        }
        self.calls_change(exchange.waiting, exchange.origin.tgid, |calls| calls.saturating_add(1));
        if let Some(key) = exchange.join {
            self.joins.insert(key, exchange.id, exchange.origin.at);
        }
        self.exchanges.insert(exchange);
    }

    /// Decided now, while the table of requests in flight is that of the call's time. `behind`: [`Self::waits_behind`].
    fn parent_of(
        &mut self,
        call: &Exchange,
        carried: Carried,
        behind: Option<ExchangeId>,
    ) -> Result<(ExchangeId, Evidence), RootReason> {
        let Origin { tgid, at, .. } = call.origin;
        let Some(process) = self.processes.get(&tgid) else { return Err(RootReason::NoRequest) };
        let routine = call.request.as_deref().and_then(RequestHead::routine);
        let routine = routine.map(|what| self.ids.routine(&call.address, call.connection, what));
        let habit = routine.map(|routine| self.routines.habit(tgid, routine, process.work(at))).unwrap_or_default();
        let (trail, carried_by_trail) = self.by_trail(call, carried, behind);
        let decided = decide(process, causality::Call { at, carried: carried_by_trail, trail, habit });
        // What a session needs is done whenever a connection is opened, by whoever opens it.
        if !call.is_of_session() {
            self.note_call(&call.origin, carried, behind, routine);
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
    fn by_trail(&self, call: &Exchange, carried: Carried, behind: Option<ExchangeId>) -> (Trail, Carried) {
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
            Carried::Answered => behind.is_some(),
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

    /// It is written while the call in front of it, on behalf of another request, waits for its answer: whoever wants to write on that
    /// connection need not wait.
    fn overlaps(&self, call: &Exchange) -> bool {
        let Some(link) = self.links.get(&call.connection).filter(|link| link.connection.is_pipeline()) else {
            return false;
        };
        let before = link.pairing.unanswered.iter().rev().skip(1).flatten().next();
        let before = before.and_then(|id| self.exchanges.get(*id)).filter(|before| !before.is_of_session());
        let request = |call: &Exchange| call.parent.ok().map(|(id, _)| id);
        before.and_then(request).is_some_and(|before| request(call).is_some_and(|id| id != before))
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
        behind: Option<ExchangeId>,
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
            (Carried::Answered, _) if behind.is_some() => self.made_for_one(origin, routine, work),
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
            Some(e) if e.is_open(origin.at) => {
                let alone = self.threads.get(&e.origin.tid).is_some_and(|t| t.only() == Some(id));
                Carried::Open { id, alone, by_reader: e.origin.tid == origin.tid, calls: e.open_calls }
            }
            _ => Carried::Answered,
        }
    }

    fn carried_perhaps(&self, id: ExchangeId, origin: &Origin) -> Carried {
        let is_open = |e: &&Exchange| e.origin.tgid == origin.tgid && e.is_open(origin.at);
        self.exchanges.get(id).filter(is_open).map_or(Carried::Unusable, |_| Carried::Perhaps { id })
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
/// of the request that used it last. And who is handed one is called in that very turn. Where clients may pipeline, the kernel side
/// takes it that nobody waits in order to write, which is so once several have.
fn trail_by_pool(link: &Link, call: &Exchange, carried: Carried) -> Trail {
    match (call.origin.trail, carried) {
        (trail, _) if !is_database(call) || link.is_shared => trail,
        (Trail::Turn, _) if link.connection.is_pipeline() && link.goes_on(&call.origin) => Trail::Reuse,
        (Trail::ReuseAtOnce, _) if !is_postgres(call) => Trail::Reuse,
        (Trail::Turn, Carried::Open { id, .. }) if link.last_for == Some(id) => Trail::Reuse,
        (trail, _) => trail,
    }
}
