//! Which request caused this call? The kernel side carries tokens; here they are resolved, and believed only as far as
//! the process's way with threads allows. A missing parent, never a wrong one.

use crate::fact::Threads;
use crate::jobs::Jobs;
use crate::routine::{Habit, Work};
use crate::unsent::Unsent;
use autospan_abi::Trail;

/// Requests that a thread read, waited for and answered, while another thread did the same, after which an unknown
/// runtime's threads are believed.
const PROOFS_MIN: u32 = 8;
/// Requests, each alone in flight, that must have made a call before a connection used again for it is believed.
pub(crate) const REUSES_MIN: u32 = 8;
/// How long after a loss "the only request in flight" is not believed.
const UNCERTAIN_NS: u64 = 1_000_000_000;
/// How long a process must have had no request before one that is taken for the cause of whatever it does then: work that
/// goes on after an answer is done by then, or was seen.
const QUIET_NS: u64 = 1_000_000_000;
/// How long after a process called by itself a connection used again may have been waited for by that.
const BY_ITSELF_NS: u64 = 600_000_000_000;

pub(crate) type ExchangeId = u64;

/// A set of ids that can only tell how many it has and, when it has one, which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InFlight {
    count: u32,
    xor: u64,
}

impl InFlight {
    pub(crate) fn insert(&mut self, id: ExchangeId) {
        self.count += 1;
        self.xor ^= id;
    }

    /// `id` must have been inserted.
    pub(crate) fn remove(&mut self, id: ExchangeId) {
        self.count = self.count.saturating_sub(1);
        self.xor ^= id;
    }

    pub(crate) fn only(&self) -> Option<ExchangeId> {
        (self.count == 1).then_some(self.xor)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// What is known about the requests of one process.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessState {
    /// What recognition of the executable says.
    told: Threads,
    /// What an unknown one has shown.
    learnt: Threads,
    proofs: u32,
    in_flight: InFlight,
    busy: Busy,
    /// Calls that have no response yet.
    pub(crate) open_calls: u32,
    /// Requests in flight that wait for such.
    callers: u32,
    /// Open server connections whose requests cannot be seen (TLS, unknown protocols).
    pub(crate) opaque_servers: u32,
    pub(crate) resumes_strangers: Strangers,
    pub(crate) jobs: Jobs,
    pub(crate) unsent: Unsent,
    uncertain_until: u64,
    /// Until then, answers to calls that were not seen may be what it goes on with.
    joined_until: u64,
    /// It was seen to call for no request, or for who knows which, lately.
    calls_by_itself_until: u64,
}

/// Connections with many calls at once of which the kernel side did not know it: a thread that read a response there was taken to
/// go on with whichever call was made last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Strangers {
    connections: u32,
    until: u64,
}

impl Strangers {
    pub(crate) fn begin(&mut self) {
        self.connections += 1;
    }

    /// One of them is gone, or known.
    pub(crate) fn end(&mut self, at: u64) {
        self.connections = self.connections.saturating_sub(1);
        self.until = self.until.max(at);
    }

    /// A request that began then may be a stranger to who is taken to work on it.
    pub(crate) fn include(&self, began: u64) -> bool {
        self.connections > 0 || began <= self.until && self.until > 0
    }
}

/// When there were requests in flight.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    since: u64,
    /// Before that.
    total_ns: u64,
    periods: u64,
    /// There was only one since then.
    is_lone: bool,
    /// And none for so long before that nothing of an earlier one goes on.
    is_quiet: bool,
    ended: Option<u64>,
}

impl ProcessState {
    /// Told by recognition of the executable; clears what was learnt.
    pub(crate) fn set_threads(&mut self, threads: Threads) {
        (self.told, self.learnt, self.proofs) = (threads, Threads::Unproven, 0);
    }

    /// As recognition says.
    pub(crate) fn told_threads(&self) -> Threads {
        self.told
    }

    fn threads(&self) -> Threads {
        if self.told == Threads::Unproven { self.learnt } else { self.told }
    }

    // === requests in flight ===

    pub(crate) fn begin(&mut self, id: ExchangeId, at: u64) {
        let is_first = self.in_flight.is_empty();
        if is_first {
            (self.busy.since, self.busy.periods) = (at, self.busy.periods + 1);
        }
        self.busy.is_lone = is_first;
        self.busy.is_quiet = is_first && self.busy.ended.is_some_and(|end| end.saturating_add(QUIET_NS) <= at);
        self.in_flight.insert(id);
    }

    /// `id` must have begun.
    pub(crate) fn end(&mut self, id: ExchangeId, at: u64) {
        self.in_flight.remove(id);
        if self.in_flight.is_empty() {
            self.busy.total_ns = self.busy.total_ns.saturating_add(at.saturating_sub(self.busy.since));
            self.busy.ended = Some(at);
        }
    }

    /// A request in flight begins to wait for calls, or does not any more.
    pub(crate) fn waits_for_calls(&mut self, waits: bool) {
        self.callers = if waits { self.callers.saturating_add(1) } else { self.callers.saturating_sub(1) };
    }

    /// Each request in flight but the one that calls waits for the answer to a call of its own, and so for nothing that this one
    /// could have given back.
    pub(crate) fn nobody_else_waits(&self, carried: Carried, at: u64) -> bool {
        let Carried::Open { calls, .. } = carried else { return false };
        let waiting_unseen = self.in_flight.count.saturating_sub(self.callers);
        self.opaque_servers == 0 && self.is_seen(at) && waiting_unseen == u32::from(calls == 0)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// There are more in flight than those of one thread.
    pub(crate) fn has_more_than(&self, thread: InFlight) -> bool {
        self.in_flight.count > thread.count
    }

    pub(crate) fn work(&self, now: u64) -> Work {
        let current = if self.is_idle() { 0 } else { now.saturating_sub(self.busy.since) };
        Work { now, busy_ns: self.busy.total_ns.saturating_add(current), periods: self.busy.periods }
    }

    // === what it shows ===

    /// A request was answered. `waited`: a call was made for it and answered, all by the thread that had read it. If that
    /// also gives the answer, while other threads (`others`) work on other requests, then so it would be if threads own
    /// requests. From another thread: they do not.
    pub(crate) fn answered(&mut self, same_thread: bool, waited: bool, others: bool) {
        if !same_thread {
            self.learnt = Threads::Multiplexed;
        } else if waited && others && self.learnt == Threads::Unproven {
            self.proofs += 1;
            if self.proofs >= PROOFS_MIN {
                self.learnt = Threads::Owned;
            }
        }
    }

    /// A thread works on something else than the request that it read last.
    pub(crate) fn shares_threads(&mut self) {
        if self.learnt == Threads::Owned {
            self.learnt = Threads::Unproven;
        }
        self.proofs = 0;
    }

    /// A record of this process was lost: requests may be in flight that nobody saw, or seem to be that are not.
    pub(crate) fn lost(&mut self, now: u64) {
        self.uncertain_until = now.saturating_add(UNCERTAIN_NS);
    }

    /// A call was made that was not seen: whoever goes on with its answer carries nothing.
    pub(crate) fn joined_call(&mut self, now: u64) {
        self.joined_until = now.saturating_add(UNCERTAIN_NS);
    }

    /// Whoever carries nothing in a turn has nothing: no call was missed lately.
    pub(crate) fn is_nothing_sure(&self, now: u64) -> bool {
        self.is_idle() || now >= self.joined_until
    }

    /// A call was made for no request, or by a timer: heartbeats, work that outlives its request. The next one may come
    /// while a request is in flight.
    pub(crate) fn called_by_itself(&mut self, now: u64) {
        self.calls_by_itself_until = now.saturating_add(BY_ITSELF_NS);
    }

    pub(crate) fn calls_by_itself(&self, now: u64) -> bool {
        now < self.calls_by_itself_until
    }

    /// Nothing of it was lost lately: what was not seen did not happen.
    pub(crate) fn is_seen(&self, now: u64) -> bool {
        now >= self.uncertain_until
    }

    /// The only request in flight, if that is sure.
    pub(crate) fn only_request(&self, now: u64) -> Option<ExchangeId> {
        let sure = self.opaque_servers == 0 && self.is_seen(now);
        self.in_flight.only().filter(|_| sure)
    }

    /// The same, if there was no other for a while.
    fn request_out_of_quiet(&self, now: u64) -> Option<ExchangeId> {
        self.only_request(now).filter(|_| self.busy.is_quiet)
    }

    /// The only request in flight, if there has been no other since it came.
    pub(crate) fn lone_request(&self, now: u64) -> Option<ExchangeId> {
        self.only_request(now).filter(|_| self.busy.is_lone)
    }

    /// No other request has been in flight since this one came, all `calls` in flight are its own, and the process does not
    /// call by itself.
    pub(crate) fn only_calls_for(&self, id: ExchangeId, calls: u32, now: u64) -> bool {
        self.lone_request(now) == Some(id) && self.open_calls == calls && !self.calls_by_itself(now)
    }
}

/// Who the token of a call belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenOwner {
    /// The bytes of one request.
    One(ExchangeId),
    /// The answer to a call that may have been made for this one.
    Perhaps(ExchangeId),
    /// The bytes of several.
    Many,
}

impl TokenOwner {
    /// The request that it is or may be.
    pub(crate) fn request(self) -> Option<ExchangeId> {
        match self {
            Self::One(id) | Self::Perhaps(id) => Some(id),
            Self::Many => None,
        }
    }

    /// What is left where both were told of one token.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self.request(), other) {
            _ if self == other => self,
            (Some(id), Self::One(other) | Self::Perhaps(other)) if id == other => Self::Perhaps(id),
            _ => Self::Many,
        }
    }
}

/// What the thread of an outgoing call carried, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// No token.
    Nothing,
    /// The token of a request that is in flight.
    Open {
        id: ExchangeId,
        /// It is the only one that the thread which read it has in flight.
        alone: bool,
        /// The thread that read it makes the call.
        by_reader: bool,
        /// Calls that it waits for.
        calls: u32,
    },
    /// The token of an answer to a call that may have been made for this request, which is in flight.
    Perhaps { id: ExchangeId },
    /// The token of a request that was answered, or that is not known any more.
    Answered,
    /// A token of several requests, or of another process.
    Unusable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    Thread,
    Task,
    Turn,
    OnlyRequest,
    Header,
    Join,
}

impl Evidence {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Task => "task",
            Self::Turn => "turn",
            Self::OnlyRequest => "only_request",
            Self::Header => "header",
            Self::Join => "join",
        }
    }
}

/// Why a span has no parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootReason {
    /// Server: no header, no client end on this host.
    Entry,
    NoRequest,
    Ambiguous,
    Answered,
}

impl RootReason {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::NoRequest => "no_request",
            Self::Ambiguous => "ambiguous",
            Self::Answered => "answered",
        }
    }
}

/// A call, as far as it tells who it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) at: u64,
    pub(crate) carried: Carried,
    pub(crate) trail: Trail,
    pub(crate) habit: Habit,
}

/// The parent of a call that `process` makes.
pub(crate) fn decide(process: &ProcessState, call: Call) -> Result<(ExchangeId, Evidence), RootReason> {
    match call.trail {
        Trail::Thread | Trail::Spawned => by_thread(process, call),
        Trail::Task | Trail::SpawnedByTask | Trail::Stream => exact(call.carried, Evidence::Task),
        Trail::Turn => exact(call.carried, Evidence::Turn),
        Trail::ReuseAtOnce if process.nobody_else_waits(call.carried, call.at) => exact(call.carried, Evidence::Turn),
        Trail::Reuse | Trail::ReuseAtOnce => by_reuse(process, call),
    }
}

/// Tasks and turns are one request's alone. Where one has no request, it is known who the call is for: for nobody.
fn exact(carried: Carried, evidence: Evidence) -> Result<(ExchangeId, Evidence), RootReason> {
    match carried {
        Carried::Open { id, .. } => Ok((id, evidence)),
        Carried::Answered => Err(RootReason::Answered),
        Carried::Nothing => Err(RootReason::NoRequest),
        Carried::Perhaps { .. } | Carried::Unusable => Err(RootReason::Ambiguous),
    }
}

/// A connection was used again in the turn in which a response came on it: either its request goes on, or another one had to
/// wait for the connection. Not if there is no other, and nothing else that calls.
fn by_reuse(process: &ProcessState, call: Call) -> Result<(ExchangeId, Evidence), RootReason> {
    match call.carried {
        Carried::Open { id, calls, .. }
            if call.habit.requests >= REUSES_MIN && process.only_calls_for(id, calls, call.at) =>
        {
            Ok((id, Evidence::Turn))
        }
        Carried::Answered => Err(RootReason::Answered),
        _ => Err(RootReason::Ambiguous),
    }
}

fn by_thread(process: &ProcessState, call: Call) -> Result<(ExchangeId, Evidence), RootReason> {
    let is_told = process.told == Threads::Owned;
    match call.carried {
        Carried::Open { id, alone: true, by_reader, .. }
            if process.threads() == Threads::Owned && (is_told || by_reader) =>
        {
            return Ok((id, Evidence::Thread));
        }
        // The thread works on for a request that was answered: the one in flight now is a stranger to it.
        Carried::Answered => return Err(RootReason::Answered),
        Carried::Open { .. } | Carried::Perhaps { .. } | Carried::Unusable | Carried::Nothing => {}
    }
    match process.request_out_of_quiet(call.at) {
        Some(id) if call.habit.is_of_requests() => Ok((id, Evidence::OnlyRequest)),
        None if process.is_idle() => Err(RootReason::NoRequest),
        _ => Err(RootReason::Ambiguous),
    }
}

#[cfg(test)]
mod tests;
