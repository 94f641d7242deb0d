//! A world that fails, without what it does not take to fail.

use crate::plan::Plan;

/// Takes away clients, disturbances and heartbeats as long as `fails` still finds something. Returns what is left, and
/// what was found in it last.
pub(crate) fn shrink(mut plan: Plan, mut why: String, fails: impl Fn(Plan) -> Option<String>) -> (Plan, String) {
    let mut index = 0;
    while index < candidates(&plan).len() {
        let smaller = candidates(&plan).swap_remove(index);
        match fails(smaller.clone()) {
            Some(found) => (plan, why, index) = (smaller, found, 0),
            None => index += 1,
        }
    }
    (plan, why)
}

/// The same world, each time without one thing that it has.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut without = |has: bool, change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        all.extend(has.then_some(smaller));
    };
    for client in 0..plan.clients.len() {
        without(plan.clients.len() > 1, &|p| drop(p.clients.remove(client)));
        without(plan.clients[client].requests.len() > 1, &|p| _ = p.clients[client].requests.pop());
    }
    for service in 0..plan.services.len() {
        without(!plan.services[service].heartbeats.is_empty(), &|p| p.services[service].heartbeats.clear());
    }
    without(plan.kill.is_some(), &|p| p.kill = None);
    without(plan.stall.0 > 0, &|p| p.stall = (0, 0));
    without(plan.split_percent > 0, &|p| p.split_percent = 0);
    without(plan.attach_at.len() > 1, &|p| p.attach_at.truncate(1));
    all
}
