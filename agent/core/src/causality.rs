//! Which request caused this call? The kernel side carries tokens; here they are resolved, and believed only as far as
//! the process's way with threads allows. A missing parent, never a wrong one.

use crate::fact::Threads;
use autospan_abi::Trail;

/// Same-thread answers under concurrency after which an unknown runtime's threads are believed.
const PROOFS_MIN: u32 = 8;
/// How long after a loss "the only request in flight" is not believed.
const UNCERTAIN_NS: u64 = 1_000_000_000;

/// How long after a process called by itself "the only request in flight" is not believed.
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
    threads: Threads,
    proofs: u32,
    pub(crate) in_flight: InFlight,
    /// Calls that have no response yet.
    pub(crate) open_calls: u32,
    /// Open server connections whose requests cannot be seen (TLS, unknown protocols).
    pub(crate) opaque_servers: u32,
    uncertain_until: u64,
    /// It calls others by itself as well, seen lately.
    calls_by_itself_until: u64,
}

impl ProcessState {
    /// Told by recognition of the executable; clears what was learnt.
    pub(crate) fn set_threads(&mut self, threads: Threads) {
        (self.threads, self.proofs) = (threads, 0);
    }

    pub(crate) fn threads(&self) -> Threads {
        self.threads
    }

    /// A request was answered. Several requests in flight and the answer from the thread that read the request: so it
    /// would be if threads own requests. From another thread: they do not.
    pub(crate) fn answered(&mut self, same_thread: bool) {
        let concurrent = self.in_flight.only().is_none();
        match (self.threads, same_thread) {
            (Threads::Unproven, false) => self.threads = Threads::Multiplexed,
            (Threads::Unproven, true) if concurrent => {
                self.proofs += 1;
                if self.proofs >= PROOFS_MIN {
                    self.threads = Threads::Owned;
                }
            }
            _ => {}
        }
    }

    /// A record of this process was lost: requests may be in flight that nobody saw, or seem to be that are not.
    pub(crate) fn lost(&mut self, now: u64) {
        self.uncertain_until = now.saturating_add(UNCERTAIN_NS);
    }

    /// The request is the only one in flight, all `calls` in flight are its own, and the process never calls by itself.
    fn only_calls_for(&self, id: ExchangeId, calls: u32, now: u64) -> bool {
        self.only_request(now) == Some(id) && self.open_calls == calls
    }

    /// A call was made while no request was in flight: heartbeats, work that outlives its request. The next one may come
    /// while one is.
    pub(crate) fn called_by_itself(&mut self, now: u64) {
        self.calls_by_itself_until = now.saturating_add(BY_ITSELF_NS);
    }

    fn only_request(&self, now: u64) -> Option<ExchangeId> {
        let alone = now >= self.calls_by_itself_until;
        let sure = alone && self.opaque_servers == 0 && now >= self.uncertain_until;
        self.in_flight.only().filter(|_| sure)
    }
}

/// Who the token of a call belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenOwner {
    /// The bytes of one request.
    One(ExchangeId),
    /// The bytes of several.
    Many,
}

/// What the thread of an outgoing call carried, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// No token.
    Nothing,
    /// The token of a request that is in flight; `alone`: the only one that the thread which read it has in flight; `calls`:
    /// those that it waits for.
    Open { id: ExchangeId, alone: bool, calls: u32 },
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

/// A connection was used again in the turn in which a response came on it: either its request goes on, or another one had to
/// wait for the connection. Not if there is no other, and nothing else that calls.
fn reuse(process: &ProcessState, carried: Carried, now: u64) -> Result<(ExchangeId, Evidence), RootReason> {
    match carried {
        Carried::Open { id, calls, .. } if process.only_calls_for(id, calls, now) => Ok((id, Evidence::Turn)),
        Carried::Answered => Err(RootReason::Answered),
        _ => Err(RootReason::Ambiguous),
    }
}

/// The parent of a call that `process` starts at `now` in a context that carries `carried`, come to it by `trail`.
pub(crate) fn decide(
    process: &ProcessState,
    carried: Carried,
    trail: Trail,
    now: u64,
) -> Result<(ExchangeId, Evidence), RootReason> {
    // Tasks and turns are one request's alone.
    let exact = match trail {
        Trail::Thread | Trail::Spawned => None,
        Trail::Task | Trail::SpawnedByTask => Some(Evidence::Task),
        Trail::Turn => Some(Evidence::Turn),
        Trail::Reuse => return reuse(process, carried, now),
    };
    match (carried, exact) {
        (Carried::Open { id, .. }, Some(evidence)) => return Ok((id, evidence)),
        (Carried::Answered, Some(_)) => return Err(RootReason::Answered),
        // Who it works for is known: for nobody.
        (Carried::Nothing, Some(_)) => return Err(RootReason::NoRequest),
        _ => {}
    }
    if process.threads == Threads::Owned {
        match carried {
            Carried::Open { id, alone: true, .. } => return Ok((id, Evidence::Thread)),
            // The thread works on for a request that was answered: the one in flight now is a stranger to it.
            Carried::Answered => return Err(RootReason::Answered),
            Carried::Open { .. } | Carried::Unusable | Carried::Nothing => {}
        }
    }
    match process.only_request(now) {
        Some(id) => Ok((id, Evidence::OnlyRequest)),
        None if process.in_flight.is_empty() => Err(match carried {
            Carried::Answered => RootReason::Answered,
            _ => RootReason::NoRequest,
        }),
        None => Err(RootReason::Ambiguous),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(threads: Threads, open: &[ExchangeId]) -> ProcessState {
        let mut process = ProcessState { threads, ..Default::default() };
        open.iter().for_each(|id| process.in_flight.insert(*id));
        process
    }

    #[test]
    fn a_thread_that_reads_one_request_at_a_time_is_believed_under_concurrency() {
        let got =
            decide(&process(Threads::Owned, &[7, 8]), Carried::Open { id: 7, alone: true, calls: 0 }, Trail::Thread, 0);
        assert_eq!(got, Ok((7, Evidence::Thread)));
    }

    #[test]
    fn tasks_and_turns_are_believed_however_the_threads_are_used() {
        for (trail, evidence) in [(Trail::Task, Evidence::Task), (Trail::Turn, Evidence::Turn)] {
            for threads in [Threads::Owned, Threads::Multiplexed, Threads::Unproven] {
                let process = process(threads, &[7, 8]);
                assert_eq!(
                    decide(&process, Carried::Open { id: 7, alone: false, calls: 0 }, trail, 0),
                    Ok((7, evidence))
                );
                assert_eq!(decide(&process, Carried::Answered, trail, 0), Err(RootReason::Answered));
                assert_eq!(decide(&process, Carried::Unusable, trail, 0), Err(RootReason::Ambiguous));
            }
        }
    }

    #[test]
    fn a_connection_used_again_is_believed_where_nobody_else_can_have_waited_for_it() {
        let carried = Carried::Open { id: 7, alone: true, calls: 1 };
        let mut p = process(Threads::Owned, &[7]);
        p.open_calls = 1;
        assert_eq!(decide(&p, carried, Trail::Reuse, 0), Ok((7, Evidence::Turn)));
        p.open_calls = 2;
        assert_eq!(decide(&p, carried, Trail::Reuse, 0), Err(RootReason::Ambiguous), "somebody else calls");
        p.open_calls = 1;
        p.lost(5);
        assert_eq!(decide(&p, carried, Trail::Reuse, 6), Err(RootReason::Ambiguous), "who knows what was lost");
        let mut two = process(Threads::Owned, &[7, 8]);
        two.open_calls = 1;
        assert_eq!(decide(&two, carried, Trail::Reuse, 0), Err(RootReason::Ambiguous));
    }

    #[test]
    fn a_thread_shared_by_requests_is_not() {
        let got = decide(
            &process(Threads::Owned, &[7, 8]),
            Carried::Open { id: 7, alone: false, calls: 0 },
            Trail::Thread,
            0,
        );
        assert_eq!(got, Err(RootReason::Ambiguous));
    }

    #[test]
    fn multiplexed_threads_are_never_believed() {
        let carried = Carried::Open { id: 7, alone: true, calls: 0 };
        assert_eq!(
            decide(&process(Threads::Multiplexed, &[7, 8]), carried, Trail::Thread, 0),
            Err(RootReason::Ambiguous)
        );
        assert_eq!(decide(&process(Threads::Unproven, &[7, 8]), carried, Trail::Thread, 0), Err(RootReason::Ambiguous));
    }

    #[test]
    fn the_only_request_in_flight_is_the_parent_where_threads_say_nothing() {
        let got = decide(&process(Threads::Multiplexed, &[9]), Carried::Answered, Trail::Thread, 0);
        assert_eq!(got, Ok((9, Evidence::OnlyRequest)));
    }

    #[test]
    fn work_after_the_answer_does_not_go_to_the_next_request() {
        assert_eq!(
            decide(&process(Threads::Owned, &[9]), Carried::Answered, Trail::Thread, 0),
            Err(RootReason::Answered)
        );
    }

    #[test]
    fn a_task_that_carries_nothing_works_for_nobody() {
        let p = process(Threads::Owned, &[7]);
        assert_eq!(decide(&p, Carried::Nothing, Trail::Task, 0), Err(RootReason::NoRequest));
        assert_eq!(decide(&p, Carried::Nothing, Trail::Turn, 0), Err(RootReason::NoRequest));
    }

    #[test]
    fn who_calls_by_itself_is_not_believed_to_call_for_a_request() {
        let mut p = process(Threads::Multiplexed, &[7]);
        assert_eq!(decide(&p, Carried::Nothing, Trail::Thread, 0), Ok((7, Evidence::OnlyRequest)));
        p.called_by_itself(5);
        assert_eq!(decide(&p, Carried::Nothing, Trail::Thread, 6), Err(RootReason::Ambiguous));
        assert_eq!(decide(&p, Carried::Nothing, Trail::Thread, 5 + BY_ITSELF_NS), Ok((7, Evidence::OnlyRequest)));
    }

    #[test]
    fn invisible_requests_and_losses_silence_the_second_evidence() {
        let mut tls = process(Threads::Multiplexed, &[9]);
        tls.opaque_servers = 1;
        assert_eq!(decide(&tls, Carried::Nothing, Trail::Thread, 0), Err(RootReason::Ambiguous));
        let mut lossy = process(Threads::Multiplexed, &[9]);
        lossy.lost(5);
        assert_eq!(decide(&lossy, Carried::Nothing, Trail::Thread, 6), Err(RootReason::Ambiguous));
        assert_eq!(decide(&lossy, Carried::Nothing, Trail::Thread, 5 + UNCERTAIN_NS), Ok((9, Evidence::OnlyRequest)));
    }

    #[test]
    fn an_unknown_runtime_proves_itself() {
        let mut p = process(Threads::Unproven, &[1, 2]);
        (0..PROOFS_MIN).for_each(|_| p.answered(true));
        assert_eq!(p.threads, Threads::Owned);
        let mut p = process(Threads::Unproven, &[1, 2]);
        p.answered(false);
        (0..PROOFS_MIN).for_each(|_| p.answered(true));
        assert_eq!(p.threads, Threads::Multiplexed);
    }
}
