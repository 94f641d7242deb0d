use super::*;
use crate::routine::Routines;

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 10 * SECOND;

fn process(threads: Threads, open: &[ExchangeId]) -> ProcessState {
    let mut process = ProcessState { told: threads, ..Default::default() };
    // A request that was over long before.
    process.begin(1, 0);
    process.end(1, 0);
    open.iter().for_each(|id| process.begin(*id, NOW));
    process
}

/// Of a call that so many requests made, alone, and nobody else, a second apart.
fn habit(requests: u64) -> Habit {
    let mut routines = Routines::default();
    let work = |n| Work { now: n * SECOND, busy_ns: 0, periods: n };
    (0..requests).for_each(|n| routines.made_for_one(1, 1, work(n)));
    routines.habit(1, 1, work(requests))
}

fn open(id: ExchangeId) -> Carried {
    Carried::Open { id, alone: true, by_reader: true, calls: 0 }
}

fn call(carried: Carried, trail: Trail) -> Call {
    Call { at: NOW, carried, trail, habit: Habit::default() }
}

/// A call that is known to be made for requests.
fn known(carried: Carried, trail: Trail) -> Call {
    Call { habit: habit(20), ..call(carried, trail) }
}

#[test]
fn a_thread_that_reads_one_request_at_a_time_is_believed_under_concurrency() {
    let got = decide(&process(Threads::Owned, &[7, 8]), call(open(7), Trail::Thread));
    assert_eq!(got, Ok((7, Evidence::Thread)));
}

#[test]
fn tasks_and_turns_are_believed_however_the_threads_are_used() {
    for (trail, evidence) in [(Trail::Task, Evidence::Task), (Trail::Turn, Evidence::Turn)] {
        for threads in [Threads::Owned, Threads::Multiplexed, Threads::Unproven] {
            let process = process(threads, &[7]);
            let decide = |carried| decide(&process, known(carried, trail));
            assert_eq!(decide(open(7)), Ok((7, evidence)));
            assert_eq!(decide(Carried::Answered), Err(RootReason::Answered));
            assert_eq!(decide(Carried::Unusable), Err(RootReason::Ambiguous));
            assert_eq!(decide(Carried::Nothing), Err(RootReason::NoRequest), "it works for nobody");
        }
    }
}

#[test]
fn a_connection_used_again_is_believed_where_nobody_else_can_have_waited_for_it() {
    let again = known(Carried::Open { id: 7, alone: true, by_reader: true, calls: 1 }, Trail::Reuse);
    let mut p = process(Threads::Owned, &[7]);
    p.open_calls = 1;
    assert_eq!(decide(&p, again), Ok((7, Evidence::Turn)));
    let rare = Call { habit: habit(u64::from(REUSES_MIN) - 1), ..again };
    assert_eq!(decide(&p, rare), Err(RootReason::Ambiguous), "too few requests made that call");
    p.open_calls = 2;
    assert_eq!(decide(&p, again), Err(RootReason::Ambiguous), "somebody else calls");
    p.open_calls = 1;
    p.called_by_itself(NOW);
    assert_eq!(decide(&p, again), Err(RootReason::Ambiguous), "the process calls by itself");
}

#[test]
fn a_connection_used_again_is_nobodys_where_another_request_was_in_flight_meanwhile() {
    let again = known(Carried::Open { id: 7, alone: true, by_reader: true, calls: 0 }, Trail::Reuse);
    let mut p = process(Threads::Owned, &[7, 8]);
    assert_eq!(decide(&p, again), Err(RootReason::Ambiguous));
    p.end(8, NOW + 1);
    assert_eq!(decide(&p, again), Err(RootReason::Ambiguous), "what it left behind may wait");
    p.end(7, NOW + 2);
    p.begin(7, NOW + 3);
    assert_eq!(decide(&p, again), Ok((7, Evidence::Turn)));
    p.lost(NOW + 5);
    assert_eq!(decide(&p, Call { at: NOW + 6, ..again }), Err(RootReason::Ambiguous), "who knows what was lost");
}

#[test]
fn a_thread_shared_by_requests_is_not_believed() {
    let shared = Carried::Open { id: 7, alone: false, by_reader: true, calls: 0 };
    let got = decide(&process(Threads::Owned, &[7, 8]), known(shared, Trail::Thread));
    assert_eq!(got, Err(RootReason::Ambiguous));
}

#[test]
fn multiplexed_threads_are_never_believed() {
    for threads in [Threads::Multiplexed, Threads::Unproven] {
        let got = decide(&process(threads, &[7, 8]), known(open(7), Trail::Thread));
        assert_eq!(got, Err(RootReason::Ambiguous));
    }
}

#[test]
fn the_only_request_in_flight_is_the_parent_of_what_is_made_for_requests_only() {
    for (threads, carried) in [(Threads::Multiplexed, open(9)), (Threads::Owned, Carried::Nothing)] {
        let process = process(threads, &[9]);
        assert_eq!(decide(&process, known(carried, Trail::Thread)), Ok((9, Evidence::OnlyRequest)));
        assert_eq!(decide(&process, call(carried, Trail::Thread)), Err(RootReason::Ambiguous));
    }
}

#[test]
fn a_request_that_follows_another_closely_is_not_taken_for_what_that_one_left_behind() {
    let nothing = known(Carried::Nothing, Trail::Thread);
    for (pause, expect) in [(QUIET_NS - 1, Err(RootReason::Ambiguous)), (QUIET_NS, Ok((9, Evidence::OnlyRequest)))] {
        let mut process = process(Threads::Multiplexed, &[8]);
        process.end(8, NOW);
        process.begin(9, NOW + pause);
        assert_eq!(decide(&process, Call { at: NOW + pause, ..nothing }), expect);
    }
}

#[test]
fn work_after_the_answer_does_not_go_to_the_next_request() {
    for threads in [Threads::Owned, Threads::Multiplexed, Threads::Unproven] {
        let got = decide(&process(threads, &[9]), known(Carried::Answered, Trail::Thread));
        assert_eq!(got, Err(RootReason::Answered));
    }
}

#[test]
fn invisible_requests_and_losses_silence_the_second_evidence() {
    let nothing = known(Carried::Nothing, Trail::Thread);
    let mut tls = process(Threads::Multiplexed, &[9]);
    tls.opaque_servers = 1;
    assert_eq!(decide(&tls, nothing), Err(RootReason::Ambiguous));
    let mut lossy = process(Threads::Multiplexed, &[9]);
    lossy.lost(NOW);
    assert_eq!(decide(&lossy, Call { at: NOW + 1, ..nothing }), Err(RootReason::Ambiguous));
    assert_eq!(decide(&lossy, Call { at: NOW + UNCERTAIN_NS, ..nothing }), Ok((9, Evidence::OnlyRequest)));
}

#[test]
fn an_unknown_runtime_proves_itself() {
    let mut p = process(Threads::Unproven, &[7, 8]);
    (0..PROOFS_MIN).for_each(|_| p.answered(true, false, true));
    (0..PROOFS_MIN).for_each(|_| p.answered(true, true, false));
    assert_eq!(p.threads(), Threads::Unproven, "without a wait or without another thread nothing is proven");
    (0..PROOFS_MIN).for_each(|_| p.answered(true, true, true));
    assert_eq!(decide(&p, call(open(7), Trail::Thread)), Ok((7, Evidence::Thread)));
    let of_another = Carried::Open { id: 7, alone: true, by_reader: false, calls: 0 };
    assert_eq!(decide(&p, call(of_another, Trail::Thread)), Err(RootReason::Ambiguous));
    p.shares_threads();
    assert_eq!(decide(&p, call(open(7), Trail::Thread)), Err(RootReason::Ambiguous));
    p.answered(false, true, true);
    (0..PROOFS_MIN).for_each(|_| p.answered(true, true, true));
    assert_eq!(p.threads(), Threads::Multiplexed, "one answer by another thread is enough");
}

#[test]
fn times_that_no_clock_gives_do_not_add_up_to_more_than_there_is() {
    let mut process = ProcessState::default();
    for id in 1..=3 {
        process.begin(id, 0);
        process.end(id, u64::MAX);
    }
    assert_eq!(process.work(u64::MAX).busy_ns, u64::MAX);
}
