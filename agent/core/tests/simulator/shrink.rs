//! A world that fails, without what it does not take to fail.

use crate::Failure;
use crate::agent::Entry;
use crate::oracle::{self, Input};
use crate::plan::Plan;

/// Takes things away as long as `fails` still finds something, then records. Returns what is left, and what was found in it
/// last.
pub(crate) fn shrink(mut plan: Plan, mut failure: Failure, fails: impl Fn(Plan) -> Option<Failure>) -> (Plan, Failure) {
    let mut since_success = 0;
    let mut index = 0;
    while since_success < candidates(&plan).len() {
        let mut all = candidates(&plan);
        index %= all.len();
        let smaller = all.swap_remove(index);
        match fails(smaller.clone()) {
            Some(found) => (plan, failure, since_success) = (smaller, found, 0),
            None => (index, since_success) = (index + 1, since_success + 1),
        }
    }
    failure.entries = fewer(&failure);
    (plan, failure)
}

/// Without the records that it does not take to find just that: no loss makes a false parent, so any may be missing.
fn fewer(failure: &Failure) -> Vec<Entry> {
    let fails = |entries: &[Entry]| {
        oracle::judge(entries.iter(), &failure.truth, Input::Faulty).is_err_and(|why| failure.why.ends_with(&why))
    };
    let mut left = failure.entries.clone();
    let mut size = left.len() / 2;
    while size > 0 && fails(&left) {
        let mut at = 0;
        while at < left.len() {
            let mut smaller = left.clone();
            smaller.drain(at..left.len().min(at + size));
            if fails(&smaller) { left = smaller } else { at += size }
        }
        size /= 2;
    }
    left
}

/// The same world, each time without one thing that it has.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut without = |has: bool, change: &dyn Fn(&mut Plan)| {
        if has {
            let mut smaller = plan.clone();
            change(&mut smaller);
            all.push(smaller);
        }
    };
    for client in 0..plan.clients.len() {
        without(plan.clients.len() > 1, &|p| drop(p.clients.remove(client)));
        for request in 0..plan.clients[client].requests.len() {
            without(plan.clients[client].requests.len() > 1, &|p| _ = p.clients[client].requests.remove(request));
        }
    }
    without(plan.kill.is_some(), &|p| p.kill = None);
    without(plan.stall.0 > 0, &|p| p.stall = (0, 0));
    without(plan.split_percent > 0, &|p| p.split_percent = 0);
    without(plan.attach_at.len() > 1, &|p| p.attach_at.truncate(1));
    for (index, service) in plan.services.iter().enumerate() {
        for beat in 0..service.heartbeats.len() {
            without(true, &|p| _ = p.services[index].heartbeats.remove(beat));
        }
        without(service.close_percent > 0, &|p| p.services[index].close_percent = 0);
    }
    without(plan.requests.iter().any(|r| r.body != [0, 0]), &|p| p.requests.iter_mut().for_each(|r| r.body = [0, 0]));
    for (index, request) in plan.requests.iter().enumerate() {
        without(!request.after.is_empty(), &|p| p.requests[index].after.clear());
        for step in 0..request.steps.len() {
            without(true, &|p| drop(p.requests[index].steps.remove(step)));
        }
    }
    all
}
