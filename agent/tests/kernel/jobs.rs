//! Work that threads of Python leave for one another in deques: who calls for whom.

use autospan::probe::Libraries;
use autospan_abi::Direction;
use autospan_abi::process::TRAIT_JOBS;
use autospan_core::event::{Data, Event, EventKind};
use std::collections::HashMap;

use crate::rig::Rig;

const CODE: &str = include_str!("jobs.py");
/// Calls for the first items of a deque name nobody.
const UNBELIEVED: usize = 2;

/// Python, with probes on its deques.
fn start() -> Option<Rig> {
    let mut rig = Rig::start()?;
    let (pid, mut libraries) = (rig.python.pid(), Libraries::default());
    drop(libraries.mapped(pid));
    let runtime = libraries.python(pid).expect("a CPython that is known");
    assert!(rig.kernel.set_python(pid, runtime));
    let (path, probes) = libraries.on_demand(pid).expect("deques");
    rig.kernel.attach_probes_to(pid, &path, probes).expect("the kernel takes the probes");
    rig.kernel.add_traits(pid, TRAIT_JOBS);
    rig.run(&format!("exec({CODE:?})"));
    Some(rig)
}

/// Calls in their order: what they say, and the requests that they are given to.
fn calls(rig: &mut Rig, count: usize) -> Vec<(String, Option<String>)> {
    let is_call = |data: &Data<'_>| {
        let says = |start: &[u8]| data.head.starts_with(start);
        data.direction == Direction::Outbound && (says(b"call ") || says(b"nobody's"))
    };
    rig.wait("all calls", |events| {
        let call = |event: &Event<'_>| matches!(&event.kind, EventKind::Data(data) if is_call(data));
        events.iter().filter(|event| call(event)).count() >= count
    });
    let data = rig.data();
    let text = |data: &Data<'_>| String::from_utf8_lossy(data.head).into_owned();
    let requests: HashMap<u64, String> =
        data.iter().filter(|data| data.token != 0).map(|data| (data.token, text(data))).collect();
    let calls = data.iter().filter(|data| is_call(data));
    calls.map(|call| (text(call), (call.cause != 0).then(|| requests[&call.cause].clone()))).collect()
}

/// Who made which call is right wherever somebody is named. Returns how many are named.
fn named(calls: &[(String, Option<String>)]) -> usize {
    for (call, request) in calls {
        let right = |request: &String| *call == format!("call {request}");
        assert!(request.as_ref().is_none_or(right), "{call} for {request:?} in {calls:?}");
    }
    calls.iter().filter(|(_, request)| request.is_some()).count()
}

#[test]
fn threads_call_for_the_requests_whose_jobs_they_take() {
    let Some(mut rig) = start() else { return };
    rig.run("jobs = queue.Queue(); [start(lambda: works(jobs)) for _ in range(3)]; one_by_one(b'r', jobs.put)");
    let calls = calls(&mut rig, 8);
    assert_eq!(named(&calls), 8 - UNBELIEVED, "{calls:?}");
}

#[test]
fn jobs_that_wait_are_told_apart() {
    let Some(mut rig) = start() else { return };
    rig.run("jobs = queue.Queue(); [ask(b'r%d.' % n, jobs.put) for n in range(12)]");
    rig.run("[start(lambda: works(jobs)) for _ in range(3)]; wait_for_calls(12)");
    let calls = calls(&mut rig, 12);
    assert_eq!(named(&calls), 12 - UNBELIEVED, "{calls:?}");
}

#[test]
fn what_a_pool_hands_out_is_nobodys() {
    let Some(mut rig) = start() else { return };
    rig.run("turns = threading.Semaphore(0); start(lambda: borrows(turns))");
    rig.run("for n in range(8): ask(b'r%d.' % n, borrow); turns.release(); wait_for_calls(1)");
    let calls = calls(&mut rig, 8);
    assert_eq!(named(&calls), 0, "{calls:?}");
}

#[test]
fn a_batch_is_nobodys() {
    let Some(mut rig) = start() else { return };
    rig.run("jobs = queue.Queue(); start(lambda: works(jobs, 2))");
    rig.run("for n in range(8): [ask(b'r%d.%d.' % (n, m), jobs.put) for m in range(2)]; wait_for_calls(1)");
    let calls = calls(&mut rig, 8);
    assert_eq!(named(&calls), 0, "{calls:?}");
}

#[test]
fn a_thread_that_waits_for_its_next_job_calls_for_nobody() {
    let Some(mut rig) = start() else { return };
    rig.run("jobs = queue.Queue(); start(lambda: looks_around(jobs)); wait_for_calls(1)");
    rig.run("for n in range(8): ask(b'r%d.' % n, jobs.put); wait_for_calls(3)");
    let calls = calls(&mut rig, 1 + 8 * 3);
    let jobs = calls.iter().filter(|(call, _)| call.starts_with("call ")).count();
    assert_eq!(named(&calls), jobs - UNBELIEVED, "{calls:?}");
}

#[test]
fn an_item_that_waits_several_times_is_the_last_ones() {
    let Some(mut rig) = start() else { return };
    rig.run("jobs = queue.Queue(); start(lambda: works(jobs)); one_by_one(b'r', jobs.put, 4)");
    // The thread is kept from taking them.
    rig.run("ready = threading.Event(); start_call = call");
    rig.run("call = lambda what: (start_call(what), ready.wait())");
    rig.run(
        "item = b'x.'; [ask(b's%d.' % n, lambda _: jobs.put(item)) for n in range(4)]; ready.set(); wait_for_calls(4)",
    );
    let calls = calls(&mut rig, 8);
    assert_eq!(named(&calls[..4]), 4 - UNBELIEVED, "{calls:?}");
    let [.., third, last] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((&third.1, last.1.as_deref()), (&None, Some("s3.")), "{calls:?}");
}
